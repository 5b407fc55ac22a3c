/* What most programs do with a request: find its model, turn its prompt into tokens, know where an answer
 * ends, and generate one. Every function returns a number >= 0, or -REALM_E_... */
#ifndef REALM_GENERATION_H
#define REALM_GENERATION_H

#include "json.h"
#include "realm.h"
#include "text.h"

#define MAX_ENDS 64
#define MAX_TOKENS_LIMIT 1000000

typedef struct {
  uint32_t* ids;
  size_t count;
} token_list;

typedef struct {
  uint32_t ids[MAX_ENDS];
  int count;
} end_set;

/* A handle of the model that the request names. */
int32_t requested_model(json_value request);
/* The request's messages through the chat template, its prompt, or its token ids, whichever it has. */
int32_t requested_tokens(int32_t model, json_value request, token_list* list);
/* What the request's user asks: its prompt, or the last of its messages; as text. */
int32_t requested_question(json_value request, text* question);
/* The request's option of that name, a whole number; -REALM_E_JSON when it is not there. */
int32_t requested_number(json_value request, const char* name);

int32_t encode(int32_t model, const char* words, size_t size, uint32_t flags, token_list* list);
/* One message of the user through the model's chat template. */
int32_t encode_question(int32_t model, const char* words, size_t size, token_list* list);

/* The model's own end-of-generation tokens; those of a JSON array. */
int32_t add_model_ends(int32_t model, end_set* ends);
int32_t add_ends(json_value array, end_set* ends);
int is_end(const end_set* ends, uint32_t id);

/* Samples into `answer` until an end or max_tokens; how many tokens. policy 0: the request's own. */
int32_t generate_answer(int32_t model, int32_t session, const end_set* ends,
                        const realm_sample_params* policy, int32_t max_tokens, text* answer);

#endif
