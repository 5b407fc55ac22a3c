#include "bindings_adapter.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <map>
#include <string>
#include <tuple>

#include "chunk_digests.h"
#include "factor_reader.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace realm {
namespace {

constexpr int kMostRanks = 4096;  // of one input together
constexpr int kMostSlots = 16;

// The products that a factor pair may change, as Python numbers them.
enum Projection { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown, kEmbedding, kHead, kProjections };

struct Place {
  AdapterInput input;
  int first_output, outputs, inputs;
};

Place place_of(const TransformerShape& s, int projection) {
  const int attended = s.heads * s.head_dim, cached = s.kv_heads * s.head_dim;
  switch (projection) {
    case kQuery:
      return {AdapterInput::kAttentionInput, 0, attended, s.hidden};
    case kKey:
      return {AdapterInput::kAttentionInput, attended, cached, s.hidden};
    case kValue:
      return {AdapterInput::kAttentionInput, attended + cached, cached, s.hidden};
    case kOutput:
      return {AdapterInput::kAttentionOutput, 0, s.hidden, attended};
    case kGate:
      return {AdapterInput::kFfnInput, 0, s.ffn, s.hidden};
    case kUp:
      return {AdapterInput::kFfnInput, s.ffn, s.ffn, s.hidden};
    case kDown:
      return {AdapterInput::kFfnOutput, 0, s.hidden, s.ffn};
    case kEmbedding:
      return {AdapterInput::kHead, 0, s.hidden, s.vocabulary};
    default:
      return {AdapterInput::kHead, 0, s.vocabulary, s.hidden};
  }
}

// layer, projection, A [rank, inputs], B [outputs, rank], scale. The layer of embedding and head is 0.
using Factor = std::tuple<int, int, Rows, Rows, float>;

AdapterFactor check(const Transformer& model, const Factor& factor) {
  const auto& [layer, projection, a, b, scale] = factor;
  const std::string where = "layer " + std::to_string(layer) + ", projection " + std::to_string(projection);
  require(projection >= 0 && projection < kProjections, "no projection of this number");
  require(layer >= 0 && layer < static_cast<int>(model.layers_.size()), "no layer of this number");
  const Place place = place_of(model.shape_, projection);
  if (a.shape(0) < 1 || a.shape(0) > kMostRanks || a.shape(0) != b.shape(1))
    refuse(where + ": ranks " + std::to_string(a.shape(0)) + " and " + std::to_string(b.shape(1)));
  if (static_cast<int>(a.shape(1)) != place.inputs || static_cast<int>(b.shape(0)) != place.outputs)
    refuse(where + ": " + std::to_string(b.shape(0)) + " x " + std::to_string(a.shape(1)) + " instead of " +
           std::to_string(place.outputs) + " x " + std::to_string(place.inputs));
  if (!std::isfinite(scale)) refuse(where + ": the scale is not a finite number");
  return {place.first_output,
          static_cast<int>(a.shape(0)),
          place.inputs,
          place.outputs,
          a.data(),
          b.data(),
          scale};
}

void build(Adapter* self, const Transformer& model, const std::string& precision,
           const std::vector<Factor>& factors) {
  require(precision == "int8" || precision == "bfloat16", "the precision is int8 or bfloat16");
  // Ordered: by layer, by input, by output.
  std::map<std::pair<int, AdapterInput>, std::map<int, AdapterFactor>> sites;
  std::optional<AdapterFactor> embedding;
  for (const Factor& factor : factors) {
    const AdapterFactor checked = check(model, factor);
    if (std::get<1>(factor) == kEmbedding) {
      require(!embedding, "two factors of the embedding");
      embedding = checked;
      continue;
    }
    const AdapterInput input = place_of(model.shape_, std::get<1>(factor)).input;
    require(sites[{std::get<0>(factor), input}].emplace(checked.first_output, checked).second,
            "two factors of one projection");
  }
  bool held = true;
  new (self) Adapter(model.adapter_shape(),
                     precision == "int8" ? AdapterPrecision::kInt8 : AdapterPrecision::kBfloat16);
  {
    nb::gil_scoped_release release;
    if (embedding) held = self->set_embedding(*embedding);
    for (const auto& [key, parts] : sites) {
      std::vector<AdapterFactor> ordered;
      for (const auto& part : parts) ordered.push_back(part.second);
      held = held && self->set_site(key.first, key.second, ordered);
    }
  }
  if (!held) {
    self->~Adapter();
    refuse("a factor holds numbers that are not finite or too large for the precision");
  }
}

constexpr int64_t kLargestSize = int64_t{1} << 40;  // bytes, rows or columns: their products do not overflow

// A row of the table: position, type, rows, columns, heads, whether it is turned, first number of `out`.
StoredMatrix stored_matrix(const int64_t* row, float* out, int64_t room) {
  require(row[0] >= 0 && row[0] <= kLargestSize, "a matrix's position is out of range");
  require(row[1] >= 0 && row[1] <= 2, "no type of this number");
  require(row[2] > 0 && row[3] > 0 && row[2] <= kLargestSize / row[3], "a matrix's shape is out of range");
  require(row[4] >= 0 && (row[4] == 0 || row[2] % (2 * row[4]) == 0), "rows are not halves of heads");
  require(row[5] == 0 || (row[5] == 1 && row[4] == 0), "a matrix is turned or of heads");
  require(row[6] >= 0 && row[6] <= room && row[2] * row[3] <= room - row[6], "a matrix is beyond the array");
  return {row[0], static_cast<StoredType>(row[1]), row[2], row[3], row[4], row[5] == 1, out + row[6]};
}

// An array of numbers and the digests of its chunks.
class FactorArray {
 public:
  explicit FactorArray(const Array<float, nb::ndim<1>>& numbers)
      : numbers_(numbers), digests_(reinterpret_cast<const uint8_t*>(numbers.data()), 4 * numbers.shape(0)) {}

  std::tuple<int, int64_t, int64_t> read(int descriptor, const Array<const int64_t, nb::ndim<2>>& table);
  void filled(int64_t count) {
    require(count >= 0 && static_cast<size_t>(count) <= numbers_.shape(0), "a count is out of range");
    digests_.filled(4 * static_cast<size_t>(count));
  }
  nb::bytes digests() {
    const std::vector<Sha256Digest>* all;
    {
      nb::gil_scoped_release release;
      all = &digests_.wait();
    }
    return nb::bytes(all->data(), 32 * all->size());
  }

 private:
  const Array<float, nb::ndim<1>> numbers_;
  ChunkDigests digests_;
};

// Matrices stand in the order of their numbers; what is before the first of them was filled.
std::tuple<int, int64_t, int64_t> FactorArray::read(int descriptor,
                                                    const Array<const int64_t, nb::ndim<2>>& table) {
  require(table.shape(1) == 7, "the table must be [matrices, 7]");
  std::vector<StoredMatrix> matrices;
  for (size_t i = 0; i < table.shape(0); i++)
    matrices.push_back(
        stored_matrix(table.data() + 7 * i, numbers_.data(), static_cast<int64_t>(numbers_.shape(0))));
  ReadOutcome outcome;
  {
    nb::gil_scoped_release release;
    outcome = read_matrices(descriptor, matrices, [this](const StoredMatrix& matrix) {
      const float* end = matrix.out + matrix.rows * matrix.columns;
      digests_.filled(4 * static_cast<size_t>(end - numbers_.data()));
    });
  }
  return {static_cast<int>(outcome.fault), outcome.index, outcome.at};
}

}  // namespace

void read_adapters(const AdapterArguments& arguments, const Transformer& model, StepInput& input) {
  if (!arguments.runs || arguments.runs->shape(0) == 0) return;
  const size_t count = arguments.runs->shape(0);
  require(arguments.runs->shape(1) == 4, "adapter runs must be [count, 4]");
  require(arguments.weights && arguments.weights->size() == count, "every adapter run needs a weight");
  std::vector<uint32_t> taken(static_cast<size_t>(input.rows), 0);  // slots of every row
  for (size_t i = 0; i < count; i++) {
    const int32_t* run = arguments.runs->data() + 4 * i;
    require(run[0] >= 0 && run[0] < static_cast<int>(arguments.adapters.size()), "no adapter of this number");
    const Adapter* adapter = arguments.adapters[static_cast<size_t>(run[0])];
    require(adapter && adapter->shape() == model.adapter_shape(), "an adapter was made for another model");
    require(run[1] >= 0 && run[2] > 0 && run[2] <= input.rows - run[1], "adapter rows out of range");
    require(run[3] >= 0 && run[3] < kMostSlots, "an adapter slot is out of range");
    require(std::isfinite(arguments.weights->data()[i]), "an adapter's weight is not a finite number");
    for (int r = run[1]; r < run[1] + run[2]; r++) {
      require(!(taken[static_cast<size_t>(r)] >> run[3] & 1), "two adapters of one row have the same slot");
      taken[static_cast<size_t>(r)] |= 1u << run[3];
    }
    input.adapters.push_back({adapter, run[1], run[2], run[3], arguments.weights->data()[i]});
  }
}

void bind_adapter(nb::module_& module) {
  nb::class_<Adapter>(module, "Adapter")
      .def("__init__", &build, "model"_a, nb::kw_only(), "precision"_a, "factors"_a)
      .def_prop_ro("bytes", &Adapter::bytes);
  nb::class_<FactorArray>(module, "FactorArray")
      .def(nb::init<const Array<float, nb::ndim<1>>&>(), "numbers"_a)
      .def("read", &FactorArray::read, "descriptor"_a, "table"_a)
      .def("filled", &FactorArray::filled, "count"_a)
      .def("digests", &FactorArray::digests);
}

}  // namespace realm
