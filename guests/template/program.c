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
  static task job;
  static outlet out; /* streams whole characters only */
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  const int32_t session = task_session(&job); /* with the request's prompt in it */
  if (session < 0) return session;
  for (int32_t count = 0; count < job.max_tokens; ++count) {
    uint32_t token;
    char piece[256];
    answer = realm_session_sample(session, 0, &token, 1); /* 0: sampled as the request asks */
    if (answer < 0) return answer;
    if (is_end(&job.ends, token)) break;
    const int32_t size = realm_decode_tokens(job.model, &token, 1, piece, sizeof piece);
    if (size < 0) return size;
    if ((answer = outlet_put(&out, piece, (size_t)size)) < 0) return answer;
  }
  return outlet_flush(&out);
}
