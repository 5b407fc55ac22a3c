// The part of the bindings of Transformer that computes rows.
#pragma once

#include "bindings.h"
#include "transformer.h"

namespace realm {

void bind_step(nanobind::class_<Transformer>& transformer);

}  // namespace realm
