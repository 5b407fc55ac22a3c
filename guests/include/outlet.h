/* From token bytes to the client: holds back characters that are not whole yet and text that may become a stop
 * string, and streams the rest. */
#ifndef REALM_OUTLET_H
#define REALM_OUTLET_H

#include "realm.h"

#define OUTLET_MAX_STOPS 16

typedef struct {
  const char* text;
  size_t size;
} outlet_stop;

typedef struct {
  outlet_stop stops[OUTLET_MAX_STOPS];
  int stop_count;
  unsigned char tail[4]; /* the beginning of a character */
  size_t tail_size;
  char* held; /* whole characters that are not streamed yet */
  size_t held_size;
  size_t held_room;
} outlet;

/* Takes a token's bytes; 1 when a stop string appeared (what stood before it is streamed), 0 otherwise, or a
 * negative error. */
int32_t outlet_put(outlet* self, const char* bytes, size_t size);
/* Streams what is still held; a character that never became whole is written as U+FFFD. Answers as outlet_put. */
int32_t outlet_flush(outlet* self);

#endif
