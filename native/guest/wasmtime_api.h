// The part of the wasmtime C API that the fibre host uses, declared by hand:
// the wheel ships the library but no headers. Layouts and signatures follow
// wasmtime 50 (wasm.h, wasmtime/{config,store,linker,async,trap}.h); they are
// resolved by name at run time, so another version that lacks one of them is
// refused by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace realm::guest {

struct wasm_config_t;
struct wasm_engine_t;
struct wasm_valtype_t;
struct wasm_functype_t;
struct wasm_memorytype_t;
struct wasm_externtype_t;
struct wasm_importtype_t;
struct wasm_exporttype_t;
struct wasm_trap_t;
struct wasmtime_error_t;
struct wasmtime_module_t;
struct wasmtime_linker_t;
struct wasmtime_store_t;
struct wasmtime_context_t;
struct wasmtime_caller_t;
struct wasmtime_instance_pre_t;
struct wasmtime_call_future_t;
struct wasmtime_pooling_allocation_config_t;

template <typename T>
struct Vector {
  size_t size;
  T* data;
};
using wasm_byte_vec_t = Vector<char>;
using wasm_valtype_vec_t = Vector<wasm_valtype_t*>;
using wasm_importtype_vec_t = Vector<wasm_importtype_t*>;
using wasm_exporttype_vec_t = Vector<wasm_exporttype_t*>;

struct wasmtime_func_t {
  uint64_t store_id;
  void* private_value;
};
struct wasmtime_memory_t {
  struct {
    uint64_t store_id;
    uint32_t private_first;
  } owner;
  uint32_t private_second;
};
struct wasmtime_instance_t {
  uint64_t store_id;
  size_t private_value;
};
union wasmtime_extern_union_t {
  wasmtime_func_t function;
  wasmtime_memory_t memory;
  uint64_t reserved[3];
};
struct wasmtime_extern_t {
  uint8_t kind;
  wasmtime_extern_union_t of;
};
union wasmtime_valunion_t {
  int32_t i32;
  int64_t i64;
  float f32;
  double f64;
  uint64_t reserved[3];
};
struct wasmtime_val_t {
  uint8_t kind;
  wasmtime_valunion_t of;
};
static_assert(sizeof(wasmtime_memory_t) == 24 && sizeof(wasmtime_extern_t) == 32, "wasmtime/extern.h");
static_assert(sizeof(wasmtime_val_t) == 32, "wasmtime/val.h");

// Kinds of values (the same numbers in wasm.h and wasmtime/val.h) and of
// externs.
enum ValueKind : uint8_t { kI32 = 0, kI64 = 1, kF32 = 2, kF64 = 3 };
enum ExternKind : uint8_t { kExternFunction = 0, kExternGlobal = 1, kExternTable = 2, kExternMemory = 3 };
enum TrapCode : uint8_t { kTrapStackOverflow = 0 };
enum DeadlineUpdate : uint8_t { kDeadlineContinue = 0, kDeadlineYield = 1 };

struct wasmtime_async_continuation_t {
  bool (*callback)(void* environment);
  void* environment;
  void (*finalizer)(void*);
};
using AsyncCallback = void (*)(void* environment, wasmtime_caller_t* caller, const wasmtime_val_t* arguments,
                               size_t argument_count, wasmtime_val_t* results, size_t result_count,
                               wasm_trap_t** trap, wasmtime_async_continuation_t* continuation);
using DeadlineCallback = wasmtime_error_t* (*)(wasmtime_context_t*, void* data, uint64_t* delta,
                                               uint8_t* kind);
using Finalizer = void (*)(void*);

// One row a function: X(result, name, parameters).
#define REALM_WASMTIME_FUNCTIONS(X)                                                                        \
  X(wasm_config_t*, wasm_config_new, ())                                                                   \
  X(void, wasm_config_delete, (wasm_config_t*))                                                            \
  X(wasm_engine_t*, wasm_engine_new_with_config, (wasm_config_t*))                                         \
  X(void, wasm_engine_delete, (wasm_engine_t*))                                                            \
  X(void, wasmtime_engine_increment_epoch, (wasm_engine_t*))                                               \
  X(void, wasmtime_config_epoch_interruption_set, (wasm_config_t*, bool))                                  \
  X(void, wasmtime_config_max_wasm_stack_set, (wasm_config_t*, size_t))                                    \
  X(void, wasmtime_config_async_stack_size_set, (wasm_config_t*, size_t))                                  \
  X(void, wasmtime_config_signals_based_traps_set, (wasm_config_t*, bool))                                 \
  X(void, wasmtime_config_parallel_compilation_set, (wasm_config_t*, bool))                                \
  X(void, wasmtime_config_native_unwind_info_set, (wasm_config_t*, bool))                                  \
  X(void, wasmtime_config_memory_may_move_set, (wasm_config_t*, bool))                                     \
  X(void, wasmtime_config_memory_reservation_set, (wasm_config_t*, uint64_t))                              \
  X(void, wasmtime_config_memory_guard_size_set, (wasm_config_t*, uint64_t))                               \
  X(void, wasmtime_config_wasm_threads_set, (wasm_config_t*, bool))                                        \
  X(void, wasmtime_config_shared_memory_set, (wasm_config_t*, bool))                                       \
  X(void, wasmtime_config_wasm_tail_call_set, (wasm_config_t*, bool))                                      \
  X(void, wasmtime_config_wasm_function_references_set, (wasm_config_t*, bool))                            \
  X(void, wasmtime_config_wasm_gc_set, (wasm_config_t*, bool))                                             \
  X(void, wasmtime_config_gc_support_set, (wasm_config_t*, bool))                                          \
  X(void, wasmtime_config_wasm_relaxed_simd_set, (wasm_config_t*, bool))                                   \
  X(void, wasmtime_config_wasm_multi_memory_set, (wasm_config_t*, bool))                                   \
  X(void, wasmtime_config_wasm_memory64_set, (wasm_config_t*, bool))                                       \
  X(void, wasmtime_config_wasm_wide_arithmetic_set, (wasm_config_t*, bool))                                \
  X(void, wasmtime_config_wasm_exceptions_set, (wasm_config_t*, bool))                                     \
  X(void, wasmtime_config_wasm_custom_page_sizes_set, (wasm_config_t*, bool))                              \
  X(void, wasmtime_config_wasm_stack_switching_set, (wasm_config_t*, bool))                                \
  X(void, wasmtime_config_wasm_component_model_set, (wasm_config_t*, bool))                                \
  X(void, wasmtime_config_concurrency_support_set, (wasm_config_t*, bool))                                 \
  X(wasmtime_pooling_allocation_config_t*, wasmtime_pooling_allocation_config_new, ())                     \
  X(void, wasmtime_pooling_allocation_config_delete, (wasmtime_pooling_allocation_config_t*))              \
  X(void, wasmtime_pooling_allocation_config_total_memories_set,                                           \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_config_total_tables_set,                                             \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_config_total_stacks_set,                                             \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_config_total_core_instances_set,                                     \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_config_total_gc_heaps_set,                                           \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_config_table_elements_set,                                           \
    (wasmtime_pooling_allocation_config_t*, size_t))                                                       \
  X(void, wasmtime_pooling_allocation_config_max_memory_size_set,                                          \
    (wasmtime_pooling_allocation_config_t*, size_t))                                                       \
  X(void, wasmtime_pooling_allocation_config_max_unused_warm_slots_set,                                    \
    (wasmtime_pooling_allocation_config_t*, uint32_t))                                                     \
  X(void, wasmtime_pooling_allocation_strategy_set,                                                        \
    (wasm_config_t*, const wasmtime_pooling_allocation_config_t*))                                         \
  X(wasmtime_error_t*, wasmtime_error_new, (const char*))                                                  \
  X(void, wasmtime_error_delete, (wasmtime_error_t*))                                                      \
  X(void, wasmtime_error_message, (const wasmtime_error_t*, wasm_byte_vec_t*))                             \
  X(void, wasm_trap_delete, (wasm_trap_t*))                                                                \
  X(void, wasm_trap_message, (const wasm_trap_t*, wasm_byte_vec_t*))                                       \
  X(bool, wasmtime_trap_code, (const wasm_trap_t*, uint8_t*))                                              \
  X(void, wasm_byte_vec_delete, (wasm_byte_vec_t*))                                                        \
  X(wasmtime_error_t*, wasmtime_wat2wasm, (const char*, size_t, wasm_byte_vec_t*))                         \
  X(wasmtime_error_t*, wasmtime_module_new, (wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**)) \
  X(wasmtime_error_t*, wasmtime_module_serialize, (wasmtime_module_t*, wasm_byte_vec_t*))                  \
  X(wasmtime_error_t*, wasmtime_module_deserialize,                                                        \
    (wasm_engine_t*, const uint8_t*, size_t, wasmtime_module_t**))                                         \
  X(void, wasmtime_module_delete, (wasmtime_module_t*))                                                    \
  X(void, wasmtime_module_imports, (const wasmtime_module_t*, wasm_importtype_vec_t*))                     \
  X(void, wasmtime_module_exports, (const wasmtime_module_t*, wasm_exporttype_vec_t*))                     \
  X(void, wasm_importtype_vec_delete, (wasm_importtype_vec_t*))                                            \
  X(void, wasm_exporttype_vec_delete, (wasm_exporttype_vec_t*))                                            \
  X(const wasm_byte_vec_t*, wasm_importtype_module, (const wasm_importtype_t*))                            \
  X(const wasm_byte_vec_t*, wasm_importtype_name, (const wasm_importtype_t*))                              \
  X(const wasm_externtype_t*, wasm_importtype_type, (const wasm_importtype_t*))                            \
  X(const wasm_byte_vec_t*, wasm_exporttype_name, (const wasm_exporttype_t*))                              \
  X(const wasm_externtype_t*, wasm_exporttype_type, (const wasm_exporttype_t*))                            \
  X(uint8_t, wasm_externtype_kind, (const wasm_externtype_t*))                                             \
  X(const wasm_functype_t*, wasm_externtype_as_functype_const, (const wasm_externtype_t*))                 \
  X(const wasm_memorytype_t*, wasm_externtype_as_memorytype_const, (const wasm_externtype_t*))             \
  X(const wasm_valtype_vec_t*, wasm_functype_params, (const wasm_functype_t*))                             \
  X(const wasm_valtype_vec_t*, wasm_functype_results, (const wasm_functype_t*))                            \
  X(uint8_t, wasm_valtype_kind, (const wasm_valtype_t*))                                                   \
  X(bool, wasmtime_memorytype_is64, (const wasm_memorytype_t*))                                            \
  X(uint64_t, wasmtime_memorytype_minimum, (const wasm_memorytype_t*))                                     \
  X(bool, wasmtime_memorytype_maximum, (const wasm_memorytype_t*, uint64_t*))                              \
  X(wasmtime_linker_t*, wasmtime_linker_new, (wasm_engine_t*))                                             \
  X(void, wasmtime_linker_delete, (wasmtime_linker_t*))                                                    \
  X(void, wasmtime_linker_allow_shadowing, (wasmtime_linker_t*, bool))                                     \
  X(wasmtime_error_t*, wasmtime_linker_define_async_func,                                                  \
    (wasmtime_linker_t*, const char*, size_t, const char*, size_t, const wasm_functype_t*, AsyncCallback,  \
     void*, Finalizer))                                                                                    \
  X(wasmtime_error_t*, wasmtime_linker_instantiate_pre,                                                    \
    (const wasmtime_linker_t*, const wasmtime_module_t*, wasmtime_instance_pre_t**))                       \
  X(void, wasmtime_instance_pre_delete, (wasmtime_instance_pre_t*))                                        \
  X(wasmtime_call_future_t*, wasmtime_instance_pre_instantiate_async,                                      \
    (const wasmtime_instance_pre_t*, wasmtime_context_t*, wasmtime_instance_t*, wasm_trap_t**,             \
     wasmtime_error_t**))                                                                                  \
  X(wasmtime_store_t*, wasmtime_store_new, (wasm_engine_t*, void*, Finalizer))                             \
  X(void, wasmtime_store_delete, (wasmtime_store_t*))                                                      \
  X(wasmtime_context_t*, wasmtime_store_context, (wasmtime_store_t*))                                      \
  X(void, wasmtime_store_limiter, (wasmtime_store_t*, int64_t, int64_t, int64_t, int64_t, int64_t))        \
  X(void, wasmtime_store_epoch_deadline_callback, (wasmtime_store_t*, DeadlineCallback, void*, Finalizer)) \
  X(void, wasmtime_context_set_epoch_deadline, (wasmtime_context_t*, uint64_t))                            \
  X(void*, wasmtime_context_get_data, (const wasmtime_context_t*))                                         \
  X(wasmtime_context_t*, wasmtime_caller_context, (wasmtime_caller_t*))                                    \
  X(bool, wasmtime_caller_export_get, (wasmtime_caller_t*, const char*, size_t, wasmtime_extern_t*))       \
  X(bool, wasmtime_instance_export_get,                                                                    \
    (wasmtime_context_t*, const wasmtime_instance_t*, const char*, size_t, wasmtime_extern_t*))            \
  X(uint8_t*, wasmtime_memory_data, (const wasmtime_context_t*, const wasmtime_memory_t*))                 \
  X(size_t, wasmtime_memory_data_size, (const wasmtime_context_t*, const wasmtime_memory_t*))              \
  X(wasmtime_call_future_t*, wasmtime_func_call_async,                                                     \
    (wasmtime_context_t*, const wasmtime_func_t*, const wasmtime_val_t*, size_t, wasmtime_val_t*, size_t,  \
     wasm_trap_t**, wasmtime_error_t**))                                                                   \
  X(bool, wasmtime_call_future_poll, (wasmtime_call_future_t*))                                            \
  X(void, wasmtime_call_future_delete, (wasmtime_call_future_t*))

// The resolved functions. The library stays loaded for the life of the process:
// code compiled by it may run until then.
struct Api {
#define REALM_DECLARE(result, name, parameters) result(*name) parameters = nullptr;
  REALM_WASMTIME_FUNCTIONS(REALM_DECLARE)
#undef REALM_DECLARE
  explicit Api(const std::string& library_path);

  // Both take ownership and return the text, cut to a length that is fit for a
  // message.
  std::string take_message(wasmtime_error_t* error) const;
  std::string take_message(wasm_trap_t* trap) const;
};

}  // namespace realm::guest
