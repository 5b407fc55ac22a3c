/* The default program of a tenant. One request, a JSON object:
 *   {"model": name, "prompt": text | "messages": [{role, content}...] | "token_ids": [id...],
 *    "options": {"max_tokens", "stop": [text...], "stop_token_ids": [id...], "ignore_eos"}}
 * The sampling policy is the request's own, kept by the host (realm_session_sample with parameters 0). */
#include "arena.h"
#include "json.h"
#include "outlet.h"
#include "realm.h"

#define MAX_ENDS 64
#define MAX_TOKENS_LIMIT 1000000
#define TOKEN_ID_LIMIT 0x7fffffff
#define PIECE_BYTES 1024

typedef struct {
  uint32_t* ids;
  size_t count;
} token_list;

typedef struct {
  uint32_t ids[MAX_ENDS];
  int count;
} end_set;

static int32_t read_ids(json_value array, token_list* list) {
  size_t room = 0;
  if (!json_is(array, '[')) return -REALM_E_JSON;
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) ++room;
  list->ids = arena_take(room * sizeof(uint32_t));
  if (!list->ids) return -REALM_E_LIMIT;
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    const int64_t id = json_whole(item, TOKEN_ID_LIMIT);
    if (id < 0) return -REALM_E_JSON;
    list->ids[list->count++] = (uint32_t)id;
  }
  return 0;
}

static int32_t encode(int32_t model, const char* text, size_t size, uint32_t flags, token_list* list) {
  size_t room = size + 16;
  for (;;) {
    list->ids = arena_take(room * sizeof(uint32_t));
    if (!list->ids) return -REALM_E_LIMIT;
    const int32_t count = realm_encode_text(model, text, size, flags, list->ids, room);
    if (count == -REALM_E_BUFFER) {
      room = (size_t)realm_last_size();
      continue;
    }
    if (count >= 0) list->count = (size_t)count;
    return count < 0 ? count : 0;
  }
}

static int32_t encode_messages(int32_t model, json_value messages, token_list* list) {
  size_t room = 4096;
  for (;;) {
    char* text = arena_take(room);
    if (!text) return -REALM_E_LIMIT;
    const int32_t size =
        realm_render_chat(model, messages.start, (size_t)(messages.end - messages.start), text, room);
    if (size >= 0) return encode(model, text, (size_t)size, REALM_ENCODE_PARSE_SPECIAL, list);
    if (size != -REALM_E_BUFFER) return size;
    room = (size_t)realm_last_size();
  }
}

static int32_t encode_prompt(int32_t model, json_value prompt, token_list* list) {
  char* text = arena_take((size_t)(prompt.end - prompt.start));
  if (!text) return -REALM_E_LIMIT;
  const int64_t size = json_text(prompt, text);
  if (size < 0) return -REALM_E_JSON;
  return encode(model, text, (size_t)size, REALM_ENCODE_ADD_SPECIAL, list);
}

static int32_t load_model(json_value name) {
  char* text = arena_take((size_t)(name.end - name.start) + 1);
  if (!text) return -REALM_E_LIMIT;
  const int64_t size = json_text(name, text);
  return size < 0 ? -REALM_E_JSON : realm_host_load_model_by_name(text, (size_t)size);
}

static int32_t add_ends(json_value array, end_set* ends) {
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    const int64_t id = json_whole(item, TOKEN_ID_LIMIT);
    if (id < 0) return -REALM_E_JSON;
    if (ends->count == MAX_ENDS) return -REALM_E_LIMIT;
    ends->ids[ends->count++] = (uint32_t)id;
  }
  return 0;
}

/* The model's own end-of-generation tokens, from its metadata. */
static int32_t add_model_ends(int32_t model, end_set* ends) {
  size_t room = 16384;
  for (;;) {
    char* text = arena_take(room);
    if (!text) return -REALM_E_LIMIT;
    const int32_t size = realm_get_model_metadata(model, text, room);
    if (size >= 0)
      return add_ends(json_search(json_parse(text, (size_t)size), "end_of_generation_ids"), ends);
    if (size != -REALM_E_BUFFER) return size;
    room = (size_t)realm_last_size();
  }
}

static int is_end(const end_set* ends, uint32_t id) {
  for (int i = 0; i < ends->count; ++i)
    if (ends->ids[i] == id) return 1;
  return 0;
}

static int32_t read_stops(json_value array, outlet* out) {
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    char* text = arena_take((size_t)(item.end - item.start));
    if (!text || out->stop_count == OUTLET_MAX_STOPS) return -REALM_E_LIMIT;
    const int64_t size = json_text(item, text);
    if (size <= 0) return -REALM_E_JSON;
    out->stops[out->stop_count++] = (outlet_stop){text, (size_t)size};
  }
  return 0;
}

static size_t put_text(char* target, const char* text) {
  size_t size = 0;
  for (; text[size]; ++size) target[size] = text[size];
  return size;
}

static int32_t respond(const char* reason, uint32_t tokens) {
  char text[96];
  char digits[10];
  int count = 0;
  size_t size = put_text(text, "{\"finish_reason\":\"");
  size += put_text(text + size, reason);
  size += put_text(text + size, "\",\"completion_tokens\":");
  do digits[count++] = (char)('0' + tokens % 10);
  while ((tokens /= 10) > 0);
  while (count > 0) text[size++] = digits[--count];
  text[size++] = '}';
  return realm_respond(text, size);
}

static int32_t generate(int32_t model, const token_list* prompt, json_value options) {
  static outlet out;
  static end_set ends;
  static char piece[PIECE_BYTES];
  int32_t answer;
  const int64_t max_tokens = json_whole(json_member(options, "max_tokens"), MAX_TOKENS_LIMIT);
  if (max_tokens < 1) return -REALM_E_JSON;
  if (!json_is(json_member(options, "ignore_eos"), 't') && (answer = add_model_ends(model, &ends)) < 0)
    return answer;
  if ((answer = add_ends(json_member(options, "stop_token_ids"), &ends)) < 0) return answer;
  if ((answer = read_stops(json_member(options, "stop"), &out)) < 0) return answer;

  const int32_t session = realm_session_open(model);
  if (session < 0) return session;
  if ((answer = realm_session_prefill(session, prompt->ids, prompt->count)) < 0) return answer;
  const char* reason = "length";
  uint32_t tokens = 0;
  while (tokens < (uint32_t)max_tokens) {
    uint32_t id;
    answer = realm_session_sample(session, 0, &id, 1);
    if (answer == -REALM_E_CONTEXT && tokens > 0) break; /* the context is full: as far as it goes */
    if (answer < 0) return answer;
    if (is_end(&ends, id)) {
      reason = "stop";
      break;
    }
    ++tokens;
    const int32_t size = realm_decode_tokens(model, &id, 1, piece, PIECE_BYTES);
    if (size < 0) return size;
    if ((answer = outlet_put(&out, piece, (size_t)size)) < 0) return answer;
    if (answer == 1) {
      reason = "stop";
      break;
    }
  }
  if ((answer = outlet_flush(&out)) < 0) return answer;
  if (answer == 1) reason = "stop";
  if ((answer = realm_session_close(session)) < 0) return answer;
  return respond(reason, tokens);
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  const json_value request = json_parse(request_ptr, request_len);
  if (!json_is(request, '{')) return -REALM_E_JSON;
  const int32_t model = load_model(json_member(request, "model"));
  if (model < 0) return model;
  token_list prompt = {0, 0};
  const json_value messages = json_member(request, "messages");
  const json_value text = json_member(request, "prompt");
  int32_t answer;
  if (messages.end) answer = encode_messages(model, messages, &prompt);
  else if (text.end) answer = encode_prompt(model, text, &prompt);
  else answer = read_ids(json_member(request, "token_ids"), &prompt);
  if (answer < 0) return answer;
  return generate(model, &prompt, json_member(request, "options"));
}
