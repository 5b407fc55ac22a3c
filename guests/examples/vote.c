/* Self-consistency (Wang et al., arXiv 2203.11171): several answers are sampled from one prompt, and the
 * number that most of them end with is the answer. The response tells the votes: {"answers": [number or
 * null...], "votes"}. */
#include "generation.h"

#define VOTERS 5
#define NO_NUMBER INT64_MIN

/* The last whole number of a text. */
static int64_t last_number(const text* words) {
  int64_t found = NO_NUMBER;
  for (size_t i = 0; i < words->size; ++i) {
    if (words->bytes[i] < '0' || words->bytes[i] > '9') continue;
    const int is_negative = i > 0 && words->bytes[i - 1] == '-';
    int64_t number = 0;
    for (; i < words->size && words->bytes[i] >= '0' && words->bytes[i] <= '9'; ++i)
      if (number < INT64_MAX / 100) number = number * 10 + (words->bytes[i] - '0');
    found = is_negative ? -number : number;
  }
  return found;
}

static int count_votes(const int64_t* answers, int64_t answer) {
  int votes = 0;
  for (int i = 0; i < VOTERS; ++i) votes += answers[i] == answer;
  return votes;
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static task job;
  int64_t answers[VOTERS];
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  const int32_t session = task_session(&job);
  if (session < 0) return session;

  for (int i = 0; i < VOTERS; ++i) {
    realm_sample_params policy = {.temperature = 0.7f, .top_p = 0.95f, .repetition_penalty = 1.0f};
    text words = {0};
    if ((answer = realm_random((uint8_t*)&policy.seed, sizeof policy.seed)) < 0) return answer;
    const int32_t fork = realm_session_fork(session);
    if (fork < 0) return fork;
    answer = generate_answer(job.model, fork, &job.ends, &policy, job.max_tokens, &words);
    if (answer < 0) return answer;
    if ((answer = realm_session_close(fork)) < 0) return answer;
    if (words.has_failed) return -REALM_E_LIMIT;
    answers[i] = last_number(&words);
  }

  int64_t chosen = NO_NUMBER;
  for (int i = 0; i < VOTERS; ++i)
    if (answers[i] != NO_NUMBER &&
        (chosen == NO_NUMBER || count_votes(answers, answers[i]) > count_votes(answers, chosen)))
      chosen = answers[i];
  text said = {0}, response = {0};
  if (chosen != NO_NUMBER) {
    text_add_number(&said, chosen);
    if ((answer = text_stream(&said)) < 0) return answer;
  }
  text_add_words(&response, "{\"answers\":[");
  for (int i = 0; i < VOTERS; ++i) {
    if (i) text_add_words(&response, ",");
    if (answers[i] == NO_NUMBER)
      text_add_words(&response, "null");
    else
      text_add_number(&response, answers[i]);
  }
  text_add_words(&response, "],\"votes\":");
  text_add_number(&response, chosen == NO_NUMBER ? 0 : count_votes(answers, chosen));
  text_add_words(&response, "}");
  return text_respond(&response);
}
