#include "bindings_adapter.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "adapter_load.h"

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

// What an adapter's pair of factors must be to change this product; refuses any other. It holds no numbers
// yet.
AdapterFactor check(const Transformer& model, int layer, int projection, int64_t rank, int64_t inputs,
                    int64_t outputs, float scale) {
  const std::string where = "layer " + std::to_string(layer) + ", projection " + std::to_string(projection);
  require(projection >= 0 && projection < kProjections, "no projection of this number");
  require(layer >= 0 && layer < static_cast<int>(model.layers_.size()), "no layer of this number");
  const Place place = place_of(model.shape_, projection);
  if (rank < 1 || rank > kMostRanks) refuse(where + ": rank " + std::to_string(rank));
  if (inputs != place.inputs || outputs != place.outputs)
    refuse(where + ": " + std::to_string(outputs) + " x " + std::to_string(inputs) + " instead of " +
           std::to_string(place.outputs) + " x " + std::to_string(place.inputs));
  if (!std::isfinite(scale)) refuse(where + ": the scale is not a finite number");
  return {place.first_output, static_cast<int>(rank), place.inputs, place.outputs, {}, {}, scale};
}

AdapterPrecision precision_named(const std::string& name) {
  require(name == "int8" || name == "bfloat16", "the precision is int8 or bfloat16");
  return name == "int8" ? AdapterPrecision::kInt8 : AdapterPrecision::kBfloat16;
}

// layer, projection, A [rank, inputs], B [outputs, rank], scale. The layer of embedding and head is 0.
using Factor = std::tuple<int, int, Rows, Rows, float>;

AdapterFactor check(const Transformer& model, const Factor& factor) {
  const auto& [layer, projection, a, b, scale] = factor;
  if (a.shape(0) != b.shape(1))
    refuse("ranks " + std::to_string(a.shape(0)) + " and " + std::to_string(b.shape(1)));
  AdapterFactor checked = check(model, layer, projection, static_cast<int64_t>(a.shape(0)),
                                static_cast<int64_t>(a.shape(1)), static_cast<int64_t>(b.shape(0)), scale);
  checked.a.data = reinterpret_cast<const uint8_t*>(a.data());
  checked.b.data = reinterpret_cast<const uint8_t*>(b.data());
  return checked;
}

void build(Adapter* self, const Transformer& model, const std::string& precision,
           const std::vector<Factor>& factors) {
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
  new (self) Adapter(model.adapter_shape(), precision_named(precision), model.kernels_);
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

using Table = Array<const int64_t, nb::ndim<2>>;

// A row of the table: position, type, rows, columns, heads, whether it is turned, whether it is given, place.
StoredMatrix stored_matrix(const int64_t* row, int64_t place) {
  require(row[0] >= 0 && row[0] <= kLargestSize, "a matrix's position is out of range");
  require(row[1] >= 0 && row[1] <= 2, "no type of this number");
  require(row[2] > 0 && row[3] > 0 && row[2] <= kLargestSize / row[3], "a matrix's shape is out of range");
  require(row[4] >= 0 && (row[4] == 0 || row[2] % (2 * row[4]) == 0), "rows are not halves of heads");
  require(row[5] == 0 || (row[5] == 1 && row[4] == 0), "a matrix is turned or of heads");
  require(row[6] == 0 || (row[6] == 1 && row[1] == 0 && row[4] == 0 && row[5] == 0 && row[0] % 4 == 0),
          "a given matrix is of float32, in its order");
  constexpr Form forms[] = {Form::kF32, Form::kF16, Form::kBF16};
  require(row[7] == place && place <= kLargestSize, "matrices are not one after the other");
  return {row[0], forms[row[1]], row[2], row[3], row[4], row[5] == 1, row[6] == 1, place};
}

// ends: of every part, how many matrices stand before its end.
void set_stored(StoredFactors* self, const Table& table, const Array<const int64_t, nb::ndim<1>>& ends) {
  require(table.shape(1) == 8, "the table must be [matrices, 8]");
  StoredFactors stored;
  int64_t place = 0;
  for (size_t i = 0; i < table.shape(0); i++) {
    stored.matrices.push_back(stored_matrix(table.data() + 8 * i, place));
    const StoredMatrix& matrix = stored.matrices.back();
    place += matrix.count();
    if (matrix.given) stored.given_count = std::max(stored.given_count, matrix.position / 4 + matrix.count());
  }
  size_t first = 0;
  for (size_t i = 0; i < ends.shape(0); i++) {
    const int64_t end = ends.data()[i];
    require(end > static_cast<int64_t>(first) && end <= static_cast<int64_t>(stored.matrices.size()),
            "the ends of parts are not ascending");
    const StoredMatrix& last = stored.matrices[static_cast<size_t>(end) - 1];
    stored.parts.push_back(
        {first, static_cast<size_t>(end), stored.matrices[first].place, last.place + last.count()});
    first = static_cast<size_t>(end);
  }
  require(first == stored.matrices.size() && first > 0, "the parts are not all of the matrices");
  new (self) StoredFactors(std::move(stored));
}

using Floats = Array<float, nb::ndim<1>>;
using Outcome = std::tuple<int, int64_t, int64_t>;

const float* given_numbers(const StoredFactors& stored, const std::optional<Vector>& given) {
  require(stored.given_count <= (given ? static_cast<int64_t>(given->shape(0)) : 0), "numbers must be given");
  return given ? given->data() : nullptr;
}

nb::bytes joined(const std::vector<Digest>& digests) {
  return nb::bytes(digests.data(), 32 * digests.size());
}

Outcome outcome_of(const ReadOutcome& outcome) {
  return {static_cast<int>(outcome.fault), outcome.index, outcome.at};
}

// All numbers, the outcome, and the digests of every part.
std::tuple<Outcome, nb::bytes> read_all(const StoredFactors& stored, int descriptor, const Floats& out,
                                        const std::optional<Vector>& given) {
  require(static_cast<int64_t>(out.shape(0)) == stored.count(), "the array has another size");
  const float* numbers = given_numbers(stored, given);
  std::vector<Digest> digests(stored.parts.size());
  ReadOutcome outcome{ReadFault::kNone, 0, 0};
  {
    nb::gil_scoped_release release;
    FactorReader reader(stored, descriptor, numbers, *kernels_for(""));
    for (size_t i = 0; i < digests.size() && outcome.fault == ReadFault::kNone; i++)
      outcome = reader.read_floats(i, out.data() + stored.parts[i].begin, &digests[i]);
  }
  return {outcome_of(outcome), joined(digests)};
}

// Where among the bytes of its part a factor begins, and its numbers' form; it must be whole matrices of one
// form.
size_t bytes_before(const StoredFactors& stored, const StoredFactors::Part& part, int64_t place,
                    int64_t count, Form* form) {
  size_t before = 0, first = part.first_matrix;
  for (; first < part.end_matrix && stored.matrices[first].place < place; first++)
    before += stored.matrices[first].bytes();
  int64_t found = 0;
  for (size_t m = first; m < part.end_matrix && found < count; m++) {
    const StoredMatrix& matrix = stored.matrices[m];
    require(matrix.place == place + found && matrix.form == stored.matrices[first].form,
            "a factor is not whole matrices of one form");
    found += matrix.count();
    *form = matrix.form;
  }
  require(found == count, "a factor is not whole matrices of its part");
  return before;
}

// A row of `targets`: part, layer, projection, rank, inputs, outputs, places of A and of B. Those of one site
// stand together.
std::vector<std::vector<StoredSite>> sites_of(const Transformer& model, const StoredFactors& stored,
                                              const Table& targets, const Vector& scales) {
  require(targets.shape(1) == 8 && scales.shape(0) == targets.shape(0),
          "targets must be [count, 8], with a scale each");
  std::vector<std::vector<StoredSite>> all(stored.parts.size());
  std::set<std::tuple<int, AdapterInput, bool>> seen;
  for (size_t i = 0; i < targets.shape(0); i++) {
    const int64_t* row = targets.data() + 8 * i;
    require(row[0] >= 0 && row[0] < static_cast<int64_t>(all.size()), "no part of this number");
    const StoredFactors::Part& part = stored.parts[static_cast<size_t>(row[0])];
    std::vector<StoredSite>& sites = all[static_cast<size_t>(row[0])];
    const int layer = static_cast<int>(row[1]), projection = static_cast<int>(row[2]);
    AdapterFactor shape = check(model, layer, projection, row[3], row[4], row[5], scales.data()[i]);
    const AdapterInput input = place_of(model.shape_, projection).input;
    const bool is_embedding = projection == kEmbedding;
    if (seen.emplace(layer, input, is_embedding).second) sites.push_back({layer, input, is_embedding, {}});
    require(!sites.empty() && sites.back().layer == layer && sites.back().input == input &&
                sites.back().is_embedding == is_embedding,
            "the products of one input do not stand together");
    std::vector<StoredSite::Factor>& factors = sites.back().factors;
    require(factors.empty() || factors.back().shape.first_output < shape.first_output,
            "the products of one input are not in order");
    const size_t a = bytes_before(stored, part, row[6], row[3] * row[4], &shape.a.form);
    const size_t b = bytes_before(stored, part, row[7], row[3] * row[5], &shape.b.form);
    factors.push_back({shape, a, b});
  }
  return all;
}

// The adapter and the digests of every part; none where a number cannot be read or held.
std::tuple<std::unique_ptr<Adapter>, nb::bytes> load(const Transformer& model, SideWork& side_work,
                                                     const std::string& precision,
                                                     const StoredFactors& stored, const Table& targets,
                                                     const Vector& scales, int descriptor,
                                                     const std::optional<Vector>& given) {
  const std::vector<std::vector<StoredSite>> sites = sites_of(model, stored, targets, scales);
  const float* numbers = given_numbers(stored, given);
  auto adapter = std::make_unique<Adapter>(model.adapter_shape(), precision_named(precision), model.kernels_);
  const auto job =
      std::make_shared<AdapterLoad>(stored, sites, descriptor, numbers, model.kernels_, *adapter);
  {
    nb::gil_scoped_release release;
    side_work.run(job);
  }
  if (job->has_failed()) return {nullptr, nb::bytes("", 0)};
  return {std::move(adapter), joined(job->digests())};
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
      .def_static("load", &load, "model"_a, nb::kw_only(), "side_work"_a, "precision"_a, "stored"_a,
                  "targets"_a, "scales"_a, "descriptor"_a, "given"_a.none() = nb::none())
      .def_prop_ro("bytes", &Adapter::bytes);
  nb::class_<StoredFactors>(module, "StoredFactors")
      .def("__init__", &set_stored, "table"_a, "ends"_a)
      .def("read", &read_all, "descriptor"_a, "out"_a, "given"_a.none() = nb::none());
}

}  // namespace realm
