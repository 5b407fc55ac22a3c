#include "outlet.h"

#include "arena.h"

/* How many continuation bytes follow this first byte; -1 for one that begins no character. The range of the
 * first continuation byte excludes overlong forms and surrogates (Unicode 15, table 3-7). */
static int follows(unsigned char first, unsigned char* low, unsigned char* high) {
  *low = 0x80;
  *high = 0xbf;
  if (first < 0x80) return 0;
  if (first >= 0xc2 && first <= 0xdf) return 1;
  if (first >= 0xe0 && first <= 0xef) {
    if (first == 0xe0) *low = 0xa0;
    if (first == 0xed) *high = 0x9f;
    return 2;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (first == 0xf0) *low = 0x90;
    if (first == 0xf4) *high = 0x8f;
    return 3;
  }
  return -1;
}

static int32_t make_room(outlet* self, size_t more) {
  if (self->held_size + more <= self->held_room) return 0;
  const size_t room = (self->held_size + more) * 2 + 256;
  char* grown = arena_take(room);
  if (!grown) return -REALM_E_LIMIT;
  copy_bytes(grown, self->held, self->held_size);
  self->held = grown;
  self->held_room = room;
  return 0;
}

static void hold(outlet* self, const char* bytes, size_t size) {
  copy_bytes(self->held + self->held_size, bytes, size);
  self->held_size += size;
}

static void hold_replacement(outlet* self) {
  hold(self, "\xef\xbf\xbd", 3);
  self->tail_size = 0;
}

/* One byte at a time: the longest beginning of a character that breaks off becomes one U+FFFD. */
static void take_byte(outlet* self, unsigned char byte) {
  unsigned char low, high;
  if (self->tail_size > 0) {
    const int needed = follows(self->tail[0], &low, &high);
    if (self->tail_size > 1) low = 0x80, high = 0xbf;
    if (byte >= low && byte <= high) {
      self->tail[self->tail_size++] = byte;
      if (self->tail_size == (size_t)needed + 1) {
        hold(self, (const char*)self->tail, self->tail_size);
        self->tail_size = 0;
      }
      return;
    }
    hold_replacement(self);
  }
  const int needed = follows(byte, &low, &high);
  if (needed < 0) {
    hold_replacement(self);
  } else {
    self->tail[0] = byte;
    self->tail_size = 1;
    if (needed == 0) {
      hold(self, (const char*)self->tail, 1);
      self->tail_size = 0;
    }
  }
}

static int32_t stream_first(outlet* self, size_t size) {
  if (size == 0) return 0;
  const int32_t answer = realm_stream_token(self->held, size);
  if (answer < 0) return answer;
  self->held_size -= size;
  copy_bytes(self->held, self->held + size, self->held_size);
  return 0;
}

static size_t first_stop(const outlet* self) {
  size_t first = self->held_size;
  for (int i = 0; i < self->stop_count; ++i) {
    const outlet_stop* stop = &self->stops[i];
    for (size_t at = 0; at < first && at + stop->size <= self->held_size; ++at)
      if (same_bytes(self->held + at, stop->text, stop->size)) first = at;
  }
  return first;
}

static size_t possible_stop(const outlet* self) {
  size_t longest = 0;
  for (int i = 0; i < self->stop_count; ++i) {
    const outlet_stop* stop = &self->stops[i];
    size_t size = stop->size - 1 < self->held_size ? stop->size - 1 : self->held_size;
    for (; size > longest; --size)
      if (same_bytes(self->held + self->held_size - size, stop->text, size)) longest = size;
  }
  return longest;
}

/* Streams up to a stop string (1), or else what cannot become one any more (0). */
static int32_t stream_certain(outlet* self, int at_end) {
  const size_t stop = first_stop(self);
  if (stop == self->held_size)
    return stream_first(self, at_end ? self->held_size : self->held_size - possible_stop(self));
  const int32_t answer = stream_first(self, stop);
  self->held_size = 0;
  self->tail_size = 0;
  return answer < 0 ? answer : 1;
}

int32_t outlet_put(outlet* self, const char* bytes, size_t size) {
  const int32_t room = make_room(self, size * 3 + 8);
  if (room < 0) return room;
  for (size_t i = 0; i < size; ++i) take_byte(self, (unsigned char)bytes[i]);
  return stream_certain(self, 0);
}

int32_t outlet_flush(outlet* self) {
  const int32_t room = make_room(self, 3);
  if (room < 0) return room;
  if (self->tail_size > 0) hold_replacement(self);
  return stream_certain(self, 1);
}
