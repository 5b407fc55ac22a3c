#include "team.h"

#include <algorithm>

#ifdef REALM_X86
#include <immintrin.h>
#endif

namespace realm {
namespace {

constexpr int kSpinsPerYield = 256;

void pause() {
#ifdef REALM_X86
  _mm_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace

void Barrier::wait(std::chrono::nanoseconds patience, SideWork* meanwhile) {
  if (count_ == 1) return;
  const unsigned generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == count_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      changed_.notify_all();
    }
    return;
  }
  if (patience.count() > 0) {
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
      for (int i = 0; i < kSpinsPerYield; i++) {
        if (generation_.load(std::memory_order_acquire) != generation) return;
        pause();
      }
      if (meanwhile && meanwhile->is_waiting() && meanwhile->work_once()) continue;
      // The one that is waited for may want this very core.
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < end);
  }
  std::unique_lock<std::mutex> lock(mutex_);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  changed_.wait(lock, [&] { return generation_.load(std::memory_order_seq_cst) != generation; });
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
}

Team::Team(int size, SideWork* side_work)
    : size_(size),
      side_work_(side_work),
      lent_(static_cast<size_t>(size)),
      start_(size),
      phase_(size),
      end_(size) {
  if (side_work_) side_work_->set_team(size);
  for (int i = 1; i < size; i++) threads_.emplace_back([this, i] { serve(i); });
}

Team::~Team() {
  stop_ = true;
  start_.wait({});
  for (std::thread& thread : threads_) thread.join();
}

void Team::serve(int thread) {
  for (;;) {
    start_.wait(kIdlePatience, side_work_);
    if (stop_) return;
    (*work_)(thread);
    end_.wait(kPhasePatience);
  }
}

void Team::run(const std::function<void(int)>& work, int range_count) {
  if (range_count > range_capacity_) {
    next_ = std::make_unique<Counter[]>(static_cast<size_t>(range_count));
    range_capacity_ = range_count;
  } else {
    for (int i = 0; i < range_count; i++)
      next_[static_cast<size_t>(i)].value.store(0, std::memory_order_relaxed);
  }
  work_ = &work;
  if (side_work_) {
    begin_ = std::chrono::steady_clock::now();
    std::fill(lent_.begin(), lent_.end(), Lent{});
    side_work_->step_begins();
  }
  start_.wait({});
  work(0);
  end_.wait(kPhasePatience);
  if (side_work_) {
    auto most = lent_.front().time;
    for (const Lent& lent : lent_) most = std::max(most, lent.time);
    side_work_->step_ends(std::chrono::steady_clock::now(), most);
  }
}

void Team::do_side_work(int thread) {
  Lent& lent = lent_[static_cast<size_t>(thread)];
  auto now = std::chrono::steady_clock::now();
  while (lent.time < std::max<std::chrono::nanoseconds>(kLentTime, (now - begin_) / kLentShare) &&
         side_work_->work_once()) {
    const auto before = now;
    now = std::chrono::steady_clock::now();
    lent.time += now - before;
  }
}

}  // namespace realm
