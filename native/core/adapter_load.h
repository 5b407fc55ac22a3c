// An adapter from its file into the form that steps read: every part is a piece of its own, which any thread
// reads, hashes and packs.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "adapter.h"
#include "factor_reader.h"
#include "side_work.h"

namespace realm {

// What some numbers of a part are for. Factors hold no numbers yet: a and b are where their bytes begin
// among those of the part.
struct StoredSite {
  struct Factor {
    AdapterFactor shape;
    size_t a, b;
  };
  int layer = 0;
  AdapterInput input = AdapterInput::kHead;
  bool is_embedding = false;
  std::vector<Factor> factors;  // outputs ascending
};

class AdapterLoad : public SideJob {
 public:
  // sites: of every part. All must outlive this.
  AdapterLoad(const StoredFactors& stored, const std::vector<std::vector<StoredSite>>& sites, int descriptor,
              const float* given, const KernelTable& kernels, Adapter& adapter);

  // Once every piece has ended: whether some could not be read or held, and the digest of every part.
  bool has_failed() const { return has_failed_; }
  const std::vector<Digest>& digests() const { return digests_; }

 private:
  bool work(size_t piece, bool may_wait) override;
  bool pack(const StoredSite& site, const uint8_t* numbers) const;
  // A reader for this thread, which gives it back.
  std::unique_ptr<FactorReader> take_reader();
  void give_back(std::unique_ptr<FactorReader> reader);

  const StoredFactors& stored_;
  const std::vector<std::vector<StoredSite>>& sites_;
  const int descriptor_;
  const float* given_;
  const KernelTable& kernels_;
  Adapter& adapter_;
  std::vector<Digest> digests_;
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;
  std::vector<std::unique_ptr<FactorReader>> readers_;
};

}  // namespace realm
