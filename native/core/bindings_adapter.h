// Adapters as they come from Python.
#pragma once

#include <optional>
#include <vector>

#include "bindings.h"
#include "transformer.h"

namespace realm {

// Which adapters a step adds, to which rows.
struct AdapterArguments {
  std::vector<const Adapter*> adapters;
  std::optional<Array<const int32_t, nanobind::ndim<2>>> runs;  // [count, 4]: adapter, first row, rows, slot
  std::optional<Vector> weights;                                // [count]
};

// Checks them and adds them to the input. The adapters must outlive the step. Raises NativeError.
void read_adapters(const AdapterArguments& arguments, const Transformer& model, StepInput& input);

}  // namespace realm
