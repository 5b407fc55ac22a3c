#include "wasmtime_api.h"

#include <dlfcn.h>

#include "fault.h"

namespace realm::guest {

namespace {

constexpr size_t kMessageBytes = 2000;

std::string take_text(const Api& api, wasm_byte_vec_t* bytes) {
  size_t length = bytes->size;
  while (length > 0 && bytes->data[length - 1] == '\0') --length;
  std::string text(bytes->data, length < kMessageBytes ? length : kMessageBytes);
  api.wasm_byte_vec_delete(bytes);
  return text;
}

}  // namespace

Api::Api(const std::string& library_path) {
  void* library = dlopen(library_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw Fault(FaultKind::kNative, std::string("wasmtime library: ") + dlerror());
#define REALM_RESOLVE(result, name, parameters)                         \
  name = reinterpret_cast<result(*) parameters>(dlsym(library, #name)); \
  if (name == nullptr)                                                  \
    throw Fault(FaultKind::kNative, "wasmtime library " + library_path + " has no function " #name);
  REALM_WASMTIME_FUNCTIONS(REALM_RESOLVE)
#undef REALM_RESOLVE
}

std::string Api::take_message(wasmtime_error_t* error) const {
  wasm_byte_vec_t bytes{0, nullptr};
  wasmtime_error_message(error, &bytes);
  wasmtime_error_delete(error);
  return take_text(*this, &bytes);
}

std::string Api::take_message(wasm_trap_t* trap) const {
  wasm_byte_vec_t bytes{0, nullptr};
  wasm_trap_message(trap, &bytes);
  wasm_trap_delete(trap);
  return take_text(*this, &bytes);
}

}  // namespace realm::guest
