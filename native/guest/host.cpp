#include "host.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "fault.h"

namespace realm::guest {

namespace {

constexpr uint64_t kHostStackBytes = 256 << 10;  // for wasmtime's own frames above a guest's
constexpr uint64_t kWasmPageBytes = 64 << 10;

// A pool reserves address space at once; under a limit on it, memory is mapped a guest at a time instead.
bool address_space_is_free() {
  rlimit limit{};
  return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

void set_features(const Api& api, wasm_config_t* config) {
  api.wasmtime_config_wasm_memory64_set(config, true);
  api.wasmtime_config_wasm_threads_set(config, false);
  api.wasmtime_config_shared_memory_set(config, false);
  api.wasmtime_config_wasm_tail_call_set(config, false);
  api.wasmtime_config_wasm_function_references_set(config, false);
  api.wasmtime_config_wasm_gc_set(config, false);
  api.wasmtime_config_gc_support_set(config, false);
  api.wasmtime_config_wasm_relaxed_simd_set(config, false);
  api.wasmtime_config_wasm_multi_memory_set(config, false);
  api.wasmtime_config_wasm_wide_arithmetic_set(config, false);
  api.wasmtime_config_wasm_exceptions_set(config, false);
  api.wasmtime_config_wasm_custom_page_sizes_set(config, false);
  api.wasmtime_config_wasm_stack_switching_set(config, false);
  api.wasmtime_config_wasm_component_model_set(config, false);
  api.wasmtime_config_concurrency_support_set(config, false);
}

void set_pool(const Api& api, wasm_config_t* config, const HostLimits& limits) {
  wasmtime_pooling_allocation_config_t* pool = api.wasmtime_pooling_allocation_config_new();
  api.wasmtime_pooling_allocation_config_total_memories_set(pool, limits.guest_count);
  api.wasmtime_pooling_allocation_config_total_tables_set(pool, limits.guest_count);
  api.wasmtime_pooling_allocation_config_total_stacks_set(pool, limits.guest_count);
  api.wasmtime_pooling_allocation_config_total_core_instances_set(pool, limits.guest_count);
  api.wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, 0);
  api.wasmtime_pooling_allocation_config_table_elements_set(pool, limits.table_elements);
  api.wasmtime_pooling_allocation_config_max_memory_size_set(pool, limits.memory_bytes);
  api.wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, 16);
  api.wasmtime_pooling_allocation_strategy_set(config, pool);
  api.wasmtime_pooling_allocation_config_delete(pool);
}

}  // namespace

Host::Host(const std::string& library_path, const HostLimits& host_limits)
    : api(library_path), limits(host_limits) {
  if (limits.guest_count == 0 || limits.guest_count > 16384)
    throw Fault(FaultKind::kNative, "guest_count must be in 1..16384");
  if (limits.memory_bytes == 0 || limits.memory_bytes % kWasmPageBytes != 0 ||
      limits.memory_bytes > (4ull << 30))
    throw Fault(FaultKind::kNative, "memory_bytes must be whole WASM pages of 64 KiB, at most 4 GiB");
  if (limits.stack_bytes < (64 << 10) || limits.stack_bytes > (8 << 20))
    throw Fault(FaultKind::kNative, "stack_bytes must be in 64 KiB..8 MiB");
  if (limits.tick_microseconds < 100)
    throw Fault(FaultKind::kNative, "tick_microseconds must be at least 100");
  pooled_ = address_space_is_free();
  wasm_config_t* config = api.wasm_config_new();
  set_features(api, config);
  api.wasmtime_config_epoch_interruption_set(config, true);
  api.wasmtime_config_parallel_compilation_set(config, false);
  api.wasmtime_config_native_unwind_info_set(config, false);
  // Explicit checks in place of signal handlers: nothing of the process (faulthandler, debuggers) is
  // disturbed.
  api.wasmtime_config_signals_based_traps_set(config, false);
  api.wasmtime_config_memory_reservation_set(config, limits.memory_bytes);
  api.wasmtime_config_memory_guard_size_set(config, 0);
  api.wasmtime_config_memory_may_move_set(config, false);
  api.wasmtime_config_max_wasm_stack_set(config, limits.stack_bytes);
  api.wasmtime_config_async_stack_size_set(config, limits.stack_bytes + kHostStackBytes);
  if (pooled_) set_pool(api, config, limits);
  engine_ = api.wasm_engine_new_with_config(config);
  if (engine_ == nullptr) throw Fault(FaultKind::kNative, "wasmtime refused the engine's configuration");
  ticker_ = std::thread([this] { tick(); });
}

Host::~Host() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  ticker_.join();
  api.wasm_engine_delete(engine_);
}

void Host::enter() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (alive_ == limits.guest_count)
    throw Fault(FaultKind::kLimit, "all " + std::to_string(limits.guest_count) + " guest slots are taken");
  if (alive_++ == 0) changed_.notify_all();
}

void Host::leave() {
  std::lock_guard<std::mutex> lock(mutex_);
  --alive_;
}

void Host::tick() {
  const auto period = std::chrono::microseconds(limits.tick_microseconds);
  auto pause = period;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!closing_) {
    if (alive_ == 0) {
      changed_.wait(lock);
      pause = period;
      continue;
    }
    changed_.wait_for(lock, pause);
    if (computing_.load(std::memory_order_relaxed) == 0) {
      pause = std::min(2 * pause, kQuietTicks * period);
      continue;
    }
    pause = period;
    api.wasmtime_engine_increment_epoch(engine_);
  }
}

}  // namespace realm::guest
