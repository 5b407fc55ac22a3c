#include "cache_pool.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace realm {

CachePool::CachePool(size_t page_bytes, int page_count, CacheForm form)
    : page_bytes_(page_bytes), page_count_(page_count), form_(form) {
  void* base = mmap(nullptr, page_bytes * static_cast<size_t>(page_count), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<uint8_t*>(base);
}

CachePool::~CachePool() { munmap(base_, page_bytes_ * static_cast<size_t>(page_count_)); }

void CachePool::release(int index) {
  // Whole machine pages inside go back to the system; the edges are cleared by hand.
  constexpr uintptr_t kMachinePage = 4096;
  uint8_t *begin = page(index), *end = begin + page_bytes_;
  uint8_t* inner_begin = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(begin) + kMachinePage - 1) &
                                                    ~(kMachinePage - 1));
  uint8_t* inner_end = reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(end) & ~(kMachinePage - 1));
  if (inner_begin >= inner_end ||
      madvise(inner_begin, static_cast<size_t>(inner_end - inner_begin), MADV_DONTNEED) != 0) {
    std::memset(begin, 0, page_bytes_);
    return;
  }
  std::memset(begin, 0, static_cast<size_t>(inner_begin - begin));
  std::memset(inner_end, 0, static_cast<size_t>(end - inner_end));
}

void CachePool::copy(int from, int to) { std::memcpy(page(to), page(from), page_bytes_); }

}  // namespace realm
