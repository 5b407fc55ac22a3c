#include "token_table.h"

#include <cstring>
#include <utility>

namespace realm::guest {

void TokenTable::learn(uint32_t token, std::string bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (known_.size() >= capacity_) known_.clear();
  known_[token] = std::move(bytes);
}

bool TokenTable::find(uint32_t token, std::string* bytes) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = known_.find(token);
  if (found == known_.end()) return false;
  *bytes = found->second;
  return true;
}

bool TokenTable::write(const uint32_t* tokens, size_t count, uint8_t* target, uint64_t room,
                       uint64_t* size) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  *size = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto found = known_.find(tokens[i]);
    if (found == known_.end() || found->second.size() > room - *size) return false;
    *size += found->second.size();
  }
  for (size_t i = 0; i < count; ++i) {
    const std::string& bytes = known_.find(tokens[i])->second;
    std::memcpy(target, bytes.data(), bytes.size());
    target += bytes.size();
  }
  return true;
}

}  // namespace realm::guest
