// A low-rank adapter (Hu et al., 2021), packed for the kernels: scale B (A x) is added to some products of a
// model.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace realm {

// What the products that an adapter changes are computed from.
enum class AdapterInput : int {
  kAttentionInput = 0,   // query, key and value: outputs as they stand one after the other
  kAttentionOutput = 1,  // the output product
  kFfnInput = 2,         // gate, then up
  kFfnOutput = 3,        // down
  kHead = 4,
};
constexpr int kLayerInputs = 4;

// Outputs from first_output on get B s, where s are the `rank` ranks from first_rank on; quantised they stand
// from first_quant on. One of both B is there.
struct AdapterExpand {
  int first_output, first_rank, rank, first_quant;
  PackedMatrix b;
  RankMatrix quantized_b;
  int groups() const { return quantized_b.groups > 0 ? quantized_b.groups : b.groups; }
};
constexpr int kMostExpands = 3;  // of one site

// Products of one input share one pass over it: their A stand one after the other.
struct AdapterSite {
  PackedMatrix a;  // no groups: nothing is added here
  std::vector<AdapterExpand> expands;
};

// A factor pair as it comes: a [rank][inputs], b [outputs][rank], of the outputs from first_output on.
struct AdapterFactor {
  int first_output, rank, inputs, outputs;
  Numbers a, b;
  float scale;
};

enum class AdapterPrecision : int {
  kInt8 = 0,  // A as int8 with a scale for 32 inputs, B as int8 with a scale for an output; of the embedding
              // both as half floats
  kBfloat16 = 1,  // both as bfloat16
};

// What a model must be like to use it.
struct AdapterShape {
  int layers, hidden, attended, cached, ffn, vocabulary;
  bool operator==(const AdapterShape& o) const {
    return layers == o.layers && hidden == o.hidden && attended == o.attended && cached == o.cached &&
           ffn == o.ffn && vocabulary == o.vocabulary;
  }
};

class Adapter {
 public:
  // kernels: of the model's instruction set.
  Adapter(const AdapterShape& shape, AdapterPrecision precision, const KernelTable& kernels)
      : shape_(shape), precision_(precision), kernels_(kernels), layers_(static_cast<size_t>(shape.layers)) {}

  // Both refuse (false) numbers that are not finite or that the precision cannot hold. Factors of one site:
  // outputs ascending. Several threads may set sites of their own at once.
  bool set_site(int layer, AdapterInput input, const std::vector<AdapterFactor>& factors);
  // a [rank][vocabulary], b [hidden][rank].
  bool set_embedding(const AdapterFactor& factor);

  const AdapterSite& site(int layer, AdapterInput input) const {
    if (input == AdapterInput::kHead) return head_;
    return layers_[static_cast<size_t>(layer)].sites[static_cast<int>(input)];
  }
  const AdapterShape& shape() const { return shape_; }
  // Numbers that A x takes at the widest site; quants that it takes.
  int widest() const { return widest_; }
  int widest_quants() const { return widest_quants_; }
  bool has_embedding() const { return embedding_b_.groups > 0; }
  int embedding_rank() const { return embedding_b_.columns; }
  const PackedMatrix& embedding_b() const { return embedding_b_; }
  // A's column of a token as floats, times `scale`.
  void embedding_column(int token, float scale, float* out) const;
  size_t bytes() const { return arena_.used(); }

 private:
  bool pack(int ggml_type, int rows, int columns, const std::vector<uint8_t>& data, PackedMatrix* matrix);
  bool pack_floats_a(const std::vector<AdapterFactor>& factors, int ranks, PackedMatrix* matrix);
  // balances: of every factor, what its B is to be multiplied with.
  bool quantize_a(const std::vector<AdapterFactor>& factors, int ranks, float* balances,
                  PackedMatrix* matrix);
  bool pack_floats_b(const AdapterFactor& factor, PackedMatrix* matrix);
  bool quantize_b(const AdapterFactor& factor, RankMatrix* matrix);

  struct Layer {
    AdapterSite sites[kLayerInputs];
  };
  uint8_t* allocate(size_t bytes, bool is_filled);
  bool make(int ggml_type, int rows, int columns, size_t bytes, PackedMatrix* matrix, bool keep_floats);

  const AdapterShape shape_;
  const AdapterPrecision precision_;
  const KernelTable& kernels_;
  std::mutex mutex_;  // of the arena and what is widest
  Arena arena_{size_t{8} << 20, true};
  std::vector<Layer> layers_;
  AdapterSite head_;
  PackedMatrix embedding_b_;
  uint16_t* embedding_a_ = nullptr;  // [vocabulary][rank], half floats or bfloat16
  int widest_ = 0, widest_quants_ = 0;
};

// `count` rows of a step from the first-th, to which `weight` times an adapter is added. Several of one row
// are added in order; their slots differ.
struct AdapterRun {
  const Adapter* adapter;
  int first, count, slot;
  float weight;
};

}  // namespace realm
