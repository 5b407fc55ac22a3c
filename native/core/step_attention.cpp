// The phase of a step between the query, key and value product and the output product.
#include <algorithm>

#include "step.h"

namespace realm {

void Step::plan_attention() {
  const int group = shape_.heads / shape_.kv_heads;
  const int tile_rows = std::max(1, kernels_.query_tile / group);
  single_rows_ = true;
  int first = 0;
  for (size_t s = 0; s < input_.segments.size(); s++) {
    const int count = input_.segments[s].count;
    single_rows_ = single_rows_ && count == 1;
    // The last tiles see the most tokens: they go first.
    for (int at = (count - 1) / tile_rows * tile_rows; at >= 0; at -= tile_rows)
      for (int head = 0; head < shape_.kv_heads; head++)
        tasks_.push_back({static_cast<int>(s), first + at, std::min(tile_rows, count - at), head});
    for (int i = 0; i < count; i++) row_segment_.push_back(static_cast<int>(s));
    first += count;
  }
  segment_first_.resize(input_.segments.size());
  for (size_t s = 0, at = 0; s < input_.segments.size(); s++) {
    segment_first_[s] = static_cast<int>(at);
    at += static_cast<size_t>(input_.segments[s].count);
  }
}

void Step::rotate(const Rope& rope, const float* angles, float* head) const {
  const size_t half = rope.inverse_frequencies.size();
  const size_t step = rope.interleaved ? 2 : 1, apart = rope.interleaved ? 1 : half;
  for (size_t i = 0; i < half; i++) {
    const float cosine = angles[2 * i], sine = angles[2 * i + 1];
    const float a = head[step * i], b = head[step * i + apart];
    head[step * i] = a * cosine - b * sine;
    head[step * i + apart] = a * sine + b * cosine;
  }
}

size_t Step::cache_offset(int layer, int kv_head, bool value) const {
  const size_t plane = static_cast<size_t>(shape_.head_dim) * kPageTokens * 2;
  return static_cast<size_t>(layer) * model_.layer_cache_bytes() +
         static_cast<size_t>(2 * kv_head + value) * plane;
}

void Step::prepare_head(const LayerWeights& layer, int layer_index, int r, int kv_head) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  float* qkv = row(qkv_, r, qkv_columns_);
  float* key = qkv + attended_columns_ + kv_head * dim;
  float* value = key + shape_.kv_heads * dim;
  const Rope& rope = model_.ropes_[static_cast<size_t>(layer.rope)];
  const float* angles = row(angles_, r, angle_columns_);
  for (int i = 0; i < layer.rope; i++)
    angles += 2 * model_.ropes_[static_cast<size_t>(i)].inverse_frequencies.size();
  const auto add_bias = [&](float* to) {
    if (!layer.qkv_bias.empty()) kernels_.add(to, layer.qkv_bias.data() + (to - qkv), dim);
  };
  for (int h = kv_head * group; h < (kv_head + 1) * group; h++) {
    float* query = qkv + h * dim;
    add_bias(query);
    if (!layer.query_norm.empty())
      kernels_.rms_norm(query, layer.query_norm.data(), dim, shape_.epsilon, query);
    rotate(rope, angles, query);
    for (int d = 0; d < dim; d++) query[d] *= shape_.attention_scale;
  }
  add_bias(key);
  add_bias(value);
  if (!layer.key_norm.empty()) kernels_.rms_norm(key, layer.key_norm.data(), dim, shape_.epsilon, key);
  rotate(rope, angles, key);
  const int position = position_of(r);
  uint8_t* page = pool_.page(pages_of(r)[position / kPageTokens]);
  kernels_.store_key(key, dim, position % kPageTokens,
                     reinterpret_cast<uint16_t*>(page + cache_offset(layer_index, kv_head, false)));
  kernels_.store_value(value, dim, position % kPageTokens,
                       reinterpret_cast<uint16_t*>(page + cache_offset(layer_index, kv_head, true)));
}

void Step::attend(const LayerWeights& layer, int layer_index, const AttentionTask& task) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  AttentionTile tile;
  tile.pages = pages_of(task.row);
  tile.pool = pool_.page(0);
  tile.page_bytes = pool_.page_bytes();
  tile.key_offset = cache_offset(layer_index, task.kv_head, false);
  tile.value_offset = cache_offset(layer_index, task.kv_head, true);
  tile.head_dim = dim;
  tile.softcap = shape_.attention_softcap;
  tile.query_count = 0;
  const auto flush = [&] {
    if (tile.query_count > 0) kernels_.attention(tile);
    tile.query_count = 0;
  };
  for (int r = task.row; r < task.row + task.count; r++) {
    const int position = position_of(r);
    for (int h = task.kv_head * group; h < (task.kv_head + 1) * group; h++) {
      const int q = tile.query_count++;
      tile.queries[q] = row(qkv_, r, qkv_columns_) + h * dim;
      tile.outputs[q] = row(attended_, r, attended_columns_) + h * dim;
      tile.first[q] = layer.window > 0 ? std::max(0, position - layer.window + 1) : 0;
      tile.last[q] = position;
      if (tile.query_count == kMaxQueries) flush();
    }
  }
  flush();
}

void Step::quantize_heads(const AttentionTask& task) const {
  const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
  const size_t first = static_cast<size_t>(task.kv_head * group * dim),
               per_tile = attended_columns_ / kBlockColumns;
  for (int r = task.row; r < task.row + task.count; r++)
    kernels_.quantize_row(
        row(attended_, r, attended_columns_) + first, group * dim,
        attended_blocks_ + static_cast<size_t>(r / kTileRows) * per_tile + first / kBlockColumns,
        r % kTileRows);
}

}  // namespace realm
