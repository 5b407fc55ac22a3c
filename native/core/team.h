// A persistent team of threads that runs one function together and meets at barriers.
// A waiting thread spins briefly and then sleeps, so that a busy neighbour on one core does not stop the
// others.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "side_work.h"

namespace realm {

class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}
  // patience: how long a thread spins before it sleeps. meanwhile: what it does a piece of now and then.
  void wait(std::chrono::nanoseconds patience, SideWork* meanwhile = nullptr);

 private:
  const int count_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> generation_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Team {
 public:
  // side_work: what the threads do beside runs; it must outlive the team.
  explicit Team(int size, SideWork* side_work = nullptr);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  // Runs work(thread) on every thread of the team, the caller being thread 0. work must not throw.
  // range_count: how many ranges that run will pass to for_range.
  void run(const std::function<void(int)>& work, int range_count);
  // Between two phases of one run.
  void barrier() { phase_.wait(kPhasePatience); }
  // Between two phases, all threads about at the same time: a little of the side work, if there is any.
  void help(int thread) {
    if (side_work_ && side_work_->is_waiting()) do_side_work(thread);
  }
  // Where in [0, total) a thread begins.
  int first_of(int thread, int total) const {
    return share_of(total) > 0 ? thread * share_of(total) : thread;
  }
  // Calls work(begin, end) over parts of [0, total): most of each thread's share at once, the rest one at a
  // time by whoever is free. `range` numbers the ranges of one run; every thread must pass the same.
  template <class Work>
  void for_range(int range, int thread, int total, const Work& work) {
    const int share = share_of(total);
    if (share > 0) work(thread * share, (thread + 1) * share);
    std::atomic<int>& next = next_[static_cast<size_t>(range)].value;
    for (;;) {
      const int at = size_ * share + next.fetch_add(1, std::memory_order_relaxed);
      if (at >= total) return;
      work(at, at + 1);
    }
  }
  // As for_range, with work(begin, end, next): the thread goes on at `next` when it is below the total.
  template <class Work>
  void for_range_ahead(int range, int thread, int total, const Work& work) {
    const int share = share_of(total);
    std::atomic<int>& next = next_[static_cast<size_t>(range)].value;
    const auto claim = [&] { return size_ * share + next.fetch_add(1, std::memory_order_relaxed); };
    int at = claim();
    if (share > 0) work(thread * share, (thread + 1) * share, at);
    while (at < total) {
      const int after = claim();
      work(at, at + 1, after);
      at = after;
    }
  }

 private:
  // Between two steps of many sequences lies most of a millisecond; waking a sleeper takes a tenth of one.
  static constexpr std::chrono::microseconds kPhasePatience{80}, kIdlePatience{1500};
  // What side work may take of each thread in a run: so much, or this share of the run's time till then.
  static constexpr std::chrono::nanoseconds kLentTime{800'000};
  static constexpr int kLentShare = 16;
  void do_side_work(int thread);
  int share_of(int total) const { return total / size_ * 3 / 4; }
  struct alignas(64) Counter {
    std::atomic<int> value{0};
  };
  struct alignas(64) Lent {
    std::chrono::steady_clock::duration time{};
  };
  void serve(int thread);

  const int size_;
  SideWork* const side_work_;
  std::vector<Lent> lent_;  // in this run, by thread
  std::chrono::steady_clock::time_point begin_;
  Barrier start_, phase_, end_;
  const std::function<void(int)>* work_ = nullptr;
  bool stop_ = false;
  std::unique_ptr<Counter[]> next_;
  int range_capacity_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace realm
