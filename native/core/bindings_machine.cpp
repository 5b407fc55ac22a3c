// What the machine can do: the limits that benchmarks are held against.
#include <nanobind/stl/string.h>

#include <chrono>
#include <vector>

#include "bindings.h"
#include "kernels.h"
#include "team.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Best of several passes over more memory than the caches hold, every thread reading its share.
double measure_bandwidth(int threads, size_t bytes) {
  require(threads >= 1 && threads <= 1024, "a team has 1 to 1024 threads");
  nb::gil_scoped_release release;
  Team team(threads);
  const size_t share = bytes / sizeof(uint64_t) / static_cast<size_t>(threads) / 8 * 8;
  std::vector<std::vector<uint64_t>> parts(static_cast<size_t>(threads));
  std::vector<uint64_t> sums(static_cast<size_t>(threads) * 8);
  double best = 0.0;
  for (int pass = 0; pass < 9; pass++) {
    const auto begin = std::chrono::steady_clock::now();
    team.run(
        [&](int thread) {
          std::vector<uint64_t>& part = parts[static_cast<size_t>(thread)];
          if (part.empty()) part.assign(share, static_cast<uint64_t>(thread) + 1);
          uint64_t lanes[8] = {};
          for (size_t i = 0; i < share; i += 8)
            for (size_t j = 0; j < 8; j++) lanes[j] += part[i + j];
          for (size_t j = 0; j < 8; j++) sums[static_cast<size_t>(thread) * 8] += lanes[j];
        },
        0);
    const double elapsed = seconds_since(begin);
    const double rate =
        static_cast<double>(share * static_cast<size_t>(threads) * sizeof(uint64_t)) / elapsed;
    if (pass > 0 && rate > best) best = rate;
  }
  return best;
}

// Operations a second of the four-bit product with everything in the nearest caches, every thread its own.
double measure_products(const std::string& instruction_set, int threads) {
  require(threads >= 1 && threads <= 1024, "a team has 1 to 1024 threads");
  const KernelTable* kernels = kernels_for(instruction_set.c_str());
  if (!kernels) refuse("this processor cannot run the instruction set '" + instruction_set + "'");
  constexpr int kRows = 64, kColumns = 512, kActivations = 8, kQ4_1 = 3, kLoops = 400;
  nb::gil_scoped_release release;
  Arena arena;
  PackedMatrix matrix;
  make_matrix(kQ4_1, kRows, kColumns, row_bytes(kQ4_1, kColumns) * kRows, arena, &matrix);
  std::vector<ActivationBlock> blocks(kColumns / kBlockColumns);
  std::vector<std::vector<float>> out(static_cast<size_t>(threads), std::vector<float>(kActivations * kRows));
  Team team(threads);
  double best = 0.0;
  for (int pass = 0; pass < 9; pass++) {
    const auto begin = std::chrono::steady_clock::now();
    team.run(
        [&](int thread) {
          for (int i = 0; i < kLoops; i++)
            kernels->product(matrix, 0, matrix.groups, {nullptr, 0, {blocks.data(), nullptr}, kActivations},
                             out[static_cast<size_t>(thread)].data(), kRows, false, nullptr, {});
        },
        0);
    const double operations = 2.0 * kRows * kColumns * kActivations * kLoops * threads;
    best = std::max(best, operations / seconds_since(begin));
  }
  return best;
}

}  // namespace

void bind_machine(nb::module_& module) {
  module.def("measure_bandwidth", &measure_bandwidth, "threads"_a, "bytes"_a);
  module.def("measure_products", &measure_products, "instruction_set"_a, "threads"_a);
}

}  // namespace realm
