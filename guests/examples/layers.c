/* Runs a model layer by layer: embed, every layer, final norm and head; responds with the raw f32 logits of the
 * last position. Request: {"model": name, "token_ids": [id...]}. */
#include "arena.h"
#include "json.h"
#include "realm.h"

#define MAX_TOKENS 4096

static int64_t fact(json_value metadata, const char* name) {
  return json_whole(json_search(metadata, name), 1 << 24);
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  const json_value request = json_parse(request_ptr, request_len);
  const json_value name = json_member(request, "model");
  char* text = arena_take(request_len + 1);
  uint32_t* ids = arena_take(MAX_TOKENS * sizeof(uint32_t));
  char* facts = arena_take(1 << 16);
  if (!text || !ids || !facts) return -REALM_E_LIMIT;
  const int64_t name_size = json_text(name, text);
  if (name_size < 0) return -REALM_E_JSON;
  const int32_t model = realm_host_load_model_by_name(text, (size_t)name_size);
  if (model < 0) return model;
  int32_t size = realm_get_model_metadata(model, facts, 1 << 16);
  if (size == -REALM_E_BUFFER) {
    const size_t needed = (size_t)realm_last_size();
    if (!(facts = arena_take(needed))) return -REALM_E_LIMIT;
    size = realm_get_model_metadata(model, facts, needed);
  }
  if (size < 0) return size;
  const json_value metadata = json_parse(facts, (size_t)size);
  const int64_t layers = fact(metadata, "layer_count");
  const int64_t hidden_size = fact(metadata, "hidden_size");
  const int64_t vocabulary = fact(metadata, "vocabulary_size");
  if (layers < 1 || hidden_size < 1 || vocabulary < 1) return -REALM_E_MODEL;

  size_t count = 0;
  const json_value array = json_member(request, "token_ids");
  for (json_value item = json_first(array); item.end; item = json_next(array, item)) {
    const int64_t id = json_whole(item, vocabulary);
    if (id < 0 || count == MAX_TOKENS) return -REALM_E_JSON;
    ids[count++] = (uint32_t)id;
  }
  if (count == 0) return -REALM_E_JSON;
  const size_t values = count * (size_t)hidden_size;
  float* hidden = arena_take(values * sizeof(float));
  float* logits = arena_take((size_t)vocabulary * sizeof(float));
  if (!hidden || !logits) return -REALM_E_LIMIT;
  int32_t answer = realm_embed_tokens(model, ids, count, hidden);
  for (int32_t layer = 0; layer < layers && answer >= 0; ++layer)
    answer = realm_forward_layer(model, layer, hidden, values, 0, hidden);
  if (answer >= 0)
    answer = realm_compute_logits(model, hidden + values - (size_t)hidden_size, (size_t)hidden_size, logits);
  if (answer < 0) return answer;
  return realm_respond((const char*)logits, (size_t)vocabulary * sizeof(float));
}
