// One run of Transformer::step: the phases, and what every thread does in them.
#pragma once

#include <algorithm>
#include <vector>

#include "transformer.h"

namespace realm {

class Step {
 public:
  Step(Transformer& model, const StepInput& input, CachePool& pool, Team& team);

  static constexpr int kRangesPerLayer = 14;
  static constexpr int kSlabRows = 64;  // a multiple of kTileRows
  int range_count() const {
    return kRangesPerLayer * (input_.layer_end - input_.layer_begin) + 6 + 2 * input_.feature_parts;
  }

  // What one thread of the team does, from the first phase to the last.
  void work(int thread);

 private:
  // Queries that share one pass over their sequence's pages: `count` rows from `row` of the step, `heads`
  // query heads from the first_head-th of each of kv_heads key/value heads from kv_head.
  struct AttentionTask {
    int row, count, kv_head, kv_heads, first_head, heads;
    int queries() const { return kv_heads * count * heads; }
  };

  template <class T>
  static T* row(T* base, int index, size_t columns) {
    return base + static_cast<size_t>(index) * columns;
  }
  uint8_t* scratch(int thread) const {
    return model_.thread_scratch_.data() + scratch_bytes_ * static_cast<size_t>(thread);
  }
  // values: `count` columns from the first-th of row `index`, of `columns` in all.
  void quantize(const float* values, size_t first, size_t count, size_t columns, const QuantizedRows& to,
                int index) const {
    const size_t at = (static_cast<size_t>(index / kTileRows) * columns + first) / kBlockColumns;
    const int lane = index % kTileRows;
    if (to.blocks) kernels_.quantize_row(values, static_cast<int>(count), to.blocks + at, lane);
    if (to.wide_blocks)
      kernels_.quantize_wide_row(values, static_cast<int>(count), to.wide_blocks + at, lane);
  }
  QuantizedRows reserve_quantized(Transformer::QuantizedBuffer& buffer, size_t rows, size_t columns) const;
  Activations activations(const float* values, const QuantizedRows& quantized, size_t columns,
                          int rows) const {
    return {values, static_cast<ptrdiff_t>(columns), quantized, rows};
  }

  // Tiles of attention: few enough queries to stay in registers, one key/value head each.
  void plan_attention();
  int position_of(int index) const {
    const size_t s = static_cast<size_t>(row_segment_[static_cast<size_t>(index)]);
    return input_.segments[s].position + index - segment_first_[s];
  }
  const int32_t* pages_of(int index) const {
    const Segment& s = input_.segments[static_cast<size_t>(row_segment_[static_cast<size_t>(index)])];
    return input_.page_table + static_cast<ptrdiff_t>(s.table_row) * input_.table_columns;
  }

  void begin_rows(int begin, int end) const;

  // One part of each row's features, ready for its product.
  void take_features(int part, int begin, int end) const;
  // What a layer multiplied in these rows, for those that give logits. values: [rows][hidden].
  void give_features(int part, const float* values, int begin, int end) const;

  // Where in the step the keys and values of one head of a row are kept.
  uint8_t* planes_of(int layer, int index, int kv_head) const;
  // Fetches what prepare_head will write to for this task.
  void fetch_planes(int layer_index, const AttentionTask& task) const;
  size_t cache_offset(int layer, int kv_head) const;

  // Bias, norms and rotation of one key/value head and the query heads that use it; the key and value go to
  // the cache.
  void prepare_head(const LayerWeights& layer, int layer_index, int r, int kv_head) const;

  // Everything between the query, key and value product and the output product; ends with a barrier.
  void run_attention(const LayerWeights& layer, int index, int range, int thread) const;

  AttentionTile tile_of(const LayerWeights& layer, int layer_index, const AttentionTask& task) const;

  // A task whole, or in parts that several threads compute: number counts tasks x spans.
  void attend(const LayerWeights& layer, int layer_index, const AttentionTask& task, int thread) const;
  void attend_one_span(const LayerWeights& layer, int layer_index, int number) const;
  void combine_spans(const LayerWeights& layer, int layer_index, int number) const;

  void finish_task(const AttentionTask& task, const float* partials) const;

  // The products of one input, and the rows that adapters add to there.
  struct AdapterPlace {
    const std::vector<AdapterRun>& runs;
    int layer;
    AdapterInput input;
    const AdapterSite& site(const AdapterRun& run) const { return run.adapter->site(layer, input); }
  };

  // Calls work(begin, end, slab, next) over slabs x units: rows in slabs small enough to stay in a core's
  // cache while the units of a product pass over them. next: the unit where the thread goes on; `units` for
  // none.
  struct Slab {
    int first, rows;
  };
  template <class Work>
  void for_slabs(int range, int thread, int units, int rows, const Work& work) const {
    const int slabs = (rows + kSlabRows - 1) / kSlabRows;
    team_.for_range_ahead(range, thread, slabs * units, [&](int begin, int end, int next) {
      while (begin < end) {
        const int first = begin / units * kSlabRows, unit = begin % units;
        const int stop = std::min(units, unit + end - begin);
        begin += stop - unit;
        const int after = begin < end ? begin : next;
        work(unit, stop, Slab{first, std::min(kSlabRows, rows - first)},
             after < slabs * units ? after % units : units);
      }
    });
  }
  static Activations rows_of(const Activations& x, int first, int rows) {
    return {x.values, x.value_stride, x.quantized, rows, first};
  }

  // Groups begin .. end - 1 of a matrix, those that it has.
  static Upcoming weights_of(const PackedMatrix& matrix, int begin, int end) {
    if (begin >= matrix.groups) return {};
    return {matrix.group(begin), matrix.group(std::min(end, matrix.groups))};
  }

  // What a thread reads first of a product that comes in a later phase.
  Upcoming first_weights(const PackedMatrix& matrix, int thread, int width) const {
    const int slabs = (input_.rows + kSlabRows - 1) / kSlabRows;
    const int units = (matrix.groups + width - 1) / width;
    const int first = team_.first_of(thread, slabs * units) % units * width;
    return weights_of(matrix, first, first + width);
  }

  // Groups of a matrix that one thread takes at a time: many rows share what two groups have in common.
  static int unit_groups(int rows) { return rows > 1 ? 2 : 1; }
  // then: what the thread reads after its last group.
  void project(const PackedMatrix& matrix, int range, int thread, const Activations& x, float* out,
               size_t stride, bool accumulate, const AdapterPlace& place, const Upcoming& then) const;

  // Whether a part's product waits in the branch buffer for a norm or a scale, instead of going to x.
  bool has_branch(const std::vector<float>& post) const {
    return !post.empty() || shape_.residual_scale != 1.0f;
  }
  // x += residual_scale * post_norm(branch) for one row.
  void add_branch(const std::vector<float>& post, int index) const;

  // What waits in the branch buffer is added; then norm and quantise.
  void norm_rows(const std::vector<float>& weight, const std::vector<float>* post, int begin, int end) const;

  // Blocks begin .. end - 1 of 32 columns of gate and up for a slab of rows, their product, quantised: so
  // many blocks of the down projection's input. At most kGateBlocks.
  void gate_columns(const LayerWeights& layer, int index, int begin, int end, const Activations& x,
                    const Slab& slab, int thread, const Upcoming& then) const;
  static constexpr int kGateBlocks = 4, kGateColumns = kGateBlocks * kBlockColumns;
  static constexpr ptrdiff_t gate_scratch_floats(int rows) {
    return static_cast<ptrdiff_t>(rows) * 2 * kGateColumns;
  }

  void run_layer(const LayerWeights& layer, int index, int range, int thread) const;

  // The residual addition that the next layer's norm would have made.
  void finish_branch(const LayerWeights& layer) const;

  void project_stacked(const std::vector<PackedMatrix>& parts, int layer, int range, int thread,
                       const Activations& x, const Upcoming& then) const;

  void quantize_heads(const AttentionTask& task) const;

  void run_head(int range, int thread) const;

  // ---- Adapters (step_adapters.cpp): B (A x) is added to what a product gave. ----

  void plan_adapters();
  AdapterPlace place_of(int layer, AdapterInput input) const { return {adapter_runs_, layer, input}; }
  // A x of every row that has an adapter there; ends with a barrier when there are any.
  void shrink(const AdapterPlace& place, const Activations& x, int range, int thread) const;
  // Outputs begin .. end - 1 of a slab's rows; out[row * stride + output].
  void expand(const AdapterPlace& place, const Slab& slab, int begin, int end, float* out,
              size_t stride) const;
  void add_embedding(int index, float* to) const;
  void shrink_run(const AdapterRun& run, const AdapterSite& site, const Activations& x, int thread) const;
  // Groups from .. to - 1 of one part of a site.
  void expand_part(const AdapterRun& run, const AdapterExpand& expand, size_t part, int from, int to,
                   float* out, size_t stride) const;
  // Where row 0 stands among the rows that A x is kept for.
  size_t first_place(const AdapterRun& run) const { return static_cast<size_t>(run.slot) * shrunk_rows_; }
  float* shrunk(const AdapterRun& run) const { return shrunk_ + first_place(run) * shrunk_columns_; }

  Transformer& model_;
  const TransformerShape& shape_;
  const KernelTable& kernels_;
  const StepInput& input_;
  CachePool& pool_;
  Team& team_;
  size_t hidden_, attended_columns_, qkv_columns_, ffn_columns_, angle_columns_ = 0, scratch_bytes_;
  float *x_, *normed_, *branch_, *qkv_, *attended_, *ffn_, *output_normed_ = nullptr, *angles_;
  QuantizedRows normed_quants_, attended_quants_, ffn_quants_, output_quants_{};
  std::vector<AttentionTask> tasks_;
  std::vector<int> row_segment_, segment_first_;
  bool single_rows_ = true, tasks_are_whole_ = true;
  int span_count_ = 1;  // more than 1: threads share the spans of a task
  float* span_partials_ = nullptr;
  std::vector<AdapterRun> adapter_runs_, output_runs_;  // none crosses a slab; output_runs_: rows of the head
  float* shrunk_ = nullptr;                             // [slot][row][shrunk_columns_]
  int8_t* rank_quants_ = nullptr;                       // [slot][row][shrunk_quants_]
  float* rank_scales_ = nullptr;                        // [slot][row][kMostExpands]
  int32_t* rank_sums_ = nullptr;
  size_t shrunk_rows_ = 0, shrunk_columns_ = 0, shrunk_quants_ = 0;
};

}  // namespace realm
