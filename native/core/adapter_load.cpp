#include "adapter_load.h"

#include <cerrno>
#include <new>

namespace realm {

AdapterLoad::AdapterLoad(const StoredFactors& stored, const std::vector<StoredSite>& sites, int descriptor,
                         const float* given, const KernelTable& kernels, Adapter& adapter)
    : SideJob(sites.size()),
      stored_(stored),
      sites_(sites),
      descriptor_(descriptor),
      given_(given),
      kernels_(kernels),
      adapter_(adapter),
      digests_(sites.size()) {}

void AdapterLoad::work(size_t piece) {
  if (has_failed_) return;
  const StoredFactors::Part& part = stored_.parts[piece];
  try {
    std::unique_ptr<Bench> bench = take_bench();
    if (bench->floats.size() < static_cast<size_t>(part.count()))
      bench->floats.resize(static_cast<size_t>(part.count()));
    const ReadOutcome outcome = bench->reader.read(piece, bench->floats.data(), &digests_[piece]);
    if (outcome.fault != ReadFault::kNone)
      fail(outcome);
    else if (!pack(sites_[piece], bench->floats.data(), part.begin))
      is_held_ = false;
    give_back(std::move(bench));
  } catch (const std::bad_alloc&) {
    fail({ReadFault::kSystem, static_cast<int64_t>(part.first_matrix), ENOMEM});
  }
}

bool AdapterLoad::pack(const StoredSite& site, const float* floats, int64_t first) const {
  std::vector<AdapterFactor> factors;
  for (const StoredSite::Factor& factor : site.factors) {
    factors.push_back(factor.shape);
    factors.back().a = floats + (factor.a - first);
    factors.back().b = floats + (factor.b - first);
  }
  return site.is_embedding ? adapter_.set_embedding(factors.front())
                           : adapter_.set_site(site.layer, site.input, factors);
}

std::unique_ptr<AdapterLoad::Bench> AdapterLoad::take_bench() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!benches_.empty()) {
      std::unique_ptr<Bench> bench = std::move(benches_.back());
      benches_.pop_back();
      return bench;
    }
  }
  return std::make_unique<Bench>(Bench{FactorReader(stored_, descriptor_, given_, kernels_), {}});
}

void AdapterLoad::give_back(std::unique_ptr<Bench> bench) {
  const std::lock_guard<std::mutex> lock(mutex_);
  benches_.push_back(std::move(bench));
}

void AdapterLoad::fail(const ReadOutcome& outcome) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!has_failed_ || outcome.index < outcome_.index) outcome_ = outcome;
  has_failed_ = true;
}

}  // namespace realm
