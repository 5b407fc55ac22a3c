// A decoder as data, and one forward step of it over rows of many sequences.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "adapter.h"
#include "cache_pool.h"
#include "kernels.h"
#include "sampler.h"
#include "team.h"

namespace realm {

// Rotary embedding of one kind of layer: angle = position * inverse_frequency[i].
struct Rope {
  std::vector<double> inverse_frequencies;  // half of the rotated dimensions
  float magnitude = 1.0f;                   // cos and sin are multiplied with it
  bool interleaved = false;                 // pairs (2i, 2i + 1) instead of (i, i + n)
};

// Factors that a row needs for it: see KernelTable::rotate.
inline size_t angle_count(const Rope& rope) { return 4 * rope.inverse_frequencies.size(); }

struct LayerWeights {
  std::vector<float> attention_norm, ffn_norm;
  std::vector<float> post_attention_norm, post_ffn_norm, query_norm, key_norm,
      qkv_bias;                   // empty: none
  std::vector<PackedMatrix> qkv;  // their outputs stand one after the other
  PackedMatrix output, gate, up, down;
  int rope = 0;
  int window = 0;  // visible tokens, itself included; 0: all
};

struct TransformerShape {
  int hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocabulary = 0;
  float epsilon = 1e-5f, embedding_scale = 1.0f, attention_scale = 1.0f;
  float attention_softcap = 0.0f, logit_softcap = 0.0f;
  float residual_scale = 1.0f;  // of what attention and the feed-forward part add
  Gate gate = Gate::kSilu;
};

// Rows of one sequence: `count` tokens from `position`, its pages in row `table_row` of the page table.
struct Segment {
  int table_row, position, count;
};

struct StepInput {
  int rows = 0;
  const int32_t* tokens = nullptr;  // [rows]; nullptr: the rows come in `hidden`
  const float* hidden = nullptr;    // [rows][hidden]
  float* hidden_out = nullptr;      // [rows][hidden] after the last layer; may be nullptr
  // For a model that reads them: what the head of another model, and some of its layers, multiplied just
  // before each of the tokens. feature_parts: of each row, the head's first.
  const float* features = nullptr;  // [rows][feature_parts][hidden]
  int feature_parts = 1;
  // What the head multiplies, and the attention of each of feature_layers; may be nullptr.
  float* features_out = nullptr;  // [logit_rows][1 + feature_layers][hidden]
  std::vector<int> feature_layers;
  const int32_t* page_table = nullptr;
  int table_columns = 0;
  std::vector<Segment> segments;
  int layer_begin = 0, layer_end = 0;
  std::vector<int32_t> logit_rows;    // rows whose logits are wanted
  std::vector<SamplingRow> sampling;  // one for each of logit_rows, or none at all
  std::vector<AdapterRun> adapters;   // in the order in which a row's adapters are added
  int32_t* sampled = nullptr;         // [logit_rows]
};

class Transformer {
 public:
  Transformer(const TransformerShape& shape, const KernelTable& kernels) : shape_(shape), kernels_(kernels) {}

  TransformerShape shape_;
  const KernelTable& kernels_;
  Arena arena_;
  std::vector<LayerWeights> layers_;
  std::vector<Rope> ropes_;
  PackedMatrix embedding_, head_;
  // Of a model that reads features, one for each part of them: their products join the token's embedding.
  std::vector<PackedMatrix> feature_;
  std::vector<float> final_norm_;
  bool has_bytes_ = false, has_wide_ = false;  // which integer activations its matrices are multiplied with

  size_t page_bytes(CacheForm form) const { return layers_.size() * layer_cache_bytes(form); }
  size_t layer_cache_bytes(CacheForm form) const {
    return static_cast<size_t>(2 * shape_.kv_heads) * plane_bytes(shape_.head_dim, form);
  }
  AdapterShape adapter_shape() const {
    return {static_cast<int>(layers_.size()),  shape_.hidden, shape_.heads * shape_.head_dim,
            shape_.kv_heads * shape_.head_dim, shape_.ffn,    shape_.vocabulary};
  }
  bool reads_features() const { return !feature_.empty(); }
  // What the head multiplied in the last step, [row of logit_rows][hidden].
  const float* features() const { return output_normed_.data(); }
  // Logits of the last step, [row of logit_rows][logit_stride].
  const float* logits() const { return logits_.data(); }
  int logit_stride() const { return head_.groups * kGroupRows; }
  int logit_row_count() const { return logit_row_count_; }

  // The caller has checked every index of the input.
  void step(const StepInput& input, CachePool& pool, Team& team);

 private:
  friend class Step;
  template <class T>
  struct Buffer {  // grows, never shrinks, 64-byte aligned, not initialised
    ~Buffer() { std::free(data_); }
    T* reserve(size_t count) {
      if (count > count_) {
        std::free(data_);
        data_ = static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64));
        count_ = data_ ? count : 0;
        if (!data_) throw std::bad_alloc();
      }
      return data_;
    }
    T* data() const { return data_; }
    T* data_ = nullptr;
    size_t count_ = 0;
  };
  Buffer<float> x_, normed_, qkv_, attended_, ffn_, branch_, logits_, output_normed_, angles_, span_partials_,
      shrunk_;
  struct QuantizedBuffer {
    Buffer<ActivationBlock> blocks;
    Buffer<WideActivationBlock> wide_blocks;
  };
  QuantizedBuffer normed_quants_, attended_quants_, ffn_quants_, output_quants_;
  Buffer<uint8_t> thread_scratch_;
  Buffer<float> rank_scales_;
  Buffer<int8_t> rank_quants_;
  Buffer<int32_t> rank_sums_;
  std::vector<SamplerScratch> sampler_scratch_;
  int logit_row_count_ = 0;
};

}  // namespace realm
