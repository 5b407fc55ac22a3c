/* Reading JSON in place, without recursion: a value is a range of the text. Malformed text is refused, depth is
 * bounded, and nothing outside the range is ever read. */
#ifndef REALM_JSON_H
#define REALM_JSON_H

#include "realm.h"

typedef struct {
  const char* start;
  const char* end; /* one past the last character; start == end: absent */
} json_value;

/* The whole text as one value; absent when it is not JSON. */
json_value json_parse(const char* text, size_t length);
int json_is(json_value value, char first); /* '{', '[', '"', or 'n' for null; 't' and 'f' for the booleans */
/* The member of an object; absent when it is not an object or has no such member. */
json_value json_member(json_value object, const char* name);
/* The first member of that name at any depth. */
json_value json_search(json_value value, const char* name);
/* Elements of an array: start from json_first, go on until the answer is absent. */
json_value json_first(json_value array);
json_value json_next(json_value array, json_value element);
/* A whole number in 0..limit, or -1. */
int64_t json_whole(json_value value, int64_t limit);
/* A string's bytes into out (which needs no more room than the value has characters), or -1. */
int64_t json_text(json_value value, char* out);

#endif
