// An adapter from its file into the form that steps read: every site is a piece of its own, which any thread
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

// What the numbers of one part are for. Factors hold no numbers yet: a and b are places.
struct StoredSite {
  struct Factor {
    AdapterFactor shape;
    int64_t a, b;
  };
  int layer = 0;
  AdapterInput input = AdapterInput::kHead;
  bool is_embedding = false;
  std::vector<Factor> factors;  // outputs ascending
};

class AdapterLoad : public SideJob {
 public:
  // One site for every part. All must outlive this.
  AdapterLoad(const StoredFactors& stored, const std::vector<StoredSite>& sites, int descriptor,
              const float* given, const KernelTable& kernels, Adapter& adapter);

  // Once every piece has ended: the first fault, whether the precision can hold all numbers, and the digest
  // of every part.
  const ReadOutcome& outcome() const { return outcome_; }
  bool is_held() const { return is_held_; }
  const std::vector<Digest>& digests() const { return digests_; }

 private:
  // What a thread works with, and gives back.
  struct Bench {
    FactorReader reader;
    std::vector<float> floats;
  };
  void work(size_t piece) override;
  bool pack(const StoredSite& site, const float* floats, int64_t first) const;
  std::unique_ptr<Bench> take_bench();
  void give_back(std::unique_ptr<Bench> bench);
  void fail(const ReadOutcome& outcome);

  const StoredFactors& stored_;
  const std::vector<StoredSite>& sites_;
  const int descriptor_;
  const float* given_;
  const KernelTable& kernels_;
  Adapter& adapter_;
  std::vector<Digest> digests_;
  std::atomic<bool> is_held_{true}, has_failed_{false};
  std::mutex mutex_;  // of what follows
  ReadOutcome outcome_{ReadFault::kNone, 0, 0};
  std::vector<std::unique_ptr<Bench>> benches_;
};

}  // namespace realm
