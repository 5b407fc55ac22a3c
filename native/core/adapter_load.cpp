#include "adapter_load.h"

#include <new>

namespace realm {

AdapterLoad::AdapterLoad(const StoredFactors& stored, const std::vector<std::vector<StoredSite>>& sites,
                         int descriptor, const float* given, const KernelTable& kernels, Adapter& adapter)
    : SideJob(sites.size()),
      stored_(stored),
      sites_(sites),
      descriptor_(descriptor),
      given_(given),
      kernels_(kernels),
      adapter_(adapter),
      digests_(sites.size()) {}

bool AdapterLoad::work(size_t piece, bool may_wait) {
  if (has_failed_) return true;
  try {
    std::unique_ptr<FactorReader> reader = take_reader();
    const uint8_t* numbers;
    const ReadFault fault = reader->read(piece, may_wait, &numbers, &digests_[piece]).fault;
    bool is_right = fault == ReadFault::kNone;
    for (size_t i = 0; i < sites_[piece].size() && is_right; i++) is_right = pack(sites_[piece][i], numbers);
    give_back(std::move(reader));
    if (fault == ReadFault::kWait) return false;
    if (!is_right) has_failed_ = true;
  } catch (const std::bad_alloc&) {
    has_failed_ = true;
  }
  return true;
}

bool AdapterLoad::pack(const StoredSite& site, const uint8_t* numbers) const {
  std::vector<AdapterFactor> factors;
  for (const StoredSite::Factor& factor : site.factors) {
    factors.push_back(factor.shape);
    factors.back().a.data = numbers + factor.a;
    factors.back().b.data = numbers + factor.b;
  }
  return site.is_embedding ? adapter_.set_embedding(factors.front())
                           : adapter_.set_site(site.layer, site.input, factors);
}

std::unique_ptr<FactorReader> AdapterLoad::take_reader() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!readers_.empty()) {
      std::unique_ptr<FactorReader> reader = std::move(readers_.back());
      readers_.pop_back();
      return reader;
    }
  }
  return std::make_unique<FactorReader>(stored_, descriptor_, given_, kernels_);
}

void AdapterLoad::give_back(std::unique_ptr<FactorReader> reader) {
  const std::lock_guard<std::mutex> lock(mutex_);
  readers_.push_back(std::move(reader));
}

}  // namespace realm
