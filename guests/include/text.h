/* Text that grows. A failure to grow stays: what follows adds nothing, and text_stream and text_respond tell.
 */
#ifndef REALM_TEXT_H
#define REALM_TEXT_H

#include "realm.h"

typedef struct {
  char* bytes;
  size_t size;
  size_t room;
  int has_failed;
} text;

void text_add(text* self, const char* bytes, size_t size);
void text_add_words(text* self, const char* words); /* up to its zero */
void text_add_number(text* self, int64_t number);
void text_add_thousandths(text* self, float number);            /* as -1.250 */
void text_add_json(text* self, const char* bytes, size_t size); /* as a JSON string, quoted */

/* To the client now; bytes that are no UTF-8 go as U+FFFD. */
int32_t text_stream(const text* self);
/* As the response. */
int32_t text_respond(const text* self);

#endif
