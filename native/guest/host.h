// The engine of a runtime: one wasmtime engine with its pool, and the thread that advances its epoch.
// It knows nothing of models, tenants or Python.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "wasmtime_api.h"

namespace realm::guest {

struct HostLimits {
  uint32_t guest_count;        // most guests alive at once
  uint64_t memory_bytes;       // most linear memory of one guest
  uint32_t table_elements;     // most elements of a guest's table
  uint64_t stack_bytes;        // most native stack of a guest's own code
  uint32_t tick_microseconds;  // after a quiet time the first tick of a burst comes up to kQuietTicks later
};

constexpr int kQuietTicks = 16;

class Host {
 public:
  Host(const std::string& library_path, const HostLimits& limits);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const Api api;
  const HostLimits limits;
  bool pooled() const { return pooled_; }
  wasm_engine_t* engine() const { return engine_; }

  // The ticker runs only while guests are alive, and seldom while none of them computes: where threads meet
  // at barriers, each time it wakes costs them more than its own work.
  void enter();
  void leave();
  void begin_burst() { computing_.fetch_add(1, std::memory_order_relaxed); }
  void end_burst() { computing_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  void tick();

  bool pooled_ = false;
  wasm_engine_t* engine_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t alive_ = 0;
  std::atomic<int> computing_{0};
  bool closing_ = false;
  std::thread ticker_;
};

}  // namespace realm::guest
