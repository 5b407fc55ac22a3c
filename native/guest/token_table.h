// The bytes of a model's tokens, learnt one by one as they are asked for; every guest of the model shares
// them.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace realm::guest {

class TokenTable {
 public:
  explicit TokenTable(size_t capacity) : capacity_(capacity) {}
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  // Beyond its capacity it forgets them all first.
  void learn(uint32_t token, std::string bytes);
  bool find(uint32_t token, std::string* bytes) const;
  // Writes the bytes of all tokens one after another and their size, or nothing: false when one of them is
  // not known, or when they have more than `room` bytes.
  bool write(const uint32_t* tokens, size_t count, uint8_t* target, uint64_t room, uint64_t* size) const;

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, std::string> known_;
};

}  // namespace realm::guest
