/* Leaves the whole generation to the host. Request: {"model": name, "prompt": text}. */
#include "arena.h"
#include "json.h"
#include "realm.h"

#define OUTPUT_BYTES 65536

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  const json_value request = json_parse(request_ptr, request_len);
  char* name = arena_take(request_len + 1);
  char* prompt = arena_take(request_len + 1);
  char* output = arena_take(OUTPUT_BYTES);
  if (!name || !prompt || !output) return -REALM_E_LIMIT;
  const int64_t name_size = json_text(json_member(request, "model"), name);
  const int64_t prompt_size = json_text(json_member(request, "prompt"), prompt);
  if (name_size < 0 || prompt_size < 0) return -REALM_E_JSON;
  const int32_t model = realm_host_load_model_by_name(name, (size_t)name_size);
  if (model < 0) return model;
  const int32_t size = realm_host_generate(model, prompt, (size_t)prompt_size, 0, output, OUTPUT_BYTES);
  if (size < 0) return size;
  return realm_stream_token(output, (size_t)size);
}
