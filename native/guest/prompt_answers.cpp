#include "prompt_answers.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace realm::guest {

namespace {

constexpr uint64_t kMostIds = 64;  // more are worth a turn of the host
constexpr size_t kDecodeArguments = 5;
constexpr size_t kStreamArguments = 2;

uint64_t address_of(const wasmtime_val_t& value) {
  return value.kind == kI64 ? static_cast<uint64_t>(value.of.i64) : static_cast<uint32_t>(value.of.i32);
}

bool lies_inside(uint64_t pointer, uint64_t length, size_t memory_size) {
  return pointer <= memory_size && length <= memory_size - pointer;
}

}  // namespace

// The ranges of Unicode 15, table 3-7: no overlong form, no surrogate, nothing past U+10FFFF.
bool is_utf8(const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size;) {
    const uint8_t first = bytes[i++];
    if (first < 0x80) continue;
    if (first < 0xc2 || first > 0xf4) return false;
    const size_t more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (size - i < more) return false;
    const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[i] < low || bytes[i] > high) return false;
    for (size_t k = 1; k < more; ++k)
      if ((bytes[i + k] & 0xc0) != 0x80) return false;
    i += more;
  }
  return true;
}

void PromptAnswers::know_tokens(int32_t model_id, std::shared_ptr<const TokenTable> table,
                                uint64_t count_limit) {
  tables_[model_id] = Known{std::move(table), std::min(count_limit, kMostIds)};
}

News PromptAnswers::take_news() {
  News taken = std::move(news_);
  news_ = News{};
  return taken;
}

bool PromptAnswers::answer(AnsweredAs kind, const wasmtime_val_t* arguments, size_t argument_count,
                           uint8_t* memory, size_t memory_size, int32_t* answer) {
  if (memory == nullptr) return false;
  try {
    if (kind == AnsweredAs::kDecodeTokens && argument_count == kDecodeArguments)
      return decode_tokens(arguments, memory, memory_size, answer);
    if (kind == AnsweredAs::kStreamToken && argument_count == kStreamArguments)
      return stream_token(arguments, memory, memory_size, answer);
  } catch (const std::bad_alloc&) {  // nothing has been done; the host may find another way
  }
  return false;
}

bool PromptAnswers::decode_tokens(const wasmtime_val_t* arguments, uint8_t* memory, size_t memory_size,
                                  int32_t* answer) {
  const auto known = tables_.find(arguments[0].of.i32);
  if (known == tables_.end()) return false;
  const uint64_t ids_pointer = address_of(arguments[1]);
  const uint64_t count = address_of(arguments[2]);
  const uint64_t out_pointer = address_of(arguments[3]);
  const uint64_t room = address_of(arguments[4]);
  if (count > known->second.count_limit || !lies_inside(ids_pointer, count * sizeof(uint32_t), memory_size) ||
      !lies_inside(out_pointer, room, memory_size))
    return false;
  uint32_t ids[kMostIds];  // a copy: the text may go where the ids are
  std::memcpy(ids, memory + ids_pointer, count * sizeof(uint32_t));
  uint64_t size = 0;
  if (!known->second.table->write(ids, count, memory + out_pointer, std::min<uint64_t>(room, INT32_MAX),
                                  &size))
    return false;
  news_.size = static_cast<int64_t>(size);
  *answer = static_cast<int32_t>(size);
  return true;
}

bool PromptAnswers::stream_token(const wasmtime_val_t* arguments, const uint8_t* memory, size_t memory_size,
                                 int32_t* answer) {
  const uint64_t pointer = address_of(arguments[0]);
  const uint64_t size = address_of(arguments[1]);
  if (size == 0 || size > text_room_ || !lies_inside(pointer, size, memory_size) ||
      !is_utf8(memory + pointer, size))
    return false;
  news_.text.assign(reinterpret_cast<const char*>(memory + pointer), size);
  news_.has_text = true;
  text_room_ = 0;
  *answer = 0;
  return true;
}

}  // namespace realm::guest
