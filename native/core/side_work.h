// What is to be done beside steps, such as loading an adapter: jobs in small pieces, which the threads of a
// team do where they wait, and a little of in every step, so that no step is held up for long.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace realm {

// Pieces that any thread may do, several at a time.
class SideJob {
 public:
  explicit SideJob(size_t pieces) : pieces_(pieces) {}
  virtual ~SideJob() = default;
  SideJob(const SideJob&) = delete;
  SideJob& operator=(const SideJob&) = delete;

  // Does the next piece, unless it would have to wait for a disk; false when all have begun.
  bool work_once() { return begin_next(false); }
  // Does the next piece, or one that was left because it would have had to wait; false when there is none.
  bool work_or_wait();
  bool has_ended() const { return ended_.load(std::memory_order_acquire) == pieces_; }
  // Until every piece has ended, one is left, or for so long.
  void wait(std::chrono::microseconds most);
  // Does a piece that was left; false when there is none.
  bool work_on_left();

 protected:
  // false: it would have to wait, and may not; nothing was done. Must not throw.
  virtual bool work(size_t piece, bool may_wait) = 0;

 private:
  bool begin_next(bool may_wait);
  void finish();

  const size_t pieces_;
  std::atomic<size_t> next_{0}, ended_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> left_;
};

class SideWork {
 public:
  // All pieces of the job: on this thread where steps leave a core free, else on those that call work_once,
  // but for what has to wait for a disk.
  void run(const std::shared_ptr<SideJob>& job);

  bool is_waiting() const { return waiting_.load(std::memory_order_relaxed) > 0; }
  // One piece of the oldest job; false when there is none.
  bool work_once();

  // Where steps leave time for it: a bit of work on memory for an adapter to come; whether there is more to
  // do.
  bool prepare_memory(size_t bytes) const;

  // The most that a step has lent since this was last asked.
  std::chrono::steady_clock::duration take_most_lent() { return most_lent_.exchange({}); }

  // Told by the team that computes steps: how many threads it has, and each begin and end.
  void set_team(int threads);
  void step_begins() { is_stepping_.store(true, std::memory_order_relaxed); }
  // lent: how long the thread that did most worked on jobs in this step.
  void step_ends(std::chrono::steady_clock::time_point now, std::chrono::steady_clock::duration lent) {
    if (lent > most_lent_.load(std::memory_order_relaxed)) most_lent_.store(lent, std::memory_order_relaxed);
    last_end_.store(now.time_since_epoch(), std::memory_order_relaxed);
    is_stepping_.store(false, std::memory_order_relaxed);
  }

 private:
  bool is_idle() const;
  void remove(const std::shared_ptr<SideJob>& job);

  std::mutex mutex_;
  std::deque<std::shared_ptr<SideJob>> jobs_;
  std::atomic<int> waiting_{0};
  std::atomic<bool> is_stepping_{false}, has_spare_core_{true};
  std::atomic<std::chrono::steady_clock::duration> last_end_{}, most_lent_{};
};

}  // namespace realm
