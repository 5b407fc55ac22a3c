// Host calls that are answered on the guest's own stack, without parking it: those that need nothing but what
// was handed over before. Whatever is not plain (a handle, a range or a token that is not known, no room,
// text that is not UTF-8) is left to the host, which parks the guest and says what is wrong.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "token_table.h"
#include "wasmtime_api.h"

namespace realm::guest {

enum class AnsweredAs { kParked = 0, kDecodeTokens = 1, kStreamToken = 2 };

// What such calls have done since the host last looked. size: what realm_last_size gives, -1 for what it was.
struct News {
  int64_t size = -1;
  bool has_text = false;
  std::string text;  // UTF-8, not empty when there is one
};

class PromptAnswers {
 public:
  // realm_decode_tokens of at most `count_limit` ids on this handle is answered from the table.
  void know_tokens(int32_t model_id, std::shared_ptr<const TokenTable> table, uint64_t count_limit);
  void forget_tokens(int32_t model_id) { tables_.erase(model_id); }
  // One realm_stream_token of at most so many bytes is taken, once; 0 for none.
  void allow_text(uint64_t bytes) { text_room_ = bytes; }
  bool has_news() const { return news_.size >= 0 || news_.has_text; }
  News take_news();

  // Whether the call is answered; it never throws. memory: of the guest, null when it has none.
  bool answer(AnsweredAs kind, const wasmtime_val_t* arguments, size_t argument_count, uint8_t* memory,
              size_t memory_size, int32_t* answer);

 private:
  struct Known {
    std::shared_ptr<const TokenTable> table;
    uint64_t count_limit;
  };
  bool decode_tokens(const wasmtime_val_t* arguments, uint8_t* memory, size_t memory_size, int32_t* answer);
  bool stream_token(const wasmtime_val_t* arguments, const uint8_t* memory, size_t memory_size,
                    int32_t* answer);

  std::map<int32_t, Known> tables_;
  uint64_t text_room_ = 0;
  News news_;
};

bool is_utf8(const uint8_t* bytes, size_t size);

}  // namespace realm::guest
