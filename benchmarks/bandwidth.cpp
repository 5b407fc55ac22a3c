// Bytes a second that this many threads read from memory together: the limit of decoding one sequence.
// bandwidth THREADS MEBIBYTES prints {"read_bytes_per_second": ...}, the best of many passes over memory that
// no cache holds. Every thread reads a part of its own, which it wrote first.
#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

constexpr int kPasses = 24;
using Clock = std::chrono::steady_clock;

class Meeting {
 public:
  explicit Meeting(int count) : count_(count) {}
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    const int round = round_;
    if (++arrived_ == count_) {
      arrived_ = 0;
      round_++;
      everyone_.notify_all();
    } else {
      everyone_.wait(lock, [&] { return round != round_; });
    }
  }

 private:
  const int count_;
  int arrived_ = 0, round_ = 0;
  std::mutex mutex_;
  std::condition_variable everyone_;
};

}  // namespace

int main(int count, char** words) {
  const int threads = count > 1 ? std::max(1, std::atoi(words[1])) : 1;
  const size_t bytes = static_cast<size_t>(count > 2 ? std::atoi(words[2]) : 512) << 20;
  const size_t share = bytes / sizeof(uint64_t) / static_cast<size_t>(threads);
  std::vector<uint64_t> sums(static_cast<size_t>(threads));
  // A thread looks at the clock itself: a further one that did would need a core to wake up on.
  std::vector<std::array<Clock::time_point, kPasses>> begins(sums.size()), ends(sums.size());
  Meeting meeting(threads);
  std::vector<std::thread> team;
  for (int thread = 0; thread < threads; thread++) {
    team.emplace_back([&, thread] {
      const std::vector<uint64_t> part(share, static_cast<uint64_t>(thread) + 1);
      uint64_t sum = 0;
      for (int pass = 0; pass < kPasses; pass++) {
        meeting.wait();
        begins[static_cast<size_t>(thread)][static_cast<size_t>(pass)] = Clock::now();
        for (const uint64_t word : part) sum += word;
        ends[static_cast<size_t>(thread)][static_cast<size_t>(pass)] = Clock::now();
      }
      sums[static_cast<size_t>(thread)] = sum;
    });
  }
  for (std::thread& thread : team) thread.join();
  double best = 1e30;
  for (size_t pass = 0; pass < kPasses; pass++) {
    Clock::time_point begin = begins[0][pass], end = ends[0][pass];
    for (size_t thread = 1; thread < sums.size(); thread++) {
      begin = std::min(begin, begins[thread][pass]);
      end = std::max(end, ends[thread][pass]);
    }
    best = std::min(best, std::chrono::duration<double>(end - begin).count());
  }
  uint64_t sum = 0;
  for (const uint64_t each : sums) sum += each;
  const double read = static_cast<double>(share * sizeof(uint64_t)) * threads;
  std::printf("{\"read_bytes_per_second\": %.4e, \"sum\": %llu}\n", read / best,
              static_cast<unsigned long long>(sum));
}
