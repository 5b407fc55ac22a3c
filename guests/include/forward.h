/* A model without a session: its shape, and its layers one by one. */
#ifndef REALM_FORWARD_H
#define REALM_FORWARD_H

#include "generation.h"

typedef struct {
  int32_t layers;
  size_t hidden_size;
  size_t vocabulary;
} model_shape;

int32_t read_shape(int32_t model, model_shape* shape);

/* The logits of the token that follows these, one for each token of the vocabulary, in memory of the arena.
 * Runs every layer; the same bits as a session's. */
int32_t forward_logits(int32_t model, const model_shape* shape, const token_list* tokens, float** logits);

#endif
