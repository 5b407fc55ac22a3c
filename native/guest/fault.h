// The one C++ exception of the fibre host; the bindings turn it into the class of realm.errors that it names.
#pragma once

#include <stdexcept>
#include <string>

namespace realm::guest {

enum class FaultKind { kNative, kCompile, kContract, kLimit };

struct Fault : std::runtime_error {
  FaultKind kind;
  Fault(FaultKind fault_kind, const std::string& message) : std::runtime_error(message), kind(fault_kind) {}
};

}  // namespace realm::guest
