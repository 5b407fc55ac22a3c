// Memory of the cache pages of one model: reserved at once, used only as pages fill.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace realm {

class CachePool {
 public:
  CachePool(size_t page_bytes, int page_count, CacheForm form);
  ~CachePool();
  CachePool(const CachePool&) = delete;
  CachePool& operator=(const CachePool&) = delete;
  uint8_t* page(int index) const { return base_ + page_bytes_ * static_cast<size_t>(index); }
  size_t page_bytes() const { return page_bytes_; }
  int page_count() const { return page_count_; }
  CacheForm form() const { return form_; }
  void release(int index);  // gives the page's memory back; it reads as zeros afterwards
  void copy(int from, int to);

 private:
  uint8_t* base_;
  size_t page_bytes_;
  int page_count_;
  CacheForm form_;
};

}  // namespace realm
