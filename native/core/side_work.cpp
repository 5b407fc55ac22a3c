#include "side_work.h"

#include <algorithm>
#include <thread>

#include "formats.h"

namespace realm {
namespace {

// A team that has had no step for so long has none to do.
constexpr std::chrono::milliseconds kIdle{2};
// Looking whether it is so costs those who compute a little.
constexpr std::chrono::microseconds kLook{4000};

}  // namespace

bool SideJob::begin_next(bool may_wait) {
  const size_t piece = next_.fetch_add(1, std::memory_order_relaxed);
  if (piece >= pieces_) return false;
  if (work(piece, may_wait)) {
    finish();
  } else {
    const std::lock_guard<std::mutex> lock(mutex_);
    left_.push_back(piece);
    changed_.notify_all();
  }
  return true;
}

void SideJob::finish() {
  if (ended_.fetch_add(1, std::memory_order_acq_rel) + 1 < pieces_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

bool SideJob::work_on_left() {
  size_t piece;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (left_.empty()) return false;
    piece = left_.back();
    left_.pop_back();
  }
  work(piece, true);
  finish();
  return true;
}

bool SideJob::work_or_wait() { return work_on_left() || begin_next(true); }

void SideJob::wait(std::chrono::microseconds most) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, most, [this] { return has_ended() || !left_.empty(); });
}

void SideWork::set_team(int threads) {
  has_spare_core_ = static_cast<int>(std::thread::hardware_concurrency()) > threads;
}

bool SideWork::is_idle() const {
  const auto since = std::chrono::steady_clock::now().time_since_epoch() - last_end_.load();
  return !is_stepping_ && since > kIdle;
}

void SideWork::run(const std::shared_ptr<SideJob>& job) {
  if (!has_spare_core_) {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(job);
    waiting_.fetch_add(1, std::memory_order_relaxed);
  }
  while (!job->has_ended()) {
    const bool is_free = has_spare_core_ || is_idle();
    if (!(is_free ? job->work_or_wait() : job->work_on_left())) job->wait(kLook);
  }
  remove(job);
}

bool SideWork::prepare_memory(size_t bytes) const {
  return (has_spare_core_ || is_idle()) && Arena::prepare(bytes);
}

bool SideWork::work_once() {
  std::shared_ptr<SideJob> job;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (jobs_.empty()) return false;
    job = jobs_.front();
  }
  if (job->work_once()) return true;
  remove(job);
  return is_waiting();
}

void SideWork::remove(const std::shared_ptr<SideJob>& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find(jobs_.begin(), jobs_.end(), job);
  if (found == jobs_.end()) return;
  jobs_.erase(found);
  waiting_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace realm
