#include "step.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace realm {

Step::Step(Transformer& model, const StepInput& input, CachePool& pool, Team& team)
    : model_(model), shape_(model.shape_), kernels_(model.kernels_), input_(input), pool_(pool), team_(team) {
  const size_t rows = static_cast<size_t>(input.rows), outputs = input.logit_rows.size();
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
  normed_quants_ = reserve_quantized(model.normed_quants_, rows, hidden_);
  attended_quants_ = reserve_quantized(model.attended_quants_, rows, attended_columns_);
  ffn_quants_ = reserve_quantized(model.ffn_quants_, rows, ffn_columns_);
  if (outputs > 0) {
    model.logits_.reserve(outputs * static_cast<size_t>(model.logit_stride()));
    output_normed_ = model.output_normed_.reserve(outputs * hidden_);
    output_quants_ = reserve_quantized(model.output_quants_, outputs, hidden_);
  }
  for (const Rope& rope : model.ropes_) angle_columns_ += angle_count(rope);
  angles_ = model.angles_.reserve(rows * angle_columns_ + 1);
  const size_t widest = std::max({hidden_, attended_columns_, ffn_columns_});
  const size_t partials =
      sizeof(float) * 2 * kTileQueries * static_cast<size_t>(partial_size(shape_.head_dim));
  scratch_bytes_ = (std::max(product_scratch_bytes(static_cast<int>(widest)), partials) + 63) / 64 * 64 +
                   sizeof(float) * static_cast<size_t>(gate_scratch_floats(kSlabRows));
  model.thread_scratch_.reserve(scratch_bytes_ * static_cast<size_t>(team.size()));
  model.sampler_scratch_.resize(static_cast<size_t>(team.size()));
  plan_attention();
  plan_adapters();
}

QuantizedRows Step::reserve_quantized(Transformer::QuantizedBuffer& buffer, size_t rows,
                                      size_t columns) const {
  const size_t blocks = (rows + kTileRows - 1) / kTileRows * columns / kBlockColumns;
  const bool bytes = model_.has_bytes_ || !input_.adapters.empty();
  return {bytes ? buffer.blocks.reserve(blocks) : nullptr,
          model_.has_wide_ ? buffer.wide_blocks.reserve(blocks) : nullptr};
}

void Step::work(int thread) {
  int range = 0;
  team_.for_range(range++, thread, input_.rows, [&](int begin, int end) { begin_rows(begin, end); });
  team_.barrier();
  for (int part = 0; input_.features && part < input_.feature_parts; part++) {
    team_.for_range(range + 2 * part, thread, input_.rows,
                    [&](int begin, int end) { take_features(part, begin, end); });
    team_.barrier();
    project(model_.feature_[static_cast<size_t>(part)], range + 2 * part + 1, thread,
            activations(normed_, normed_quants_, hidden_, input_.rows), x_, hidden_, true,
            place_of(0, AdapterInput::kAttentionInput), {});
    team_.barrier();
  }
  range += 2 * input_.feature_parts;
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

void Step::begin_rows(int begin, int end) const {
  for (int r = begin; r < end; r++) {
    float* to = row(x_, r, hidden_);
    if (input_.tokens) {
      unpack_row(model_.embedding_, input_.tokens[r], to);
      for (size_t c = 0; c < hidden_; c++) to[c] *= shape_.embedding_scale;
      add_embedding(r, to);
    } else {
      std::memcpy(to, input_.hidden + static_cast<size_t>(r) * hidden_, hidden_ * sizeof(float));
    }
    if (input_.layer_begin == input_.layer_end) continue;
    float* angle = row(angles_, r, angle_columns_);
    const double position = position_of(r);
    for (const Rope& rope : model_.ropes_) {
      const size_t half = rope.inverse_frequencies.size();
      const size_t step = rope.interleaved ? 2 : 1, apart = rope.interleaved ? 1 : half;
      float *own = angle, *partner = angle + 2 * half;
      for (double frequency : rope.inverse_frequencies) {
        const float cosine = static_cast<float>(std::cos(position * frequency)) * rope.magnitude;
        const float sine = static_cast<float>(std::sin(position * frequency)) * rope.magnitude;
        own[0] = own[apart] = cosine;
        partner[0] = -sine;
        partner[apart] = sine;
        own += step;
        partner += step;
      }
      angle += angle_count(rope);
    }
  }
}

void Step::take_features(int part, int begin, int end) const {
  for (int r = begin; r < end; r++) {
    float* features = row(normed_, r, hidden_);
    std::memcpy(features, row(input_.features, r * input_.feature_parts + part, hidden_),
                hidden_ * sizeof(float));
    quantize(features, 0, hidden_, hidden_, normed_quants_, r);
  }
}

void Step::give_features(int part, const float* values, int begin, int end) const {
  const int parts = 1 + static_cast<int>(input_.feature_layers.size());
  for (size_t o = 0; o < input_.logit_rows.size(); o++) {
    const int r = input_.logit_rows[o];
    if (r >= begin && r < end)
      std::memcpy(row(input_.features_out, static_cast<int>(o) * parts + part, hidden_),
                  row(values, r, hidden_), hidden_ * sizeof(float));
  }
}

void Step::project(const PackedMatrix& matrix, int range, int thread, const Activations& x, float* out,
                   size_t stride, bool accumulate, const AdapterPlace& place, const Upcoming& then) const {
  const int width = unit_groups(x.rows);
  for_slabs(range, thread, (matrix.groups + width - 1) / width, x.rows,
            [&](int begin, int end, const Slab& slab, int next) {
              const int first = width * begin, last = std::min(width * end, matrix.groups);
              kernels_.product(
                  matrix, first, last, rows_of(x, slab.first, slab.rows), out, static_cast<ptrdiff_t>(stride),
                  accumulate, scratch(thread),
                  width * next < matrix.groups ? weights_of(matrix, width * next, width * (next + 1)) : then);
              expand(place, slab, first * kGroupRows, last * kGroupRows, out, stride);
            });
}

void Step::add_branch(const std::vector<float>& post, int index) const {
  float* branch = row(branch_, index, hidden_);
  const int columns = static_cast<int>(hidden_);
  if (!post.empty()) kernels_.rms_norm(branch, post.data(), columns, shape_.epsilon, branch);
  if (shape_.residual_scale != 1.0f)
    for (int c = 0; c < columns; c++) branch[c] *= shape_.residual_scale;
  kernels_.add(row(x_, index, hidden_), branch, columns);
}

void Step::norm_rows(const std::vector<float>& weight, const std::vector<float>* post, int begin,
                     int end) const {
  for (int r = begin; r < end; r++) {
    float *x = row(x_, r, hidden_), *out = row(normed_, r, hidden_);
    if (post && has_branch(*post)) add_branch(*post, r);
    kernels_.rms_norm(x, weight.data(), static_cast<int>(hidden_), shape_.epsilon, out);
    quantize(out, 0, hidden_, hidden_, normed_quants_, r);
  }
}

void Step::gate_columns(const LayerWeights& layer, int index, int begin, int end, const Activations& x,
                        const Slab& slab, int thread, const Upcoming& then) const {
  const int first = begin * kBlockColumns, last = end * kBlockColumns, ffn = shape_.ffn;
  // As if the scratch held every row and every column of both.
  float* gates = reinterpret_cast<float*>(scratch(thread) + scratch_bytes_) - gate_scratch_floats(kSlabRows) -
                 (first + static_cast<ptrdiff_t>(slab.first) * kGateColumns);
  float* ups = gates + kSlabRows * kGateColumns;
  kernels_.product(layer.gate, 2 * begin, 2 * end, x, gates, kGateColumns, false, scratch(thread),
                   weights_of(layer.up, 2 * begin, 2 * end));
  kernels_.product(layer.up, 2 * begin, 2 * end, x, ups, kGateColumns, false, scratch(thread), then);
  const AdapterPlace place = place_of(index, AdapterInput::kFfnInput);
  expand(place, slab, first, last, gates, kGateColumns);
  expand(place, slab, ffn + first, ffn + last, ups - ffn, kGateColumns);
  const bool needs_values = is_float(layer.down.form) || !adapter_runs_.empty();
  for (int r = slab.first; r < slab.first + slab.rows; r++) {
    const ptrdiff_t at = first + static_cast<ptrdiff_t>(r) * kGateColumns;
    float* out = needs_values ? row(ffn_, r, ffn_columns_) + first : gates + at;
    kernels_.gate(shape_.gate, gates + at, ups + at, last - first, out);
    quantize(out, static_cast<size_t>(first), static_cast<size_t>(last - first), ffn_columns_, ffn_quants_,
             r);
  }
}

void Step::run_layer(const LayerWeights& layer, int index, int range, int thread) const {
  const int rows = input_.rows, width = unit_groups(rows);
  const PackedMatrix& after = index + 1 < input_.layer_end
                                  ? model_.layers_[static_cast<size_t>(index) + 1].qkv.front()
                                  : model_.head_;
  const bool branch = has_branch(layer.post_attention_norm);
  const std::vector<float>* before =
      index > input_.layer_begin ? &model_.layers_[static_cast<size_t>(index - 1)].post_ffn_norm : nullptr;
  team_.help(thread);
  team_.for_range(range + 0, thread, rows, [&](int begin, int end) {
    norm_rows(layer.attention_norm, before, begin, end);
    if (!input_.features_out) return;
    for (size_t i = 0; i < input_.feature_layers.size(); i++)
      if (input_.feature_layers[i] == index) give_features(static_cast<int>(i) + 1, normed_, begin, end);
  });
  team_.barrier();
  const Activations normed = activations(normed_, normed_quants_, hidden_, rows);
  shrink(place_of(index, AdapterInput::kAttentionInput), normed, range + 10, thread);
  project_stacked(layer.qkv, index, range + 1, thread, normed, first_weights(layer.output, thread, width));
  team_.barrier();
  run_attention(layer, index, range + 2, thread);
  const Activations attended = activations(attended_, attended_quants_, attended_columns_, rows);
  const AdapterPlace output = place_of(index, AdapterInput::kAttentionOutput);
  shrink(output, attended, range + 11, thread);
  project(layer.output, range + 6, thread, attended, branch ? branch_ : x_, hidden_, !branch, output,
          first_weights(layer.gate, thread, 2));
  team_.barrier();
  team_.for_range(range + 7, thread, rows, [&](int begin, int end) {
    norm_rows(layer.ffn_norm, &layer.post_attention_norm, begin, end);
  });
  team_.barrier();
  shrink(place_of(index, AdapterInput::kFfnInput), normed, range + 12, thread);
  for_slabs(range + 8, thread, static_cast<int>(ffn_columns_ / kBlockColumns), rows,
            [&](int begin, int end, const Slab& slab, int next) {
              const Activations x = rows_of(normed, slab.first, slab.rows);
              for (int b = begin; b < end; b += kGateBlocks) {
                const int stop = std::min(b + kGateBlocks, end);
                const int after = 2 * (stop < end ? stop : next);
                gate_columns(layer, index, b, stop, x, slab, thread,
                             after < layer.gate.groups ? weights_of(layer.gate, after, after + 2)
                                                       : first_weights(layer.down, thread, width));
              }
            });
  team_.barrier();
  const bool ffn_branch = has_branch(layer.post_ffn_norm);
  const Activations gated = activations(ffn_, ffn_quants_, ffn_columns_, rows);
  const AdapterPlace down = place_of(index, AdapterInput::kFfnOutput);
  shrink(down, gated, range + 13, thread);
  project(layer.down, range + 9, thread, gated, ffn_branch ? branch_ : x_, hidden_, !ffn_branch, down,
          first_weights(after, thread, width));
  team_.barrier();
  if (ffn_branch && index + 1 == input_.layer_end) {
    if (thread == 0) finish_branch(layer);
    team_.barrier();
  }
}

void Step::finish_branch(const LayerWeights& layer) const {
  for (int r = 0; r < input_.rows; r++) add_branch(layer.post_ffn_norm, r);
}

void Step::project_stacked(const std::vector<PackedMatrix>& parts, int layer, int range, int thread,
                           const Activations& x, const Upcoming& then) const {
  int groups = 0;
  for (const PackedMatrix& part : parts) groups += part.groups;
  const int width = unit_groups(x.rows);
  // Of the part that has this group.
  const auto weights_at = [&](int group) {
    for (const PackedMatrix& part : parts) {
      if (group < part.groups) return weights_of(part, group, group + width);
      group -= part.groups;
    }
    return then;
  };
  const auto work = [&](int begin, int end, const Slab& slab, int next) {
    const Activations of_slab = rows_of(x, slab.first, slab.rows);
    int first = 0;
    for (const PackedMatrix& part : parts) {
      const int from = std::max(width * begin - first, 0), to = std::min(width * end - first, part.groups);
      if (from < to)
        kernels_.product(part, from, to, of_slab, qkv_ + static_cast<ptrdiff_t>(first) * kGroupRows,
                         static_cast<ptrdiff_t>(qkv_columns_), false, scratch(thread),
                         weights_at(first + to < width * end ? first + to : width * next));
      first += part.groups;
    }
    expand(place_of(layer, AdapterInput::kAttentionInput), slab, width * begin * kGroupRows,
           width * end * kGroupRows, qkv_, qkv_columns_);
  };
  for_slabs(range, thread, (groups + width - 1) / width, x.rows, work);
}

void Step::run_head(int range, int thread) const {
  const int outputs = static_cast<int>(input_.logit_rows.size());
  const int parts = 1 + static_cast<int>(input_.feature_layers.size());
  team_.for_range(range, thread, outputs, [&](int begin, int end) {
    for (int o = begin; o < end; o++) {
      float* normed = row(output_normed_, o, hidden_);
      kernels_.rms_norm(row(x_, input_.logit_rows[static_cast<size_t>(o)], hidden_),
                        model_.final_norm_.data(), static_cast<int>(hidden_), shape_.epsilon, normed);
      if (input_.features_out)
        std::memcpy(row(input_.features_out, o * parts, hidden_), normed, hidden_ * sizeof(float));
      quantize(normed, 0, hidden_, hidden_, output_quants_, o);
    }
  });
  team_.barrier();
  const size_t stride = static_cast<size_t>(model_.logit_stride());
  float* logits = model_.logits_.data();
  const Activations outputs_normed = activations(output_normed_, output_quants_, hidden_, outputs);
  const AdapterPlace head{output_runs_, 0, AdapterInput::kHead};
  shrink(head, outputs_normed, range + 3, thread);
  project(model_.head_, range + 1, thread, outputs_normed, logits, stride, false, head, {});
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

}  // namespace realm
