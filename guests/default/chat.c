/* The default program of a tenant. One request, a JSON object:
 *   {"model": name, "prompt": text | "messages": [{role, content}...] | "token_ids": [id...],
 *    "options": {"max_tokens", "stop": [text...], "stop_token_ids": [id...], "ignore_eos"}}
 * The sampling policy is the request's own, kept by the host (realm_session_sample with parameters 0). */
#include "arena.h"
#include "generation.h"
#include "json.h"
#include "outlet.h"
#include "realm.h"
#include "text.h"

#define PIECE_BYTES 1024

static int32_t read_stops(json_value array, outlet* out) {
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    char* words = arena_take((size_t)(item.end - item.start));
    if (!words || out->stop_count == OUTLET_MAX_STOPS) return -REALM_E_LIMIT;
    const int64_t size = json_text(item, words);
    if (size <= 0) return -REALM_E_JSON;
    out->stops[out->stop_count++] = (outlet_stop){words, (size_t)size};
  }
  return 0;
}

static int32_t respond(const char* reason, int32_t tokens) {
  text response = {0};
  text_add_words(&response, "{\"finish_reason\":\"");
  text_add_words(&response, reason);
  text_add_words(&response, "\",\"completion_tokens\":");
  text_add_number(&response, tokens);
  text_add_words(&response, "}");
  return text_respond(&response);
}

static int32_t generate(int32_t model, const token_list* prompt, json_value request) {
  static outlet out;
  static end_set ends;
  static char piece[PIECE_BYTES];
  int32_t answer;
  const json_value options = json_member(request, "options");
  const int32_t max_tokens = requested_number(request, "max_tokens");
  if (max_tokens < 1) return -REALM_E_JSON;
  if (!json_is(json_member(options, "ignore_eos"), 't') && (answer = add_model_ends(model, &ends)) < 0)
    return answer;
  if ((answer = add_ends(json_member(options, "stop_token_ids"), &ends)) < 0) return answer;
  if ((answer = read_stops(json_member(options, "stop"), &out)) < 0) return answer;

  const int32_t session = realm_session_open(model);
  if (session < 0) return session;
  if ((answer = realm_session_prefill(session, prompt->ids, prompt->count)) < 0) return answer;
  const char* reason = "length";
  int32_t tokens = 0;
  while (tokens < max_tokens) {
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
  token_list prompt = {0, 0};
  const json_value request = json_parse(request_ptr, request_len);
  if (!json_is(request, '{')) return -REALM_E_JSON;
  const int32_t model = requested_model(request);
  if (model < 0) return model;
  const int32_t answer = requested_tokens(model, request, &prompt);
  return answer < 0 ? answer : generate(model, &prompt, request);
}
