// Single kernels, for tests.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <optional>
#include <vector>

#include "attention_spans.h"
#include "bindings.h"
#include "bindings_draws.h"
#include "blake3.h"
#include "transformer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

const KernelTable& table(const std::string& instruction_set) {
  const KernelTable* kernels = kernels_for(instruction_set.c_str());
  if (!kernels) refuse("this processor cannot run the instruction set '" + instruction_set + "'");
  return *kernels;
}

nb::ndarray<nb::numpy, float, nb::ndim<2>> matrix_of(size_t rows, size_t columns, float** values) {
  *values = new float[rows * columns + 1]();
  nb::capsule owner(*values, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return nb::ndarray<nb::numpy, float, nb::ndim<2>>(*values, {rows, columns}, owner);
}

PackedMatrix packed(int ggml_type, const Bytes& data, int rows, int columns, Arena& arena) {
  PackedMatrix matrix;
  require(make_matrix(ggml_type, rows, columns, data.size(), arena, &matrix),
          "the block type cannot run, or the data has another size than rows "
          "and columns say");
  pack_groups(ggml_type, data.data(), matrix, 0, matrix.groups);
  return matrix;
}

// values [n, columns] x matrix [rows, columns] transposed: float32 [n, rows], quantised as in a step.
auto product(const std::string& instruction_set, int ggml_type, const Bytes& data, int rows, int columns,
             const Rows& values) {
  const KernelTable& kernels = table(instruction_set);
  require(static_cast<int>(values.shape(1)) == columns, "values have another number of columns");
  Arena arena;
  const PackedMatrix matrix = packed(ggml_type, data, rows, columns, arena);
  const int count = static_cast<int>(values.shape(0));
  const size_t per_tile = static_cast<size_t>(columns / kBlockColumns),
               tiles = static_cast<size_t>(count + kTileRows - 1) / kTileRows;
  std::vector<ActivationBlock> blocks(is_bytes(matrix.form) ? tiles * per_tile : 0);
  std::vector<WideActivationBlock> wide_blocks(is_wide(matrix.form) ? tiles * per_tile : 0);
  for (int r = 0; r < count; r++) {
    const float* row = values.data() + static_cast<ptrdiff_t>(r) * columns;
    const size_t at = static_cast<size_t>(r / kTileRows) * per_tile;
    if (!blocks.empty()) kernels.quantize_row(row, columns, blocks.data() + at, r % kTileRows);
    if (!wide_blocks.empty()) kernels.quantize_wide_row(row, columns, wide_blocks.data() + at, r % kTileRows);
  }
  std::vector<uint8_t> scratch(product_scratch_bytes(columns));
  std::vector<float> padded(static_cast<size_t>(count * matrix.groups * kGroupRows));
  kernels.product(matrix, 0, matrix.groups,
                  {values.data(), columns, {blocks.data(), wide_blocks.data()}, count}, padded.data(),
                  matrix.groups * kGroupRows, false, scratch.data(), {});
  float* out;
  auto result = matrix_of(static_cast<size_t>(count), static_cast<size_t>(rows), &out);
  for (int r = 0; r < count; r++)
    std::memcpy(out + static_cast<ptrdiff_t>(r) * rows,
                padded.data() + static_cast<ptrdiff_t>(r) * matrix.groups * kGroupRows,
                static_cast<size_t>(rows) * sizeof(float));
  return result;
}

// The matrix as the core keeps it, as floats [rows, columns].
auto unpacked(int ggml_type, const Bytes& data, int rows, int columns) {
  Arena arena;
  const PackedMatrix matrix = packed(ggml_type, data, rows, columns, arena);
  float* out;
  auto result = matrix_of(static_cast<size_t>(rows), static_cast<size_t>(columns), &out);
  for (int r = 0; r < rows; r++) unpack_row(matrix, r, out + static_cast<ptrdiff_t>(r) * columns);
  return result;
}

auto rms_norm(const std::string& instruction_set, const Rows& values, const Vector& weight, float epsilon) {
  const KernelTable& kernels = table(instruction_set);
  require(values.shape(1) == weight.shape(0), "weight has another size than the rows");
  float* out;
  auto result = matrix_of(values.shape(0), values.shape(1), &out);
  for (size_t r = 0; r < values.shape(0); r++)
    kernels.rms_norm(values.data() + r * values.shape(1), weight.data(), static_cast<int>(values.shape(1)),
                     epsilon, out + r * values.shape(1));
  return result;
}

auto gate(const std::string& instruction_set, int kind, const Rows& gates, const Rows& ups) {
  const KernelTable& kernels = table(instruction_set);
  require(kind == 0 || kind == 1, "no gate of this number");
  require(gates.shape(0) == ups.shape(0) && gates.shape(1) == ups.shape(1), "gates and ups differ in shape");
  require(gates.shape(1) % kGroupRows == 0, "gates need a multiple of 16 columns");
  float* out;
  auto result = matrix_of(gates.shape(0), gates.shape(1), &out);
  kernels.gate(static_cast<Gate>(kind), gates.data(), ups.data(), static_cast<int>(gates.size()), out);
  return result;
}

// One head: queries [n, head_dim] at positions first_position.. over keys and values [tokens, head_dim].
auto attention(const std::string& instruction_set, const Rows& queries, const Rows& keys, const Rows& values,
               int first_position, int window, float softcap, const std::string& precision) {
  const KernelTable& kernels = table(instruction_set);
  const CacheForm form = cache_form(precision);
  const int dim = static_cast<int>(queries.shape(1)), count = static_cast<int>(queries.shape(0));
  const int tokens = static_cast<int>(keys.shape(0));
  require(dim % kGroupRows == 0 && keys.shape(1) == queries.shape(1) && values.shape(1) == queries.shape(1) &&
              values.shape(0) == keys.shape(0),
          "queries, keys and values must be [n, head_dim], head_dim a multiple "
          "of 16");
  require(first_position >= 0 && first_position + count <= tokens, "a query has no key at its position");
  const int pages = (tokens + kPageTokens - 1) / kPageTokens;
  const size_t plane = plane_bytes(dim, form);
  std::vector<uint8_t> pool(static_cast<size_t>(pages) * 2 * plane);
  std::vector<int32_t> order;
  for (int p = 0; p < pages; p++) order.push_back(pages - 1 - p);  // pages need not stand in order
  for (int t = 0; t < tokens; t++) {
    uint8_t* page =
        pool.data() + static_cast<size_t>(order[static_cast<size_t>(t / kPageTokens)]) * 2 * plane;
    const ptrdiff_t row = static_cast<ptrdiff_t>(t) * dim;
    kernels.store_key(keys.data() + row, dim, t % kPageTokens, form, page);
    kernels.store_value(values.data() + row, dim, t % kPageTokens, form, page + plane);
  }
  float* out;
  auto result = matrix_of(static_cast<size_t>(count), static_cast<size_t>(dim), &out);
  const size_t partial = static_cast<size_t>(partial_size(dim));
  std::vector<float> partials(kMaxQueries * partial), scratch(kMaxQueries * partial);
  for (int at = 0; at < count; at += kMaxQueries) {
    AttentionTile tile{};
    tile.query_count = std::min(kMaxQueries, count - at);
    for (int q = 0; q < tile.query_count; q++) {
      tile.queries[q] = queries.data() + static_cast<ptrdiff_t>(at + q) * dim;
      tile.partials[q] = partials.data() + static_cast<size_t>(q) * partial;
      tile.last[q] = first_position + at + q;
      tile.first[q] = window > 0 ? std::max(0, tile.last[q] - window + 1) : 0;
    }
    tile.pages = order.data();
    tile.pool = pool.data();
    tile.page_bytes = 2 * plane;
    tile.form = form;
    tile.next = tile.pool;
    tile.head_dim = dim;
    tile.softcap = softcap;
    attend_spans(kernels, tile, scratch.data());
    for (int q = 0; q < tile.query_count; q++)
      kernels.finish_partial(tile.partials[q], dim, out + static_cast<ptrdiff_t>(at + q) * dim);
  }
  return result;
}

// One draw. Writes log probabilities to the arrays when they are given, [1 + n] each.
int sample_one(const std::string& instruction_set, const Vector& logits, float temperature, int top_k,
               float top_p, float min_p, uint64_t seed, int64_t position, float typical_p,
               const std::optional<Vector>& penalties, const std::optional<Tokens>& history, int prompt_count,
               const std::optional<Tokens>& bias_tokens, const std::optional<Vector>& bias_values,
               const std::optional<Array<const uint32_t, nb::ndim<1>>>& allowed,
               std::optional<Array<float, nb::ndim<1>>> logprobs,
               std::optional<Array<int32_t, nb::ndim<1>>> logprob_tokens) {
  std::vector<float> values(logits.data(), logits.data() + logits.size());
  require(!values.empty(), "no logits");
  SamplingRow row;
  row.temperature = temperature;
  row.top_k = top_k;
  row.top_p = top_p;
  row.min_p = min_p;
  row.typical_p = typical_p;
  if (penalties) {
    require(penalties->size() == 3, "penalties are repetition, presence and frequency");
    row.repetition_penalty = penalties->data()[0];
    row.presence_penalty = penalties->data()[1];
    row.frequency_penalty = penalties->data()[2];
  }
  row.seed = seed;
  row.position = position;
  if (history) {
    row.history = history->data();
    row.history_count = static_cast<int>(history->size());
    row.prompt_count = prompt_count;
  }
  require(bias_tokens.has_value() == bias_values.has_value(), "a bias needs tokens and values");
  if (bias_tokens) {
    require(bias_tokens->size() == bias_values->size(), "a bias needs as many tokens as values");
    for (size_t i = 0; i < bias_tokens->size(); i++)
      require(bias_tokens->data()[i] >= 0 && static_cast<size_t>(bias_tokens->data()[i]) < values.size(),
              "a bias is for a token out of the vocabulary");
    row.bias_tokens = bias_tokens->data();
    row.bias_values = bias_values->data();
    row.bias_count = static_cast<int>(bias_tokens->size());
  }
  if (allowed) {
    require(allowed->size() == (values.size() + 31) / 32, "a mask must have one bit a token");
    row.allowed = allowed->data();
  }
  require(logprobs.has_value() == logprob_tokens.has_value(), "log probabilities need values and tokens");
  if (logprobs) {
    require(logprobs->size() > 0 && logprobs->size() <= kMostLogprobs + 1 &&
                logprobs->size() == logprob_tokens->size(),
            "log probabilities are for 1 to 21 tokens");
    row.logprob_count = static_cast<int>(logprobs->size()) - 1;
    row.logprobs = logprobs->data();
    row.logprob_tokens = logprob_tokens->data();
  }
  SamplerScratch scratch;
  return sample(table(instruction_set), values.data(), static_cast<int>(values.size()), row, scratch);
}

}  // namespace

void bind_kernels(nb::module_& module) {
  module.attr("PAGE_TOKENS") = kPageTokens;
  module.def("best_instruction_set", [] { return std::string(kernels_for("")->name); });
  module.def("can_run", [](const std::string& name) { return kernels_for(name.c_str()) != nullptr; });
  module.def("can_pack", &can_pack);
  module.def("product", &product, "instruction_set"_a, "ggml_type"_a, "data"_a, "rows"_a, "columns"_a,
             "values"_a);
  module.def("unpacked", &unpacked, "ggml_type"_a, "data"_a, "rows"_a, "columns"_a);
  module.def(
      "dealt_blake3",
      [](const std::string& instruction_set, const Bytes& data) {
        const Digest digest = dealt_blake3(table(instruction_set), data.data(), data.size());
        return nb::bytes(digest.data(), digest.size());
      },
      "instruction_set"_a, "data"_a);
  module.def("rms_norm", &rms_norm, "instruction_set"_a, "values"_a, "weight"_a, "epsilon"_a);
  module.def("gate", &gate, "instruction_set"_a, "kind"_a, "gates"_a, "ups"_a);
  module.def("attention", &attention, "instruction_set"_a, "queries"_a, "keys"_a, "values"_a,
             "first_position"_a, "window"_a, "softcap"_a, "precision"_a = "float16");
  module.def("sample", &sample_one, "instruction_set"_a, "logits"_a, "temperature"_a, "top_k"_a, "top_p"_a,
             "min_p"_a, "seed"_a, "position"_a, nb::kw_only(), "typical_p"_a = 1.0f,
             "penalties"_a = nb::none(), "history"_a = nb::none(), "prompt_count"_a = 0,
             "bias_tokens"_a = nb::none(), "bias_values"_a = nb::none(), "allowed"_a = nb::none(),
             "logprobs"_a = nb::none(), "logprob_tokens"_a = nb::none());
}

}  // namespace realm
