#include "guest.h"

#include <time.h>

#include <cstring>

#include "fault.h"

namespace realm::guest {

namespace {

constexpr uint64_t kNanosecondsPerSecond = 1000000000;

uint64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

// Marks a guest as running, and its host as computing, for as long as it stands.
class Polling {
 public:
  Polling(bool* mark, Host* host) : mark_(mark), host_(host) {
    *mark_ = true;
    host_->begin_burst();
  }
  ~Polling() {
    host_->end_burst();
    *mark_ = false;
  }
  Polling(const Polling&) = delete;
  Polling& operator=(const Polling&) = delete;

 private:
  bool* mark_;
  Host* host_;
};

uint64_t wall_now() { return read_clock(CLOCK_MONOTONIC); }
uint64_t compute_now() { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace

Guest::Guest(std::shared_ptr<Program> program, std::string request, const GuestLimits& limits,
             int32_t abi_version, const OlderForm* older_form)
    : program_(std::move(program)),
      api_(program_->host->api),
      request_(std::move(request)),
      limits_(limits),
      abi_version_(abi_version),
      is_older_(older_form != nullptr),
      older_form_(older_form != nullptr ? *older_form : OlderForm{}),
      owner_(std::this_thread::get_id()) {
  if (program_->prepared() == nullptr) throw Fault(FaultKind::kNative, "the program is not linked");
  if (older_form_.prompt_size > request_.size() || older_form_.options_offset > request_.size())
    throw Fault(FaultKind::kNative, "the prompt or the options lie outside of the request");
  if (limits_.slice_ticks == 0) throw Fault(FaultKind::kNative, "slice_ticks must be at least 1");
  program_->host->enter();
  slice_nanoseconds_ = limits_.slice_ticks * program_->host->limits.tick_microseconds * 1000;
  wall_deadline_ = wall_now() + limits_.wall_nanoseconds;
  store_ = api_.wasmtime_store_new(program_->host->engine(), this, nullptr);
  context_ = api_.wasmtime_store_context(store_);
  api_.wasmtime_store_limiter(store_, static_cast<int64_t>(limits_.memory_bytes),
                              program_->host->limits.table_elements, 1, 1, 1);
  api_.wasmtime_context_set_epoch_deadline(context_, 1);
  api_.wasmtime_store_epoch_deadline_callback(store_, &Guest::on_deadline, this, nullptr);
}

Guest::~Guest() {
  drop_future();
  if (trap_ != nullptr) api_.wasm_trap_delete(trap_);
  if (error_ != nullptr) api_.wasmtime_error_delete(error_);
  api_.wasmtime_store_delete(store_);
  program_->host->leave();
}

void Guest::drop_future() {
  if (future_ == nullptr) return;
  api_.wasmtime_call_future_delete(future_);
  future_ = nullptr;
}

void Guest::check_owner() const {
  if (std::this_thread::get_id() != owner_)
    throw Fault(FaultKind::kNative, "a guest is entered only by the thread that made it");
  if (polling_) throw Fault(FaultKind::kNative, "the guest is running");
}

// Runs on the guest's stack: answers at once where it can; else copies, and returns a continuation that is
// polled until there is an answer.
void Guest::on_import(void* environment, wasmtime_caller_t* caller, const wasmtime_val_t* arguments,
                      size_t argument_count, wasmtime_val_t* results, size_t, wasm_trap_t**,
                      wasmtime_async_continuation_t* continuation) {
  const auto* import = static_cast<const Program::Import*>(environment);
  const Api& api = *import->api;
  wasmtime_context_t* context = api.wasmtime_caller_context(caller);
  auto* guest = static_cast<Guest*>(api.wasmtime_context_get_data(context));
  Mailbox& mailbox = guest->mailbox_;
  mailbox.memory = nullptr;
  mailbox.memory_size = 0;
  wasmtime_extern_t exported{};
  if (guest->phase_ != Phase::kInstantiate) {
    exported.of.memory = guest->memory_;
    exported.kind = kExternMemory;
  } else if (!api.wasmtime_caller_export_get(caller, "memory", 6, &exported)) {
    exported.kind = kExternFunction;
  }
  if (exported.kind == kExternMemory) {
    // Read anew at every call: growth may have moved it.
    mailbox.memory = api.wasmtime_memory_data(context, &exported.of.memory);
    mailbox.memory_size = api.wasmtime_memory_data_size(context, &exported.of.memory);
  }
  continuation->finalizer = nullptr;
  if (import->answered_as != AnsweredAs::kParked &&
      guest->prompt_answers_.answer(import->answered_as, arguments, argument_count, mailbox.memory,
                                    mailbox.memory_size, &results[0].of.i32)) {
    results[0].kind = kI32;
    continuation->callback = &Guest::is_done;
    continuation->environment = nullptr;
    return;
  }
  mailbox.function_number = import->function_number;
  mailbox.signedness = &import->signedness;
  mailbox.argument_count = argument_count;
  std::memcpy(mailbox.arguments, arguments, argument_count * sizeof(wasmtime_val_t));
  mailbox.full = true;
  mailbox.answered = false;
  guest->import_results_ = results;
  continuation->callback = &Guest::is_answered;
  continuation->environment = guest;
}

bool Guest::is_answered(void* environment) {
  auto* guest = static_cast<Guest*>(environment);
  Mailbox& mailbox = guest->mailbox_;
  if (!mailbox.answered) return false;
  guest->import_results_[0].kind = kI32;
  guest->import_results_[0].of.i32 = mailbox.answer;
  mailbox.answered = false;
  mailbox.full = false;
  return true;
}

// Runs on the guest's stack once its epoch deadline has passed. Ticks that passed while it was parked or
// while the thread had no processor are not its own: the burst is measured in processor time.
wasmtime_error_t* Guest::on_deadline(wasmtime_context_t*, void* data, uint64_t* delta, uint8_t* kind) {
  auto* guest = static_cast<Guest*>(data);
  const uint64_t burst = compute_now() - guest->burst_start_compute_;
  if (guest->compute_nanoseconds_ + burst > guest->limits_.compute_nanoseconds) {
    guest->limit_message_ = "compute time";
  } else if (wall_now() > guest->wall_deadline_) {
    guest->limit_message_ = "wall time";
  }
  if (guest->limit_message_ != nullptr) return guest->api_.wasmtime_error_new(guest->limit_message_);
  *delta = 1;
  *kind = burst < guest->slice_nanoseconds_ ? kDeadlineContinue : kDeadlineYield;
  return nullptr;
}

wasmtime_val_t Guest::size_value(uint64_t value) const {
  wasmtime_val_t written{};
  written.kind = program_->memory_is_64 ? kI64 : kI32;
  if (program_->memory_is_64) {
    written.of.i64 = static_cast<int64_t>(value);
  } else {
    written.of.i32 = static_cast<int32_t>(static_cast<uint32_t>(value));
  }
  return written;
}

void Guest::call(const char* name, size_t argument_count) {
  wasmtime_extern_t exported{};
  if (!api_.wasmtime_instance_export_get(context_, &instance_, name, std::strlen(name), &exported) ||
      exported.kind != kExternFunction)
    throw Fault(FaultKind::kContract, std::string("no exported function ") + name);
  function_ = exported.of.function;
  future_ = api_.wasmtime_func_call_async(context_, &function_, arguments_, argument_count, &returned_, 1,
                                          &trap_, &error_);
}

void Guest::begin_phase() {
  switch (phase_) {
    case Phase::kInstantiate:
      future_ = api_.wasmtime_instance_pre_instantiate_async(program_->prepared(), context_, &instance_,
                                                             &trap_, &error_);
      return;
    case Phase::kVersion:
      return call("realm_abi_version", 0);
    case Phase::kAllocate:
      arguments_[0] = size_value(request_.size());
      return call("realm_alloc", 1);
    case Phase::kHandle:
      arguments_[0] = size_value(request_pointer_);
      if (is_older_) {
        arguments_[1] = size_value(older_form_.prompt_size);
        arguments_[2].kind = kI32;
        arguments_[2].of.i32 = older_form_.model_id;
        arguments_[3] = size_value(request_pointer_ + older_form_.options_offset);
        return call("generate", 4);
      }
      arguments_[1] = size_value(request_.size());
      return call("realm_handle", 2);
    case Phase::kEnded:
      throw Fault(FaultKind::kNative, "the guest has ended");
  }
}

Outcome Guest::fail(Outcome outcome, std::string message) {
  phase_ = Phase::kEnded;
  message_ = std::move(message);
  return outcome;
}

// The last phase has returned: a number, or the address of a text.
Outcome Guest::finish() {
  phase_ = Phase::kEnded;
  if (!is_older_) {
    result_ = returned_.of.i32;
    return Outcome::kFinished;
  }
  const uint64_t address = program_->memory_is_64 ? static_cast<uint64_t>(returned_.of.i64)
                                                  : static_cast<uint32_t>(returned_.of.i32);
  const uint8_t* memory = api_.wasmtime_memory_data(context_, &memory_);
  const uint64_t size = api_.wasmtime_memory_data_size(context_, &memory_);
  if (address == 0) return fail(Outcome::kTrapped, "generate returned no text");
  if (address >= size) return fail(Outcome::kContract, "generate returned an address outside the memory");
  const uint64_t room = size - address;
  const uint64_t looked_at = room > older_form_.text_limit ? older_form_.text_limit + 1 : room;
  const void* end = std::memchr(memory + address, 0, looked_at);
  if (end == nullptr)
    return looked_at < room ? fail(Outcome::kLimit, "output bytes")
                            : fail(Outcome::kContract, "generate returned a text without an end");
  text_.assign(reinterpret_cast<const char*>(memory + address),
               static_cast<const uint8_t*>(end) - (memory + address));
  return Outcome::kFinished;
}

bool Guest::end_phase(Outcome* outcome) {
  drop_future();
  if (limit_message_ != nullptr) {
    *outcome = fail(Outcome::kLimit, limit_message_);
    return true;
  }
  if (trap_ != nullptr) {
    uint8_t code = 0xff;
    const bool coded = api_.wasmtime_trap_code(trap_, &code);
    wasm_trap_t* trap = trap_;
    trap_ = nullptr;
    const std::string message = api_.take_message(trap);
    *outcome = coded && code == kTrapStackOverflow ? fail(Outcome::kLimit, "stack")
                                                   : fail(Outcome::kTrapped, message);
    return true;
  }
  if (error_ != nullptr) {
    wasmtime_error_t* error = error_;
    error_ = nullptr;
    *outcome =
        fail(phase_ == Phase::kInstantiate ? Outcome::kLimit : Outcome::kTrapped, api_.take_message(error));
    return true;
  }
  switch (phase_) {
    case Phase::kInstantiate: {
      wasmtime_extern_t exported{};
      if (!api_.wasmtime_instance_export_get(context_, &instance_, "memory", 6, &exported) ||
          exported.kind != kExternMemory) {
        *outcome = fail(Outcome::kContract, "the program exports no memory");
        return true;
      }
      memory_ = exported.of.memory;
      phase_ = is_older_ ? Phase::kAllocate : Phase::kVersion;
      return false;
    }
    case Phase::kVersion:
      if (returned_.of.i32 != abi_version_) {
        *outcome = fail(Outcome::kContract, "the program speaks version " + std::to_string(returned_.of.i32) +
                                                " of the contract, this host version " +
                                                std::to_string(abi_version_));
        return true;
      }
      phase_ = Phase::kAllocate;
      return false;
    case Phase::kAllocate: {
      request_pointer_ = program_->memory_is_64 ? static_cast<uint64_t>(returned_.of.i64)
                                                : static_cast<uint32_t>(returned_.of.i32);
      uint8_t* memory = api_.wasmtime_memory_data(context_, &memory_);
      const uint64_t size = api_.wasmtime_memory_data_size(context_, &memory_);
      if (request_pointer_ == 0) {
        *outcome = fail(Outcome::kLimit, "realm_alloc found no room for a request of " +
                                             std::to_string(request_.size()) + " bytes");
        return true;
      }
      if (request_pointer_ > size || request_.size() > size - request_pointer_) {
        *outcome = fail(Outcome::kContract, "realm_alloc returned a range outside the program's memory");
        return true;
      }
      std::memcpy(memory + request_pointer_, request_.data(), request_.size());
      phase_ = Phase::kHandle;
      return false;
    }
    default:
      *outcome = finish();
      return true;
  }
}

Outcome Guest::poll() {
  check_owner();
  if (phase_ == Phase::kEnded) throw Fault(FaultKind::kNative, "the guest has ended");
  if (mailbox_.full && !mailbox_.answered) throw Fault(FaultKind::kNative, "the guest waits for an answer");
  const Polling polling(&polling_, program_->host.get());
  yielded_last_ = false;
  burst_start_compute_ = compute_now();
  Outcome outcome = Outcome::kYielded;
  for (;;) {
    if (future_ == nullptr) begin_phase();
    if (!api_.wasmtime_call_future_poll(future_)) {
      outcome = mailbox_.full ? Outcome::kParked : Outcome::kYielded;
      break;
    }
    if (end_phase(&outcome)) break;
  }
  compute_nanoseconds_ += compute_now() - burst_start_compute_;
  yielded_last_ = outcome == Outcome::kYielded;
  // Bursts shorter than a tick meet no deadline check of their own.
  if (outcome == Outcome::kParked || outcome == Outcome::kYielded) {
    if (compute_nanoseconds_ > limits_.compute_nanoseconds) return fail(Outcome::kLimit, "compute time");
    if (wall_now() > wall_deadline_) return fail(Outcome::kLimit, "wall time");
  }
  return outcome;
}

void Guest::resume(int32_t answer) {
  check_owner();
  if (phase_ == Phase::kEnded || !mailbox_.full || mailbox_.answered)
    throw Fault(FaultKind::kNative, "the guest waits for no answer");
  mailbox_.answer = answer;
  mailbox_.answered = true;
}

uint64_t Guest::memory_bytes() const {
  if (phase_ == Phase::kInstantiate || phase_ == Phase::kEnded) return mailbox_.memory_size;
  return api_.wasmtime_memory_data_size(context_, &memory_);
}

bool Guest::contains(uint64_t pointer, uint64_t length) const {
  return mailbox_.full && !mailbox_.answered && pointer <= mailbox_.memory_size &&
         length <= mailbox_.memory_size - pointer;
}

uint8_t* Guest::at(uint64_t pointer, uint64_t length) const {
  check_owner();
  if (!contains(pointer, length))
    throw Fault(FaultKind::kNative, "a range outside the memory of a parked guest: " +
                                        std::to_string(length) + " bytes at " + std::to_string(pointer));
  return mailbox_.memory + pointer;
}

}  // namespace realm::guest
