/* A program for Realm: it decides how a request becomes text. The host keeps the model and does the
 * arithmetic.
 *
 *   realm guests build .
 *   realm guests check program.wasm
 *   realm guests run program.wasm --model smollm2 --chat --prompt "What is the capital of France?"
 *
 * The request is a JSON object: {"model": name, "prompt": text | "messages": [...] | "token_ids": [...],
 * "options": {"max_tokens": number, ...}}. realm.h says what the host's functions do. A negative number that
 * realm_handle returns becomes the request's error. */
#include "generation.h"
#include "outlet.h"
#include "realm.h"

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static outlet out; /* streams whole characters only */
  static end_set ends;
  token_list prompt;
  int32_t answer;
  const json_value request = json_parse(request_ptr, request_len);
  const int32_t model = requested_model(request);
  if (model < 0) return model;
  const int32_t max_tokens = requested_number(request, "max_tokens");
  if (max_tokens < 0) return max_tokens;
  if ((answer = requested_tokens(model, request, &prompt)) < 0) return answer;
  if ((answer = add_model_ends(model, &ends)) < 0) return answer;

  const int32_t session = realm_session_open(model);
  if (session < 0) return session;
  if ((answer = realm_session_prefill(session, prompt.ids, prompt.count)) < 0) return answer;
  for (int32_t count = 0; count < max_tokens; ++count) {
    uint32_t token;
    char piece[256];
    answer = realm_session_sample(session, 0, &token, 1); /* 0: sampled as the request asks */
    if (answer < 0) return answer;
    if (is_end(&ends, token)) break;
    const int32_t size = realm_decode_tokens(model, &token, 1, piece, sizeof piece);
    if (size < 0) return size;
    if ((answer = outlet_put(&out, piece, (size_t)size)) < 0) return answer;
  }
  return outlet_flush(&out);
}
