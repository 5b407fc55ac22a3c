// Shared by the binding files: how the native core refuses arguments.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "kernels.h"

namespace realm {

template <class T, class... Options>
using Array = nanobind::ndarray<T, nanobind::numpy, nanobind::c_contig, nanobind::device::cpu, Options...>;
using Bytes = Array<const uint8_t, nanobind::ndim<1>>;
using Vector = Array<const float, nanobind::ndim<1>>;
using Rows = Array<const float, nanobind::ndim<2>>;

// Raises realm.errors.NativeError.
[[noreturn]] void refuse(const std::string& message);
inline void require(bool condition, const char* message) {
  if (!condition) refuse(message);
}

// "float16" or "int8"; refuses any other.
CacheForm cache_form(const std::string& precision);

void bind_team(nanobind::module_& module);
void bind_transformer(nanobind::module_& module);
void bind_texts(nanobind::module_& module);
void bind_drafted(nanobind::module_& module);
void bind_adapter(nanobind::module_& module);
void bind_kernels(nanobind::module_& module);
void bind_machine(nanobind::module_& module);

}  // namespace realm
