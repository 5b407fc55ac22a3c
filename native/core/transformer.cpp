#include "transformer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

namespace realm {

CachePool::CachePool(size_t page_bytes, int page_count) : page_bytes_(page_bytes), page_count_(page_count) {
  void* base = mmap(nullptr, page_bytes * static_cast<size_t>(page_count), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<uint8_t*>(base);
}

CachePool::~CachePool() { munmap(base_, page_bytes_ * static_cast<size_t>(page_count_)); }

void CachePool::release(int index) {
  // Whole machine pages inside go back to the system; the edges are cleared by hand.
  constexpr uintptr_t kMachinePage = 4096;
  uint8_t *begin = page(index), *end = begin + page_bytes_;
  uint8_t* inner_begin = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(begin) + kMachinePage - 1) &
                                                    ~(kMachinePage - 1));
  uint8_t* inner_end = reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(end) & ~(kMachinePage - 1));
  if (inner_begin >= inner_end ||
      madvise(inner_begin, static_cast<size_t>(inner_end - inner_begin), MADV_DONTNEED) != 0) {
    std::memset(begin, 0, page_bytes_);
    return;
  }
  std::memset(begin, 0, static_cast<size_t>(inner_begin - begin));
  std::memset(inner_end, 0, static_cast<size_t>(end - inner_end));
}

void CachePool::copy(int from, int to) { std::memcpy(page(to), page(from), page_bytes_); }

template <class T>
T* Transformer::Buffer<T>::reserve(size_t count) {
  if (count > count_) {
    std::free(data_);
    data_ = static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64));
    if (!data_) {
      count_ = 0;
      throw std::bad_alloc();
    }
    count_ = count;
  }
  return data_;
}

// One run of Transformer::step: the phases, and what every thread does in them.
class Step {
 public:
  Step(Transformer& model, const StepInput& input, CachePool& pool, Team& team)
      : model_(model),
        shape_(model.shape_),
        kernels_(model.kernels_),
        input_(input),
        pool_(pool),
        team_(team) {
    const size_t rows = static_cast<size_t>(input.rows), outputs = input.logit_rows.size();
    const size_t tiles = (rows + kTileRows - 1) / kTileRows;
    hidden_ = static_cast<size_t>(shape_.hidden);
    attended_columns_ = static_cast<size_t>(shape_.heads * shape_.head_dim);
    qkv_columns_ = attended_columns_ + 2 * static_cast<size_t>(shape_.kv_heads * shape_.head_dim);
    ffn_columns_ = static_cast<size_t>(shape_.ffn);
    x_ = model.x_.reserve(rows * hidden_);
    normed_ = model.normed_.reserve(rows * hidden_);
    branch_ = model.branch_.reserve(rows * hidden_);
    qkv_ = model.qkv_.reserve(rows * qkv_columns_);
    attended_ = model.attended_.reserve(rows * attended_columns_);
    ffn_ = model.ffn_.reserve(rows * ffn_columns_);
    normed_blocks_ = model.normed_blocks_.reserve(tiles * hidden_ / kBlockColumns);
    attended_blocks_ = model.attended_blocks_.reserve(tiles * attended_columns_ / kBlockColumns);
    ffn_blocks_ = model.ffn_blocks_.reserve(tiles * ffn_columns_ / kBlockColumns);
    if (outputs > 0) {
      model.logits_.reserve(outputs * static_cast<size_t>(model.logit_stride()));
      output_normed_ = model.output_normed_.reserve(outputs * hidden_);
      output_blocks_ =
          model.output_blocks_.reserve((outputs + kTileRows - 1) / kTileRows * hidden_ / kBlockColumns);
    }
    for (const Rope& rope : model.ropes_) angle_columns_ += 2 * rope.inverse_frequencies.size();
    angles_ = model.angles_.reserve(rows * angle_columns_ + 1);
    const size_t widest = std::max({hidden_, attended_columns_, ffn_columns_});
    scratch_bytes_ =
        (unpack_bytes(static_cast<int>(widest)) + 63) / 64 * 64 + rows_of_gate(rows) * 2 * 32 * sizeof(float);
    model.thread_scratch_.reserve(scratch_bytes_ * static_cast<size_t>(team.size()));
    model.sampler_scratch_.resize(static_cast<size_t>(team.size()));
    plan_attention();
  }

  static constexpr int kRangesPerLayer = 8;
  int range_count() const { return kRangesPerLayer * (input_.layer_end - input_.layer_begin) + 5; }

  void work(int thread) {
    int range = 0;
    team_.for_range(range++, thread, input_.rows, [&](int begin, int end) { begin_rows(begin, end); });
    team_.barrier();
    for (int layer = input_.layer_begin; layer < input_.layer_end; layer++, range += kRangesPerLayer)
      run_layer(model_.layers_[static_cast<size_t>(layer)], layer, range, thread);
    if (input_.hidden_out)
      team_.for_range(range, thread, input_.rows, [&](int begin, int end) {
        std::memcpy(input_.hidden_out + static_cast<size_t>(begin) * hidden_, row(x_, begin, hidden_),
                    static_cast<size_t>(end - begin) * hidden_ * sizeof(float));
      });
    range++;
    if (!input_.logit_rows.empty()) run_head(range, thread);
  }

 private:
  struct AttentionTask {
    int segment, row, count, kv_head;  // row: of the step; count: rows of that segment
  };

  static size_t rows_of_gate(size_t rows) { return rows; }
  template <class T>
  static T* row(T* base, int index, size_t columns) {
    return base + static_cast<size_t>(index) * columns;
  }
  uint8_t* scratch(int thread) const {
    return model_.thread_scratch_.data() + scratch_bytes_ * static_cast<size_t>(thread);
  }
  void quantize(const float* values, size_t columns, ActivationBlock* blocks, int index) const {
    const size_t per_tile = columns / kBlockColumns;
    kernels_.quantize_row(values, static_cast<int>(columns),
                          blocks + static_cast<size_t>(index / kTileRows) * per_tile, index % kTileRows);
  }
  Activations activations(const float* values, const ActivationBlock* blocks, size_t columns,
                          int rows) const {
    return {values, static_cast<ptrdiff_t>(columns), blocks, rows};
  }

  // Tiles of attention: few enough queries to stay in registers, one key/value head each.
  void plan_attention() {
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
  int position_of(int index) const {
    const size_t s = static_cast<size_t>(row_segment_[static_cast<size_t>(index)]);
    return input_.segments[s].position + index - segment_first_[s];
  }
  const int32_t* pages_of(int index) const {
    const Segment& s = input_.segments[static_cast<size_t>(row_segment_[static_cast<size_t>(index)])];
    return input_.page_table + static_cast<ptrdiff_t>(s.table_row) * input_.table_columns;
  }

  void begin_rows(int begin, int end) const {
    for (int r = begin; r < end; r++) {
      float* to = row(x_, r, hidden_);
      if (input_.tokens) {
        unpack_row(model_.embedding_, input_.tokens[r], to);
        for (size_t c = 0; c < hidden_; c++) to[c] *= shape_.embedding_scale;
      } else {
        std::memcpy(to, input_.hidden + static_cast<size_t>(r) * hidden_, hidden_ * sizeof(float));
      }
      if (input_.layer_begin == input_.layer_end) continue;
      float* angle = row(angles_, r, angle_columns_);
      const double position = position_of(r);
      for (const Rope& rope : model_.ropes_)
        for (double frequency : rope.inverse_frequencies) {
          *angle++ = static_cast<float>(std::cos(position * frequency)) * rope.magnitude;
          *angle++ = static_cast<float>(std::sin(position * frequency)) * rope.magnitude;
        }
    }
  }

  void rotate(const Rope& rope, const float* angles, float* head) const {
    const size_t half = rope.inverse_frequencies.size();
    const size_t step = rope.interleaved ? 2 : 1, apart = rope.interleaved ? 1 : half;
    for (size_t i = 0; i < half; i++) {
      const float cosine = angles[2 * i], sine = angles[2 * i + 1];
      const float a = head[step * i], b = head[step * i + apart];
      head[step * i] = a * cosine - b * sine;
      head[step * i + apart] = a * sine + b * cosine;
    }
  }

  size_t cache_offset(int layer, int kv_head, bool value) const {
    const size_t plane = static_cast<size_t>(shape_.head_dim) * kPageTokens * 2;
    return static_cast<size_t>(layer) * model_.layer_cache_bytes() +
           static_cast<size_t>(2 * kv_head + value) * plane;
  }

  // Bias, norms and rotation of one key/value head and the query heads that use it; the key and value go to
  // the cache.
  void prepare_head(const LayerWeights& layer, int layer_index, int r, int kv_head) const {
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

  void attend(const LayerWeights& layer, int layer_index, const AttentionTask& task) const {
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

  void project(const PackedMatrix& matrix, int range, int thread, const Activations& x, float* out,
               size_t stride, bool accumulate) const {
    team_.for_range(range, thread, matrix.groups, [&](int begin, int end) {
      kernels_.product(matrix, begin, end, x, out, static_cast<ptrdiff_t>(stride), accumulate,
                       scratch(thread));
    });
  }

  // x += post_norm(branch) when the layer has one; then norm and quantise.
  void norm_rows(const std::vector<float>& weight, const std::vector<float>* post, int begin, int end) const {
    for (int r = begin; r < end; r++) {
      float *x = row(x_, r, hidden_), *out = row(normed_, r, hidden_), *branch = row(branch_, r, hidden_);
      const int columns = static_cast<int>(hidden_);
      if (post && !post->empty()) {
        kernels_.rms_norm(branch, post->data(), columns, shape_.epsilon, branch);
        kernels_.add(x, branch, columns);
      }
      kernels_.rms_norm(x, weight.data(), columns, shape_.epsilon, out);
      quantize(out, hidden_, normed_blocks_, r);
    }
  }

  // 32 columns of gate and up for all rows, their product, quantised: one block of the down projection's
  // input.
  void gate_columns(const LayerWeights& layer, int block, const Activations& x, int thread) const {
    float* gates = reinterpret_cast<float*>(scratch(thread) + scratch_bytes_ -
                                            static_cast<size_t>(input_.rows) * 64 * sizeof(float));
    float* ups = gates + static_cast<ptrdiff_t>(input_.rows) * 32;
    const ptrdiff_t shift = static_cast<ptrdiff_t>(block) * 32;
    kernels_.product(layer.gate, 2 * block, 2 * block + 2, x, gates - shift, 32, false, scratch(thread));
    kernels_.product(layer.up, 2 * block, 2 * block + 2, x, ups - shift, 32, false, scratch(thread));
    const size_t per_tile = ffn_columns_ / kBlockColumns;
    const bool quantized = is_quantized(layer.down.form);
    for (int r = 0; r < input_.rows; r++) {
      float* gated = gates + static_cast<ptrdiff_t>(r) * 32;
      float* out = quantized ? gated : row(ffn_, r, ffn_columns_) + shift;
      kernels_.gate(shape_.gate, gated, ups + static_cast<ptrdiff_t>(r) * 32, 32, out);
      if (quantized)
        kernels_.quantize_row(
            out, kBlockColumns,
            ffn_blocks_ + static_cast<size_t>(r / kTileRows) * per_tile + static_cast<size_t>(block),
            r % kTileRows);
    }
  }

  void run_layer(const LayerWeights& layer, int index, int range, int thread) const {
    const int rows = input_.rows;
    const bool post = !layer.post_attention_norm.empty();
    const std::vector<float>* before =
        index > input_.layer_begin ? &model_.layers_[static_cast<size_t>(index - 1)].post_ffn_norm : nullptr;
    team_.for_range(range + 0, thread, rows,
                    [&](int begin, int end) { norm_rows(layer.attention_norm, before, begin, end); });
    team_.barrier();
    const Activations normed = activations(normed_, normed_blocks_, hidden_, rows);
    project_stacked(layer.qkv, range + 1, thread, normed);
    team_.barrier();
    if (!single_rows_) {
      team_.for_range(range + 2, thread, rows, [&](int begin, int end) {
        for (int r = begin; r < end; r++)
          for (int head = 0; head < shape_.kv_heads; head++) prepare_head(layer, index, r, head);
      });
      team_.barrier();
    }
    const bool block_heads = shape_.head_dim % kBlockColumns == 0;
    team_.for_range(range + 3, thread, static_cast<int>(tasks_.size()), [&](int begin, int end) {
      for (int t = begin; t < end; t++) {
        const AttentionTask& task = tasks_[static_cast<size_t>(t)];
        if (single_rows_) prepare_head(layer, index, task.row, task.kv_head);
        attend(layer, index, task);
        if (block_heads) quantize_heads(task);
      }
    });
    team_.barrier();
    if (!block_heads) {
      if (thread == 0)
        for (int r = 0; r < rows; r++)
          quantize(row(attended_, r, attended_columns_), attended_columns_, attended_blocks_, r);
      team_.barrier();
    }
    project(layer.output, range + 4, thread,
            activations(attended_, attended_blocks_, attended_columns_, rows), post ? branch_ : x_, hidden_,
            !post);
    team_.barrier();
    team_.for_range(range + 5, thread, rows, [&](int begin, int end) {
      norm_rows(layer.ffn_norm, &layer.post_attention_norm, begin, end);
    });
    team_.barrier();
    team_.for_range(range + 6, thread, static_cast<int>(ffn_columns_ / kBlockColumns),
                    [&](int begin, int end) {
                      for (int b = begin; b < end; b++) gate_columns(layer, b, normed, thread);
                    });
    team_.barrier();
    const bool post_ffn = !layer.post_ffn_norm.empty();
    project(layer.down, range + 7, thread, activations(ffn_, ffn_blocks_, ffn_columns_, rows),
            post_ffn ? branch_ : x_, hidden_, !post_ffn);
    team_.barrier();
    if (post_ffn && index + 1 == input_.layer_end) {
      if (thread == 0) finish_branch(layer);
      team_.barrier();
    }
  }

  // The residual addition that the next layer's norm would have made.
  void finish_branch(const LayerWeights& layer) const {
    for (int r = 0; r < input_.rows; r++) {
      float* branch = row(branch_, r, hidden_);
      kernels_.rms_norm(branch, layer.post_ffn_norm.data(), static_cast<int>(hidden_), shape_.epsilon,
                        branch);
      kernels_.add(row(x_, r, hidden_), branch, static_cast<int>(hidden_));
    }
  }

  void project_stacked(const std::vector<PackedMatrix>& parts, int range, int thread,
                       const Activations& x) const {
    int groups = 0;
    for (const PackedMatrix& part : parts) groups += part.groups;
    team_.for_range(range, thread, groups, [&](int begin, int end) {
      int first = 0;
      for (const PackedMatrix& part : parts) {
        const int from = std::max(begin - first, 0), to = std::min(end - first, part.groups);
        if (from < to)
          kernels_.product(part, from, to, x, qkv_ + static_cast<ptrdiff_t>(first) * kGroupRows,
                           static_cast<ptrdiff_t>(qkv_columns_), false, scratch(thread));
        first += part.groups;
      }
    });
  }

  void quantize_heads(const AttentionTask& task) const {
    const int dim = shape_.head_dim, group = shape_.heads / shape_.kv_heads;
    const size_t first = static_cast<size_t>(task.kv_head * group * dim),
                 per_tile = attended_columns_ / kBlockColumns;
    for (int r = task.row; r < task.row + task.count; r++)
      kernels_.quantize_row(
          row(attended_, r, attended_columns_) + first, group * dim,
          attended_blocks_ + static_cast<size_t>(r / kTileRows) * per_tile + first / kBlockColumns,
          r % kTileRows);
  }

  void run_head(int range, int thread) const {
    const int outputs = static_cast<int>(input_.logit_rows.size());
    team_.for_range(range, thread, outputs, [&](int begin, int end) {
      for (int o = begin; o < end; o++) {
        float* normed = row(output_normed_, o, hidden_);
        kernels_.rms_norm(row(x_, input_.logit_rows[static_cast<size_t>(o)], hidden_),
                          model_.final_norm_.data(), static_cast<int>(hidden_), shape_.epsilon, normed);
        quantize(normed, hidden_, output_blocks_, o);
      }
    });
    team_.barrier();
    const size_t stride = static_cast<size_t>(model_.logit_stride());
    float* logits = model_.logits_.data();
    project(model_.head_, range + 1, thread, activations(output_normed_, output_blocks_, hidden_, outputs),
            logits, stride, false);
    team_.barrier();
    team_.for_range(range + 2, thread, outputs, [&](int begin, int end) {
      for (int o = begin; o < end; o++) {
        float* values = row(logits, o, stride);
        if (shape_.logit_softcap > 0.0f) kernels_.soft_cap(values, shape_.vocabulary, shape_.logit_softcap);
        if (!input_.sampling.empty() && input_.sampling[static_cast<size_t>(o)].draw)
          input_.sampled[o] =
              sample(kernels_, values, shape_.vocabulary, input_.sampling[static_cast<size_t>(o)],
                     model_.sampler_scratch_[static_cast<size_t>(thread)]);
      }
    });
  }

  Transformer& model_;
  const TransformerShape& shape_;
  const KernelTable& kernels_;
  const StepInput& input_;
  CachePool& pool_;
  Team& team_;
  size_t hidden_, attended_columns_, qkv_columns_, ffn_columns_, angle_columns_ = 0, scratch_bytes_;
  float *x_, *normed_, *branch_, *qkv_, *attended_, *ffn_, *output_normed_ = nullptr, *angles_;
  ActivationBlock *normed_blocks_, *attended_blocks_, *ffn_blocks_, *output_blocks_ = nullptr;
  std::vector<AttentionTask> tasks_;
  std::vector<int> row_segment_, segment_first_;
  bool single_rows_ = true;
};

void Transformer::step(const StepInput& input, CachePool& pool, Team& team) {
  logit_row_count_ = static_cast<int>(input.logit_rows.size());
  Step run(*this, input, pool, team);
  team.run([&](int thread) { run.work(thread); }, run.range_count());
}

}  // namespace realm
