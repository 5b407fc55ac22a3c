#include "text.h"

#include "arena.h"
#include "outlet.h"

void text_add(text* self, const char* bytes, size_t size) {
  if (self->has_failed) return;
  if (size > self->room - self->size) {
    const size_t room = (self->size + size) * 2 + 256;
    char* grown = arena_take(room);
    if (!grown) {
      self->has_failed = 1;
      return;
    }
    copy_bytes(grown, self->bytes, self->size);
    self->bytes = grown;
    self->room = room;
  }
  copy_bytes(self->bytes + self->size, bytes, size);
  self->size += size;
}

void text_add_words(text* self, const char* words) {
  size_t size = 0;
  while (words[size]) ++size;
  text_add(self, words, size);
}

void text_add_number(text* self, int64_t number) {
  char digits[20];
  size_t count = 0;
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do digits[sizeof digits - ++count] = (char)('0' + left % 10);
  while ((left /= 10) > 0);
  if (number < 0) text_add(self, "-", 1);
  text_add(self, digits + sizeof digits - count, count);
}

void text_add_thousandths(text* self, float number) {
  const int64_t whole = (int64_t)(number * 1000.0f + (number < 0 ? -0.5f : 0.5f));
  const int64_t size = whole < 0 ? -whole : whole;
  const char digits[4] = {'.', (char)('0' + size / 100 % 10), (char)('0' + size / 10 % 10),
                          (char)('0' + size % 10)};
  if (whole < 0) text_add(self, "-", 1);
  text_add_number(self, size / 1000);
  text_add(self, digits, sizeof digits);
}

void text_add_json(text* self, const char* bytes, size_t size) {
  static const char hex[] = "0123456789abcdef";
  text_add(self, "\"", 1);
  for (size_t i = 0; i < size; ++i) {
    const unsigned char byte = (unsigned char)bytes[i];
    if (byte == '"' || byte == '\\') {
      const char pair[2] = {'\\', (char)byte};
      text_add(self, pair, 2);
    } else if (byte < 0x20) {
      const char code[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
      text_add(self, code, 6);
    } else {
      text_add(self, bytes + i, 1);
    }
  }
  text_add(self, "\"", 1);
}

int32_t text_stream(const text* self) {
  static outlet out; /* it ends empty */
  if (self->has_failed) return -REALM_E_LIMIT;
  const int32_t answer = outlet_put(&out, self->bytes, self->size);
  return answer < 0 ? answer : outlet_flush(&out);
}

int32_t text_respond(const text* self) {
  return self->has_failed ? -REALM_E_LIMIT : realm_respond(self->bytes, self->size);
}
