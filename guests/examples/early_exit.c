/* Looks into the layers: what the model would say after each of them, and from which one on it says what it
 * says in the end. Runs the prompt layer by layer and puts the final norm and head on the last position's
 * hidden states. The response: {"layers": [token id...], "settled": layer}; layer 0 is the embedding. */
#include "arena.h"
#include "forward.h"

static uint32_t most_likely(const float* logits, size_t count) {
  uint32_t best = 0;
  for (size_t i = 1; i < count; ++i)
    if (logits[i] > logits[best]) best = (uint32_t)i;
  return best;
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  token_list prompt;
  model_shape shape;
  int32_t answer;
  const json_value request = json_parse(request_ptr, request_len);
  const int32_t model = requested_model(request);
  if (model < 0) return model;
  if ((answer = requested_tokens(model, request, &prompt)) < 0) return answer;
  if ((answer = read_shape(model, &shape)) < 0) return answer;
  if (prompt.count == 0) return -REALM_E_MODEL;

  const size_t values = prompt.count * shape.hidden_size;
  float* hidden = arena_take(values * sizeof(float));
  float* logits = arena_take(shape.vocabulary * sizeof(float));
  uint32_t* tokens = arena_take((size_t)(shape.layers + 1) * sizeof(uint32_t));
  if (!hidden || !logits || !tokens) return -REALM_E_LIMIT;
  const float* last = hidden + values - shape.hidden_size;
  if ((answer = realm_embed_tokens(model, prompt.ids, prompt.count, hidden)) < 0) return answer;
  for (int32_t layer = 0; layer <= shape.layers; ++layer) {
    if (layer > 0 && (answer = realm_forward_layer(model, layer - 1, hidden, values, 0, hidden)) < 0)
      return answer;
    if ((answer = realm_compute_logits(model, last, shape.hidden_size, logits)) < 0) return answer;
    tokens[layer] = most_likely(logits, shape.vocabulary);
  }

  int32_t settled = shape.layers;
  while (settled > 0 && tokens[settled - 1] == tokens[shape.layers]) --settled;
  char piece[1024];
  const int32_t size = realm_decode_tokens(model, &tokens[shape.layers], 1, piece, sizeof piece);
  if (size < 0) return size;
  text word = {0}, response = {0};
  text_add(&word, piece, (size_t)size);
  if ((answer = text_stream(&word)) < 0) return answer;
  text_add_words(&response, "{\"layers\":[");
  for (int32_t layer = 0; layer <= shape.layers; ++layer) {
    if (layer) text_add_words(&response, ",");
    text_add_number(&response, tokens[layer]);
  }
  text_add_words(&response, "],\"settled\":");
  text_add_number(&response, settled);
  text_add_words(&response, "}");
  return text_respond(&response);
}
