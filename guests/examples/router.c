/* A router: the base model sorts the message, and one of two adapters answers it.
 *
 * What adapters there are and what each is for stands in the table below: a few examples, each with a word
 * for its kind. The base model continues that list; the kind whose word it finds more likely next wins. It
 * runs without a session, so that the session of the answer is the request's first one, which its constraint
 * holds for and whose tokens are the result's. The response: {"adapter": name, "lead": by how many logits,
 * ...}. */
#include "forward.h"

typedef struct {
  const char* adapter; /* a name that the tenant has */
  const char* kind;    /* its first token tells it from the other's */
  const char* examples[2];
} route;

static const route routes[2] = {
    {"sql",
     " table",
     {"Table pets(name, age). How many pets are there?",
      "Table hotels(name, country). Which hotels are in Peru?"}},
    {"json",
     " person",
     {"Anna is a baker of 30 years and lives in Rome.", "Last week I met Hugo, who is 52 and a tailor."}},
};

static size_t length(const char* words) {
  size_t size = 0;
  while (words[size]) ++size;
  return size;
}

/* Which of the routes; `lead` is how much more likely, in logits. */
static int32_t choose(const task* job, float* lead) {
  text list = {0};
  token_list tokens, kinds[2];
  model_shape shape;
  float* logits;
  int32_t answer;
  for (int i = 0; i < 4; ++i) {
    text_add_words(&list, routes[i % 2].examples[i / 2]);
    text_add_words(&list, " =>");
    text_add_words(&list, routes[i % 2].kind);
    text_add_words(&list, "\n");
  }
  if ((answer = requested_question(job->request, &list)) < 0) return answer;
  text_add_words(&list, " =>");
  if (list.has_failed) return -REALM_E_LIMIT;
  answer = encode(job->model, list.bytes, list.size, REALM_ENCODE_ADD_SPECIAL, &tokens);
  if (answer < 0) return answer;
  for (int i = 0; i < 2; ++i) {
    answer = encode(job->model, routes[i].kind, length(routes[i].kind), 0, &kinds[i]);
    if (answer < 0) return answer;
    if (kinds[i].count == 0) return -REALM_E_TOKENIZER;
  }
  if ((answer = read_shape(job->model, &shape)) < 0) return answer;
  if ((answer = forward_logits(job->model, &shape, &tokens, &logits)) < 0) return answer;
  *lead = logits[kinds[0].ids[0]] - logits[kinds[1].ids[0]];
  if (*lead >= 0) return 0;
  *lead = -*lead;
  return 1;
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static task job;
  text response = {0};
  float lead;
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  /* The tenant may have an adapter for all its requests; it is the base that sorts. */
  if ((answer = realm_set_lora_adapter(job.model, 0, 0)) < 0) return answer;
  const int32_t chosen = choose(&job, &lead);
  if (chosen < 0) return chosen;
  const char* adapter = routes[chosen].adapter;
  if ((answer = realm_set_lora_adapter(job.model, adapter, length(adapter))) < 0) return answer;

  const int32_t session = task_session(&job);
  if (session < 0) return session;
  const int32_t tokens = stream_answer(job.model, session, &job.ends, 0, job.max_tokens);
  if (tokens < 0) return tokens;
  text_add_words(&response, "{\"adapter\":");
  text_add_json(&response, adapter, length(adapter));
  text_add_words(&response, ",\"lead\":");
  text_add_thousandths(&response, lead);
  text_add_words(&response, ",\"finish_reason\":\"");
  text_add_words(&response, tokens < job.max_tokens ? "stop" : "length");
  text_add_words(&response, "\",\"completion_tokens\":");
  text_add_number(&response, tokens);
  text_add_words(&response, "}");
  return text_respond(&response);
}
