// The module realm.kernels._native.
#include "bindings.h"

namespace nb = nanobind;

namespace realm {

void refuse(const std::string& message) {
  PyErr_SetString(nb::module_::import_("realm.errors").attr("NativeError").ptr(), message.c_str());
  throw nb::python_error();
}

CacheForm cache_form(const std::string& precision) {
  require(precision == "float16" || precision == "int8", "a cache's precision is float16 or int8");
  return precision == "int8" ? CacheForm::kInt8 : CacheForm::kFloat16;
}

}  // namespace realm

NB_MODULE(_native, module) {
  module.doc() = "Native core: kernels, thread team, transformer step, sampler.";
  realm::bind_team(module);
  realm::bind_transformer(module);
  realm::bind_texts(module);
  realm::bind_drafted(module);
  realm::bind_adapter(module);
  realm::bind_kernels(module);
  realm::bind_machine(module);
}
