#include "chunk_digests.h"

#include <algorithm>

namespace realm {

ChunkDigests::ChunkDigests(const uint8_t* bytes, size_t count)
    : bytes_(bytes),
      count_(count),
      digests_((count + kDigestChunkBytes - 1) / kDigestChunkBytes),
      thread_([this] { work(); }) {}

ChunkDigests::~ChunkDigests() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    abandoned_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ChunkDigests::filled(size_t count) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    filled_ = std::max(filled_, count);
  }
  changed_.notify_all();
}

const std::vector<Sha256Digest>& ChunkDigests::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return done_; });
  return digests_;
}

void ChunkDigests::work() {
  for (size_t chunk = 0; chunk < digests_.size() && !abandoned_;) {
    const size_t first_end = std::min(count_, (chunk + 1) * kDigestChunkBytes);
    const size_t second_end = std::min(count_, first_end + kDigestChunkBytes);
    bool is_pair;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return filled_ >= first_end || abandoned_; });
      is_pair = filled_ >= second_end && second_end > first_end;
    }
    const uint8_t* first = bytes_ + chunk * kDigestChunkBytes;
    const uint8_t* texts[2] = {first, bytes_ + first_end};
    const size_t bytes[2] = {static_cast<size_t>(bytes_ + first_end - first), second_end - first_end};
    sha256(texts, bytes, is_pair ? 2 : 1, abandoned_, digests_.data() + chunk);
    chunk += is_pair ? 2 : 1;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
}

}  // namespace realm
