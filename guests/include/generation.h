/* What most programs do with a request: find its model, turn its prompt into tokens, know where an answer
 * ends, and generate one. Every function returns a number >= 0, or -REALM_E_...
 *
 *   static task job;
 *   const int32_t begun = task_begin(&job, request_ptr, request_len);
 *   if (begun < 0) return begun;
 *   const int32_t session = task_session(&job);
 *   if (session < 0) return session;
 *   return stream_answer(job.model, session, &job.ends, 0, job.max_tokens); */
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

/* A request, read: nearly every program begins with it. */
typedef struct {
  json_value request;
  int32_t model;      /* a handle of the model that the request names */
  int32_t max_tokens; /* as the request's options say */
  end_set ends;       /* the model's end-of-generation tokens */
} task;

int32_t task_begin(task* self, const char* request_ptr, size_t request_len);
/* A new session with the request's prompt in it. */
int32_t task_session(const task* self);
/* A new session with these tokens in it. */
int32_t open_session(int32_t model, const token_list* prompt);

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

/* The model's metadata. */
int32_t read_metadata(int32_t model, json_value* metadata);
/* The model's own end-of-generation tokens; those of a JSON array. */
int32_t add_model_ends(int32_t model, end_set* ends);
int32_t add_ends(json_value array, end_set* ends);
int is_end(const end_set* ends, uint32_t id);

/* Samples into `answer` until an end or max_tokens; how many tokens. policy 0: the request's own. */
int32_t generate_answer(int32_t model, int32_t session, const end_set* ends,
                        const realm_sample_params* policy, int32_t max_tokens, text* answer);
/* The same, but token by token to the client, whole characters only. */
int32_t stream_answer(int32_t model, int32_t session, const end_set* ends, const realm_sample_params* policy,
                      int32_t max_tokens);

#endif
