#include "generation.h"

#include "arena.h"
#include "outlet.h"

#define TOKEN_ID_LIMIT 0x7fffffff
#define PIECE_BYTES 1024
#define ENDED INT32_MIN /* no error's number */

static size_t length(json_value value) { return (size_t)(value.end - value.start); }

static int32_t read_string(json_value value, char** words) {
  if (!json_is(value, '"')) return -REALM_E_JSON;
  if (!(*words = arena_take(length(value)))) return -REALM_E_LIMIT;
  const int64_t size = json_text(value, *words);
  return size < 0 ? -REALM_E_JSON : (int32_t)size;
}

static int32_t read_ids(json_value array, token_list* list) {
  size_t room = 0;
  if (!json_is(array, '[')) return -REALM_E_JSON;
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) ++room;
  list->ids = arena_take(room * sizeof(uint32_t));
  list->count = 0;
  if (!list->ids) return -REALM_E_LIMIT;
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    const int64_t id = json_whole(item, TOKEN_ID_LIMIT);
    if (id < 0) return -REALM_E_JSON;
    list->ids[list->count++] = (uint32_t)id;
  }
  return 0;
}

int32_t encode(int32_t model, const char* words, size_t size, uint32_t flags, token_list* list) {
  size_t room = size + 16;
  for (;;) {
    list->ids = arena_take(room * sizeof(uint32_t));
    if (!list->ids) return -REALM_E_LIMIT;
    const int32_t count = realm_encode_text(model, words, size, flags, list->ids, room);
    if (count == -REALM_E_BUFFER) {
      room = (size_t)realm_last_size();
      continue;
    }
    if (count >= 0) list->count = (size_t)count;
    return count < 0 ? count : 0;
  }
}

static int32_t encode_messages(int32_t model, const char* messages, size_t messages_size, token_list* list) {
  size_t room = 4096;
  for (;;) {
    char* words = arena_take(room);
    if (!words) return -REALM_E_LIMIT;
    const int32_t size = realm_render_chat(model, messages, messages_size, words, room);
    if (size >= 0) return encode(model, words, (size_t)size, REALM_ENCODE_PARSE_SPECIAL, list);
    if (size != -REALM_E_BUFFER) return size;
    room = (size_t)realm_last_size();
  }
}

int32_t encode_question(int32_t model, const char* words, size_t size, token_list* list) {
  text messages = {0};
  text_add_words(&messages, "[{\"role\":\"user\",\"content\":");
  text_add_json(&messages, words, size);
  text_add_words(&messages, "}]");
  if (messages.has_failed) return -REALM_E_LIMIT;
  return encode_messages(model, messages.bytes, messages.size, list);
}

int32_t requested_model(json_value request) {
  char* name;
  const int32_t size = read_string(json_member(request, "model"), &name);
  return size < 0 ? size : realm_host_load_model_by_name(name, (size_t)size);
}

int32_t requested_tokens(int32_t model, json_value request, token_list* list) {
  const json_value messages = json_member(request, "messages");
  const json_value prompt = json_member(request, "prompt");
  if (messages.end) return encode_messages(model, messages.start, length(messages), list);
  if (!prompt.end) return read_ids(json_member(request, "token_ids"), list);
  char* words;
  const int32_t size = read_string(prompt, &words);
  return size < 0 ? size : encode(model, words, (size_t)size, REALM_ENCODE_ADD_SPECIAL, list);
}

int32_t requested_question(json_value request, text* question) {
  json_value asked = json_member(request, "prompt");
  const json_value messages = json_member(request, "messages");
  for (json_value item = json_first(messages); item.end; item = json_next(messages, item))
    asked = json_member(item, "content");
  char* words;
  const int32_t size = read_string(asked, &words);
  if (size < 0) return size;
  text_add(question, words, (size_t)size);
  return question->has_failed ? -REALM_E_LIMIT : 0;
}

int32_t requested_number(json_value request, const char* name) {
  const int64_t number = json_whole(json_member(json_member(request, "options"), name), MAX_TOKENS_LIMIT);
  return number < 0 ? -REALM_E_JSON : (int32_t)number;
}

int32_t add_ends(json_value array, end_set* ends) {
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    const int64_t id = json_whole(item, TOKEN_ID_LIMIT);
    if (id < 0) return -REALM_E_JSON;
    if (ends->count == MAX_ENDS) return -REALM_E_LIMIT;
    ends->ids[ends->count++] = (uint32_t)id;
  }
  return 0;
}

int32_t read_metadata(int32_t model, json_value* metadata) {
  size_t room = 16384;
  for (;;) {
    char* words = arena_take(room);
    if (!words) return -REALM_E_LIMIT;
    const int32_t size = realm_get_model_metadata(model, words, room);
    if (size >= 0) *metadata = json_parse(words, (size_t)size);
    if (size != -REALM_E_BUFFER) return size;
    room = (size_t)realm_last_size();
  }
}

int32_t add_model_ends(int32_t model, end_set* ends) {
  json_value metadata;
  const int32_t size = read_metadata(model, &metadata);
  return size < 0 ? size : add_ends(json_search(metadata, "end_of_generation_ids"), ends);
}

int is_end(const end_set* ends, uint32_t id) {
  for (int i = 0; i < ends->count; ++i)
    if (ends->ids[i] == id) return 1;
  return 0;
}

int32_t task_begin(task* self, const char* request_ptr, size_t request_len) {
  self->request = json_parse(request_ptr, request_len);
  if ((self->model = requested_model(self->request)) < 0) return self->model;
  if ((self->max_tokens = requested_number(self->request, "max_tokens")) < 0) return self->max_tokens;
  return add_model_ends(self->model, &self->ends);
}

int32_t task_session(const task* self) {
  token_list prompt;
  const int32_t answer = requested_tokens(self->model, self->request, &prompt);
  return answer < 0 ? answer : open_session(self->model, &prompt);
}

int32_t open_session(int32_t model, const token_list* prompt) {
  const int32_t session = realm_session_open(model);
  if (session < 0) return session;
  const int32_t answer = realm_session_prefill(session, prompt->ids, prompt->count);
  return answer < 0 ? answer : session;
}

/* The next token's bytes: how many, or ENDED. */
static int32_t next_piece(int32_t model, int32_t session, const end_set* ends,
                          const realm_sample_params* policy, char* piece) {
  uint32_t id;
  const int32_t sampled = realm_session_sample(session, policy, &id, 1);
  if (sampled < 0) return sampled;
  return is_end(ends, id) ? ENDED : realm_decode_tokens(model, &id, 1, piece, PIECE_BYTES);
}

int32_t generate_answer(int32_t model, int32_t session, const end_set* ends,
                        const realm_sample_params* policy, int32_t max_tokens, text* answer) {
  static char piece[PIECE_BYTES];
  for (int32_t count = 0; count < max_tokens; ++count) {
    const int32_t size = next_piece(model, session, ends, policy, piece);
    if (size == ENDED) return count;
    if (size < 0) return size;
    text_add(answer, piece, (size_t)size);
  }
  return max_tokens;
}

int32_t stream_answer(int32_t model, int32_t session, const end_set* ends, const realm_sample_params* policy,
                      int32_t max_tokens) {
  static outlet out; /* it ends empty */
  static char piece[PIECE_BYTES];
  int32_t answer, count = 0;
  for (; count < max_tokens; ++count) {
    const int32_t size = next_piece(model, session, ends, policy, piece);
    if (size == ENDED) break;
    if (size < 0) return size;
    if ((answer = outlet_put(&out, piece, (size_t)size)) < 0) return answer;
  }
  answer = outlet_flush(&out);
  return answer < 0 ? answer : count;
}
