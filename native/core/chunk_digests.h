// SHA-256 of every chunk of an array, computed on a thread of its own while the array is being filled.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "sha256.h"

namespace realm {

constexpr size_t kDigestChunkBytes = size_t{4} << 20;

class ChunkDigests {
 public:
  // The array must outlive this; it is filled from its beginning on.
  ChunkDigests(const uint8_t* bytes, size_t count);
  ~ChunkDigests();  // waits for nothing that is not hashed yet
  ChunkDigests(const ChunkDigests&) = delete;
  ChunkDigests& operator=(const ChunkDigests&) = delete;

  // The first `count` bytes are there and do not change any more.
  void filled(size_t count);
  // Of every chunk, in order; waits until the whole array was filled and hashed.
  const std::vector<Sha256Digest>& wait();

 private:
  void work();

  const uint8_t* const bytes_;
  const size_t count_;
  std::atomic<bool> abandoned_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t filled_ = 0;
  bool done_ = false;
  std::vector<Sha256Digest> digests_;
  std::thread thread_;
};

}  // namespace realm
