// One guest: a store, a fibre, and the mailbox through which its host calls are answered. It is entered only
// by the thread that made it, one poll at a time; no code of the caller ever runs on its stack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "program.h"
#include "prompt_answers.h"

namespace realm::guest {

constexpr size_t kMaxArguments = 8;

struct GuestLimits {
  uint64_t memory_bytes;
  uint64_t slice_ticks;          // ticks of processor time after which a burst yields
  uint64_t compute_nanoseconds;  // processor time of the whole guest
  uint64_t wall_nanoseconds;     // time from its creation
};

// A program of the older form: generate(prompt, prompt_size, model_id, options) gives the address of its
// text, which ends in a zero byte. The request holds the prompt, and the options at an offset of their own.
struct OlderForm {
  uint64_t prompt_size;
  uint64_t options_offset;
  int32_t model_id;
  uint64_t text_limit;  // bytes of text at most
};

enum class Outcome { kParked = 0, kFinished = 1, kYielded = 2, kTrapped = 3, kLimit = 4, kContract = 5 };

struct Mailbox {
  int32_t function_number = -1;
  size_t argument_count = 0;
  wasmtime_val_t arguments[kMaxArguments];
  const std::string* signedness = nullptr;
  uint8_t* memory = nullptr;
  size_t memory_size = 0;
  bool full = false;      // a call waits for its answer
  bool answered = false;  // the answer is there, the guest has not run since
  int32_t answer = 0;
};

class Guest {
 public:
  Guest(std::shared_ptr<Program> program, std::string request, const GuestLimits& limits, int32_t abi_version,
        const OlderForm* older_form = nullptr);
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  // Runs the guest until it parks in a host call, yields, ends or fails; after kFinished, kTrapped, kLimit or
  // kContract it must not be called again.
  Outcome poll();
  void resume(int32_t answer);

  const Mailbox& mailbox() const { return mailbox_; }
  PromptAnswers& prompt_answers() {
    check_owner();
    return prompt_answers_;
  }
  bool contains(uint64_t pointer, uint64_t length) const;
  uint8_t* at(uint64_t pointer,
              uint64_t length) const;  // throws when the guest is not parked or out of bounds
  int32_t result() const { return result_; }
  const std::string& text() const { return text_; }  // of a finished program of the older form
  const std::string& message() const { return message_; }
  uint64_t compute_nanoseconds() const { return compute_nanoseconds_; }
  uint64_t memory_bytes() const;  // of its linear memory, whether it has touched them or not
  bool yielded_last() const { return yielded_last_; }

 private:
  enum class Phase { kInstantiate, kVersion, kAllocate, kHandle, kEnded };
  static void on_import(void* environment, wasmtime_caller_t* caller, const wasmtime_val_t* arguments,
                        size_t argument_count, wasmtime_val_t* results, size_t result_count,
                        wasm_trap_t** trap, wasmtime_async_continuation_t* continuation);
  static bool is_answered(void* environment);
  static bool is_done(void*) { return true; }
  static wasmtime_error_t* on_deadline(wasmtime_context_t* context, void* data, uint64_t* delta,
                                       uint8_t* kind);

  void begin_phase();
  bool end_phase(Outcome* outcome);  // false: the guest goes on with its next phase
  Outcome fail(Outcome outcome, std::string message);
  Outcome finish();
  void call(const char* name, size_t argument_count);
  wasmtime_val_t size_value(uint64_t value) const;
  void drop_future();
  void check_owner() const;
  friend class Program;

  const std::shared_ptr<Program> program_;
  const Api& api_;
  const std::string request_;
  const GuestLimits limits_;
  const int32_t abi_version_;
  const bool is_older_;
  const OlderForm older_form_;
  const std::thread::id owner_;
  wasmtime_store_t* store_ = nullptr;
  wasmtime_context_t* context_ = nullptr;
  wasmtime_call_future_t* future_ = nullptr;
  wasmtime_instance_t instance_{};
  wasmtime_func_t function_{};
  wasmtime_memory_t memory_{};
  wasmtime_val_t arguments_[4]{};
  wasmtime_val_t returned_{};
  wasm_trap_t* trap_ = nullptr;
  wasmtime_error_t* error_ = nullptr;
  Mailbox mailbox_;
  PromptAnswers prompt_answers_;
  wasmtime_val_t* import_results_ = nullptr;
  Phase phase_ = Phase::kInstantiate;
  const char* limit_message_ = nullptr;
  uint64_t slice_nanoseconds_ = 0;
  uint64_t burst_start_compute_ = 0;
  uint64_t compute_nanoseconds_ = 0;
  uint64_t wall_deadline_ = 0;
  uint64_t request_pointer_ = 0;
  int32_t result_ = 0;
  bool yielded_last_ = false;
  bool polling_ = false;
  std::string message_;
  std::string text_;
};

}  // namespace realm::guest
