/* Runs a model layer by layer: embed, every layer, final norm and head (include/forward.c); responds with the
 * raw f32 logits of the token that follows the prompt. */
#include "forward.h"

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  token_list prompt;
  model_shape shape;
  float* logits;
  int32_t answer;
  const json_value request = json_parse(request_ptr, request_len);
  const int32_t model = requested_model(request);
  if (model < 0) return model;
  if ((answer = requested_tokens(model, request, &prompt)) < 0) return answer;
  if ((answer = read_shape(model, &shape)) < 0) return answer;
  if ((answer = forward_logits(model, &shape, &prompt, &logits)) < 0) return answer;
  return realm_respond((const char*)logits, shape.vocabulary * sizeof(float));
}
