#include "program.h"

#include "fault.h"
#include "guest.h"

namespace realm::guest {

namespace {

std::string text(const wasm_byte_vec_t* bytes) { return std::string(bytes->data, bytes->size); }

std::string letters(const Api& api, const wasm_valtype_vec_t* types) {
  std::string written;
  for (size_t i = 0; i < types->size; ++i) {
    const uint8_t kind = api.wasm_valtype_kind(types->data[i]);
    written += kind <= kF64 ? "iIfF"[kind] : '?';
  }
  return written;
}

}  // namespace

Declaration Program::declare(const wasm_externtype_t* type) const {
  const Api& api = host->api;
  Declaration declaration;
  switch (api.wasm_externtype_kind(type)) {
    case kExternFunction: {
      const wasm_functype_t* function = api.wasm_externtype_as_functype_const(type);
      declaration.kind = "function";
      declaration.parameters = letters(api, api.wasm_functype_params(function));
      declaration.results = letters(api, api.wasm_functype_results(function));
      break;
    }
    case kExternGlobal:
      declaration.kind = "global";
      break;
    case kExternTable:
      declaration.kind = "table";
      break;
    case kExternMemory:
      declaration.kind = "memory";
      break;
    default:
      declaration.kind = "other";
  }
  return declaration;
}

Program::Program(std::shared_ptr<Host> program_host, Form form, const uint8_t* bytes, size_t size)
    : host(std::move(program_host)) {
  const Api& api = host->api;
  const auto make = form == Form::kWasm ? api.wasmtime_module_new : api.wasmtime_module_deserialize;
  if (wasmtime_error_t* error = make(host->engine(), bytes, size, &module_)) {
    const std::string message = api.take_message(error);
    // The pool states its own bounds only in words.
    const bool too_large = message.find("pooling allocator") != std::string::npos ||
                           message.find("exceeds the limit") != std::string::npos;
    throw Fault(too_large ? FaultKind::kLimit : FaultKind::kCompile, message);
  }
  wasm_importtype_vec_t import_types{0, nullptr};
  api.wasmtime_module_imports(module_, &import_types);
  for (size_t i = 0; i < import_types.size; ++i) {
    Declaration declaration = declare(api.wasm_importtype_type(import_types.data[i]));
    declaration.module = text(api.wasm_importtype_module(import_types.data[i]));
    declaration.name = text(api.wasm_importtype_name(import_types.data[i]));
    imports.push_back(std::move(declaration));
  }
  api.wasm_importtype_vec_delete(&import_types);
  wasm_exporttype_vec_t export_types{0, nullptr};
  api.wasmtime_module_exports(module_, &export_types);
  for (size_t i = 0; i < export_types.size; ++i) {
    const wasm_externtype_t* type = api.wasm_exporttype_type(export_types.data[i]);
    Declaration declaration = declare(type);
    declaration.name = text(api.wasm_exporttype_name(export_types.data[i]));
    if (declaration.kind == "memory" && declaration.name == "memory") {
      const wasm_memorytype_t* memory = api.wasm_externtype_as_memorytype_const(type);
      memory_is_64 = api.wasmtime_memorytype_is64(memory);
      memory_minimum_pages = api.wasmtime_memorytype_minimum(memory);
      uint64_t maximum = 0;
      if (api.wasmtime_memorytype_maximum(memory, &maximum))
        memory_maximum_pages = static_cast<int64_t>(maximum);
    }
    exports.push_back(std::move(declaration));
  }
  api.wasm_exporttype_vec_delete(&export_types);
}

Program::~Program() {
  if (prepared_ != nullptr) host->api.wasmtime_instance_pre_delete(prepared_);
  if (linker_ != nullptr) host->api.wasmtime_linker_delete(linker_);
  if (module_ != nullptr) host->api.wasmtime_module_delete(module_);
}

std::string Program::serialize() const {
  wasm_byte_vec_t bytes{0, nullptr};
  if (wasmtime_error_t* error = host->api.wasmtime_module_serialize(module_, &bytes))
    throw Fault(FaultKind::kCompile, host->api.take_message(error));
  std::string written(bytes.data, bytes.size);
  host->api.wasm_byte_vec_delete(&bytes);
  return written;
}

void Program::link(const std::vector<int32_t>& function_numbers, const std::vector<std::string>& signedness,
                   const std::vector<AnsweredAs>& answered_as) {
  const Api& api = host->api;
  if (prepared_ != nullptr) throw Fault(FaultKind::kNative, "the program is linked already");
  if (function_numbers.size() != imports.size() || signedness.size() != imports.size() ||
      (!answered_as.empty() && answered_as.size() != imports.size()))
    throw Fault(FaultKind::kNative, "link needs one function for each import");
  wasm_importtype_vec_t types{0, nullptr};
  api.wasmtime_module_imports(module_, &types);
  linker_ = api.wasmtime_linker_new(host->engine());
  api.wasmtime_linker_allow_shadowing(linker_, true);  // the same import may stand twice in a module
  std::string problem;
  for (size_t i = 0; i < imports.size() && problem.empty(); ++i) {
    const Declaration& declared = imports[i];
    const std::string where = "import " + declared.module + "." + declared.name;
    if (declared.kind != "function" || declared.results != "i") {
      problem = where + " is not a function with one i32 result";
    } else if (declared.parameters.size() > kMaxArguments ||
               signedness[i].size() != declared.parameters.size()) {
      problem = where + " has a number of parameters that does not fit";
    } else {
      const AnsweredAs kind = answered_as.empty() ? AnsweredAs::kParked : answered_as[i];
      linked_.push_back(std::make_unique<Import>(Import{&api, function_numbers[i], signedness[i], kind}));
      const wasm_functype_t* type =
          api.wasm_externtype_as_functype_const(api.wasm_importtype_type(types.data[i]));
      wasmtime_error_t* error = api.wasmtime_linker_define_async_func(
          linker_, declared.module.data(), declared.module.size(), declared.name.data(), declared.name.size(),
          type, &Guest::on_import, linked_.back().get(), nullptr);
      if (error != nullptr) problem = where + ": " + api.take_message(error);
    }
  }
  api.wasm_importtype_vec_delete(&types);
  if (!problem.empty()) throw Fault(FaultKind::kContract, problem);
  if (wasmtime_error_t* error = api.wasmtime_linker_instantiate_pre(linker_, module_, &prepared_))
    throw Fault(FaultKind::kContract, api.take_message(error));
}

}  // namespace realm::guest
