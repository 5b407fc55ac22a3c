// One compiled guest program: what it imports and exports, and, once linked,
// how to instantiate it. Whether its imports fit the contract is decided by the
// caller, who names a host function for each of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host.h"
#include "prompt_answers.h"

namespace realm::guest {

// An import or export as the module declares it. Types are written one letter a
// value: i, I, f, F (i32, i64, f32, f64) and ? for any other.
struct Declaration {
  std::string module;  // empty for an export
  std::string name;
  std::string kind;  // "function", "memory", "table", "global", "other"
  std::string parameters;
  std::string results;
};

// What a program is made from: WASM, or the native code that
// `Program::serialize` wrote for an equal engine. Native code is trusted:
// whoever hands it over has made sure that nobody else wrote it.
enum class Form { kWasm, kNativeCode };

class Program {
 public:
  Program(std::shared_ptr<Host> host, Form form, const uint8_t* bytes, size_t size);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // One host function number for each import, in order; every import must be a
  // function with one i32 result. signedness: a string for each import, one
  // letter an argument: 'u' reads an integer as unsigned. answered_as: how each is answered; when empty, all
  // of them park their guest.
  void link(const std::vector<int32_t>& function_numbers, const std::vector<std::string>& signedness,
            const std::vector<AnsweredAs>& answered_as = {});

  std::string serialize() const;

  const std::shared_ptr<Host> host;
  std::vector<Declaration> imports;
  std::vector<Declaration> exports;
  bool memory_is_64 = false;
  uint64_t memory_minimum_pages = 0;  // of the exported memory, in pages of 64 KiB
  int64_t memory_maximum_pages = -1;  // -1: none is declared
  wasmtime_instance_pre_t* prepared() const { return prepared_; }

 private:
  struct Import {
    const Api* api;
    int32_t function_number;
    std::string signedness;
    AnsweredAs answered_as;
  };
  friend class Guest;
  Declaration declare(const wasm_externtype_t* type) const;

  wasmtime_module_t* module_ = nullptr;
  wasmtime_linker_t* linker_ = nullptr;
  wasmtime_instance_pre_t* prepared_ = nullptr;
  std::vector<std::unique_ptr<Import>> linked_;
};

}  // namespace realm::guest
