// Transformer and CachePool for Python: shapes, indices and types are checked here, the GIL is
// released, then the core is called.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>

#include "bindings.h"
#include "bindings_step.h"
#include "transformer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

using OptionalVector = std::optional<Vector>;

std::vector<float> copy(const OptionalVector& values, int count, const char* name) {
  if (!values) return {};
  if (static_cast<int>(values->shape(0)) != count)
    refuse(std::string(name) + " has " + std::to_string(values->shape(0)) + " values instead of " +
           std::to_string(count));
  return {values->data(), values->data() + count};
}

PackedMatrix pack(Transformer& model, Team& team, int ggml_type, const Bytes& data, int rows, int columns) {
  PackedMatrix matrix;
  require(make_matrix(ggml_type, rows, columns, data.size(), model.arena_, &matrix),
          "the block type cannot run, or the data has another size than rows and columns say");
  model.has_bytes_ = model.has_bytes_ || is_bytes(matrix.form);
  model.has_wide_ = model.has_wide_ || is_wide(matrix.form);
  const uint8_t* source = data.data();
  nb::gil_scoped_release release;
  team.run(
      [&](int thread) {
        team.for_range(0, thread, matrix.groups,
                       [&](int begin, int end) { pack_groups(ggml_type, source, matrix, begin, end); });
      },
      1);
  return matrix;
}

void check_matrix(const PackedMatrix& matrix, int rows, int columns, const char* name) {
  if (matrix.rows != rows || matrix.columns != columns)
    refuse(std::string(name) + " is " + std::to_string(matrix.rows) + " x " + std::to_string(matrix.columns) +
           " instead of " + std::to_string(rows) + " x " + std::to_string(columns));
}

void add_layer(Transformer& model, const Vector& attention_norm, const Vector& ffn_norm,
               const std::vector<PackedMatrix>& qkv, const PackedMatrix& output, const PackedMatrix& gate,
               const PackedMatrix& up, const PackedMatrix& down, int rope, int window,
               const OptionalVector& post_attention_norm, const OptionalVector& post_ffn_norm,
               const OptionalVector& query_norm, const OptionalVector& key_norm,
               const OptionalVector& qkv_bias) {
  const TransformerShape& s = model.shape_;
  const int attended = s.heads * s.head_dim, cached = s.kv_heads * s.head_dim;
  LayerWeights layer;
  layer.attention_norm = copy(attention_norm, s.hidden, "attention_norm");
  layer.ffn_norm = copy(ffn_norm, s.hidden, "ffn_norm");
  layer.post_attention_norm = copy(post_attention_norm, s.hidden, "post_attention_norm");
  layer.post_ffn_norm = copy(post_ffn_norm, s.hidden, "post_ffn_norm");
  layer.query_norm = copy(query_norm, s.head_dim, "query_norm");
  layer.key_norm = copy(key_norm, s.head_dim, "key_norm");
  layer.qkv_bias = copy(qkv_bias, attended + 2 * cached, "qkv_bias");
  int rows = 0;
  for (const PackedMatrix& part : qkv) {
    require(part.columns == s.hidden, "a part of qkv has another number of columns than the hidden size");
    require(part.rows % kGroupRows == 0, "a part of qkv has rows that do not divide by 16");
    rows += part.rows;
  }
  require(rows == attended + 2 * cached, "the parts of qkv have another number of rows than the heads say");
  check_matrix(output, s.hidden, attended, "output");
  check_matrix(gate, s.ffn, s.hidden, "gate");
  check_matrix(up, s.ffn, s.hidden, "up");
  check_matrix(down, s.hidden, s.ffn, "down");
  require(rope >= 0 && rope < static_cast<int>(model.ropes_.size()), "no rope of this number");
  require(window >= 0, "a window cannot be negative");
  layer.qkv = qkv;
  layer.output = output;
  layer.gate = gate;
  layer.up = up;
  layer.down = down;
  layer.rope = rope;
  layer.window = window;
  model.layers_.push_back(std::move(layer));
}

void check_shape(const TransformerShape& s) {
  require(s.hidden > 0 && s.heads > 0 && s.kv_heads > 0 && s.head_dim > 0 && s.ffn > 0 && s.vocabulary > 0,
          "every size must be positive");
  require(s.hidden % kBlockColumns == 0, "the hidden size must divide by 32");
  require(s.ffn % kBlockColumns == 0, "the feed-forward size must divide by 32");
  require(s.head_dim % kGroupRows == 0, "the head size must divide by 16");
  require(s.heads * s.head_dim % kBlockColumns == 0, "heads x head size must divide by 32");
  require(s.heads % s.kv_heads == 0, "heads must divide by key/value heads");
}

nb::ndarray<nb::numpy, float, nb::ndim<2>> logits(const Transformer& model, int begin, int end) {
  require(0 <= begin && begin <= end && end <= model.logit_row_count(), "logit rows out of range");
  const size_t count = static_cast<size_t>(end - begin),
               vocabulary = static_cast<size_t>(model.shape_.vocabulary);
  auto* values = new float[count * vocabulary + 1];
  nb::capsule owner(values, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  for (size_t i = 0; i < count; i++)
    std::memcpy(values + i * vocabulary,
                model.logits() + (static_cast<size_t>(begin) + i) * static_cast<size_t>(model.logit_stride()),
                vocabulary * sizeof(float));
  return nb::ndarray<nb::numpy, float, nb::ndim<2>>(values, {count, vocabulary}, owner);
}

}  // namespace

void bind_transformer(nb::module_& module) {
  nb::class_<PackedMatrix>(module, "Matrix")
      .def_ro("rows", &PackedMatrix::rows)
      .def_ro("columns", &PackedMatrix::columns)
      .def_prop_ro("bytes", &PackedMatrix::bytes);
  nb::class_<CachePool>(module, "CachePool")
      .def(
          "__init__",
          [](CachePool* self, const Transformer& model, int page_count, const std::string& precision) {
            require(page_count > 0, "a pool needs pages");
            require(!model.layers_.empty(), "the model has no layers yet");
            const CacheForm form = cache_form(precision);
            new (self) CachePool(model.page_bytes(form), page_count, form);
          },
          "model"_a, "page_count"_a, "precision"_a = "float16")
      .def_prop_ro("page_bytes", &CachePool::page_bytes)
      .def_prop_ro("page_count", &CachePool::page_count)
      .def("release",
           [](CachePool& self, int page) {
             require(page >= 0 && page < self.page_count(), "no page of this number");
             self.release(page);
           })
      .def("copy", [](CachePool& self, int from, int to) {
        require(from >= 0 && from < self.page_count() && to >= 0 && to < self.page_count(),
                "no page of this number");
        self.copy(from, to);
      });
  nb::class_<Transformer> transformer(module, "Transformer");
  transformer
      .def(
          "__init__",
          [](Transformer* self, const std::string& instruction_set, int hidden, int heads, int kv_heads,
             int head_dim, int ffn, int vocabulary, float epsilon, float embedding_scale,
             float attention_scale, float attention_softcap, float logit_softcap, float residual_scale,
             int gate) {
            const TransformerShape shape{hidden,
                                         heads,
                                         kv_heads,
                                         head_dim,
                                         ffn,
                                         vocabulary,
                                         epsilon,
                                         embedding_scale,
                                         attention_scale,
                                         attention_softcap,
                                         logit_softcap,
                                         residual_scale,
                                         static_cast<Gate>(gate)};
            check_shape(shape);
            require(gate == 0 || gate == 1, "no gate of this number");
            const KernelTable* kernels = kernels_for(instruction_set.c_str());
            if (!kernels) refuse("this processor cannot run the instruction set '" + instruction_set + "'");
            new (self) Transformer(shape, *kernels);
          },
          nb::kw_only(), "instruction_set"_a, "hidden"_a, "heads"_a, "kv_heads"_a, "head_dim"_a, "ffn"_a,
          "vocabulary"_a, "epsilon"_a, "embedding_scale"_a, "attention_scale"_a, "attention_softcap"_a,
          "logit_softcap"_a, "residual_scale"_a, "gate"_a)
      .def("pack", &pack, "team"_a, "ggml_type"_a, "data"_a, "rows"_a, "columns"_a, nb::rv_policy::move)
      .def(
          "add_rope",
          [](Transformer& self, const Array<const double, nb::ndim<1>>& inverse_frequencies, float magnitude,
             bool interleaved) {
            require(inverse_frequencies.size() > 0 &&
                        2 * inverse_frequencies.size() <= static_cast<size_t>(self.shape_.head_dim),
                    "a rope rotates at most the head size");
            self.ropes_.push_back(
                {{inverse_frequencies.data(), inverse_frequencies.data() + inverse_frequencies.size()},
                 magnitude,
                 interleaved});
          },
          "inverse_frequencies"_a, "magnitude"_a, "interleaved"_a)
      .def("add_layer", &add_layer, nb::kw_only(), "attention_norm"_a, "ffn_norm"_a, "qkv"_a, "output"_a,
           "gate"_a, "up"_a, "down"_a, "rope"_a, "window"_a, "post_attention_norm"_a = nb::none(),
           "post_ffn_norm"_a = nb::none(), "query_norm"_a = nb::none(), "key_norm"_a = nb::none(),
           "qkv_bias"_a = nb::none())
      .def("set_embedding",
           [](Transformer& self, const PackedMatrix& matrix) {
             check_matrix(matrix, self.shape_.vocabulary, self.shape_.hidden, "embedding");
             self.embedding_ = matrix;
           })
      .def(
          "set_head",
          [](Transformer& self, const PackedMatrix& matrix, const Vector& final_norm) {
            check_matrix(matrix, self.shape_.vocabulary, self.shape_.hidden, "head");
            self.final_norm_ = copy(final_norm, self.shape_.hidden, "final_norm");
            self.head_ = matrix;
          },
          "matrix"_a, "final_norm"_a)
      .def("add_feature",
           [](Transformer& self, const PackedMatrix& matrix) {
             check_matrix(matrix, self.shape_.hidden, self.shape_.hidden, "feature");
             self.feature_.push_back(matrix);
           })
      .def("logits", &logits, "begin"_a, "end"_a)
      .def_prop_ro(
          "final_norm",
          [](const Transformer& self) {
            const size_t count = self.final_norm_.size();
            auto* values = new float[count + 1];
            std::copy(self.final_norm_.begin(), self.final_norm_.end(), values);
            nb::capsule owner(values, [](void* p) noexcept { delete[] static_cast<float*>(p); });
            return nb::ndarray<nb::numpy, float, nb::ndim<1>>(values, {count}, owner);
          },
          nb::rv_policy::automatic)
      .def_prop_ro("instruction_set", [](const Transformer& self) { return std::string(self.kernels_.name); })
      .def(
          "page_bytes",
          [](const Transformer& self, const std::string& precision) {
            return self.page_bytes(cache_form(precision));
          },
          "precision"_a = "float16")
      .def_prop_ro("step_bytes",
                   [](const Transformer& self) {
                     const bool tied = self.embedding_.data == self.head_.data;
                     return self.arena_.used() - (tied ? 0 : self.embedding_.bytes());
                   })
      .def_prop_ro("weight_bytes", [](const Transformer& self) { return self.arena_.used(); });
  bind_step(transformer);
}

}  // namespace realm
