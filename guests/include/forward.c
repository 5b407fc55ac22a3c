#include "forward.h"

#include "arena.h"

int32_t read_shape(int32_t model, model_shape* shape) {
  json_value metadata;
  const int32_t size = read_metadata(model, &metadata);
  if (size < 0) return size;
  const int64_t layers = json_whole(json_search(metadata, "layer_count"), 1 << 24);
  const int64_t hidden_size = json_whole(json_search(metadata, "hidden_size"), 1 << 24);
  const int64_t vocabulary = json_whole(json_search(metadata, "vocabulary_size"), 1 << 24);
  if (layers < 1 || hidden_size < 1 || vocabulary < 1) return -REALM_E_MODEL;
  *shape = (model_shape){(int32_t)layers, (size_t)hidden_size, (size_t)vocabulary};
  return 0;
}

int32_t forward_logits(int32_t model, const model_shape* shape, const token_list* tokens, float** logits) {
  const size_t values = tokens->count * shape->hidden_size;
  float* hidden = arena_take(values * sizeof(float));
  *logits = arena_take(shape->vocabulary * sizeof(float));
  if (!hidden || !*logits) return -REALM_E_LIMIT;
  int32_t answer = realm_embed_tokens(model, tokens->ids, tokens->count, hidden);
  for (int32_t layer = 0; layer < shape->layers && answer >= 0; ++layer)
    answer = realm_forward_layer(model, layer, hidden, values, 0, hidden);
  if (answer < 0) return answer;
  return realm_compute_logits(model, hidden + values - shape->hidden_size, shape->hidden_size, *logits);
}
