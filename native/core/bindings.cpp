// The module realm.kernels._native.
#include "bindings.h"

namespace nb = nanobind;

namespace realm {

void refuse(const std::string& message) {
  PyErr_SetString(nb::module_::import_("realm.errors").attr("NativeError").ptr(), message.c_str());
  throw nb::python_error();
}

}  // namespace realm

NB_MODULE(_native, module) {
  module.doc() = "Native core: kernels, thread team, transformer step, sampler.";
  realm::bind_transformer(module);
  realm::bind_adapter(module);
  realm::bind_kernels(module);
  realm::bind_machine(module);
}
