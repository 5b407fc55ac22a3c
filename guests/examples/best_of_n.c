/* Best of N: one prompt, N forks of its session, and the answer that the model itself finds most likely.
 *
 * It samples from the logits itself (temperature 0.8), so each token's log probability costs nothing more.
 * The response tells every candidate: [{"text", "log_probability" (mean of a token), "tokens"}], and the best
 * one. */
#include "arena.h"
#include "generation.h"
#include "numbers.h"

#define CANDIDATES 4
#define TEMPERATURE 0.8f

typedef struct {
  text words;
  float log_probability; /* mean of a token, at temperature 1 */
  int32_t tokens;
} candidate;

/* Draws an id; adds the log probability that the model gives it. */
static uint32_t draw(const float* logits, int32_t count, float* log_probability) {
  float highest = logits[0];
  for (int32_t i = 1; i < count; ++i)
    if (logits[i] > highest) highest = logits[i];
  float plain = 0, tempered = 0;
  for (int32_t i = 0; i < count; ++i) {
    plain += natural_exponential(logits[i] - highest);
    tempered += natural_exponential((logits[i] - highest) / TEMPERATURE);
  }
  float left = uniform_number() * tempered;
  int32_t chosen = 0;
  for (int32_t i = 0; i < count && left >= 0; ++i) {
    const float weight = natural_exponential((logits[i] - highest) / TEMPERATURE);
    if (weight <= 0) continue;
    left -= weight;
    chosen = i;
  }
  *log_probability += logits[chosen] - highest - natural_logarithm(plain);
  return (uint32_t)chosen;
}

static int32_t answer_once(const task* job, int32_t session, float* logits, int32_t vocabulary,
                           candidate* result) {
  static char piece[1024];
  float sum = 0;
  while (result->tokens < job->max_tokens) {
    const int32_t count = realm_session_logits(session, logits, (size_t)vocabulary);
    if (count < 0) return count;
    const uint32_t id = draw(logits, count, &sum);
    ++result->tokens;
    if (is_end(&job->ends, id)) break;
    const int32_t accepted = realm_session_accept(session, &id, 1);
    if (accepted < 0) return accepted;
    const int32_t size = realm_decode_tokens(job->model, &id, 1, piece, sizeof piece);
    if (size < 0) return size;
    text_add(&result->words, piece, (size_t)size);
  }
  result->log_probability = sum / (float)result->tokens;
  return 0;
}

static int32_t respond(const candidate* candidates, int best) {
  text response = {0};
  text_add_words(&response, "{\"best\":");
  text_add_number(&response, best);
  text_add_words(&response, ",\"candidates\":[");
  for (int i = 0; i < CANDIDATES; ++i) {
    text_add_words(&response, i ? ",{\"text\":" : "{\"text\":");
    text_add_json(&response, candidates[i].words.bytes, candidates[i].words.size);
    text_add_words(&response, ",\"log_probability\":");
    text_add_thousandths(&response, candidates[i].log_probability);
    text_add_words(&response, ",\"tokens\":");
    text_add_number(&response, candidates[i].tokens);
    text_add_words(&response, "}");
  }
  text_add_words(&response, "]}");
  return text_respond(&response);
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static task job;
  static candidate candidates[CANDIDATES];
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  const int32_t session = task_session(&job);
  if (session < 0) return session;
  /* Too small on purpose: the answer tells how many there are. */
  answer = realm_session_logits(session, 0, 0);
  if (answer != -REALM_E_BUFFER) return answer < 0 ? answer : -REALM_E_MODEL;
  const int32_t vocabulary = realm_last_size();
  float* logits = arena_take((size_t)vocabulary * sizeof(float));
  if (!logits) return -REALM_E_LIMIT;
  int best = 0;
  for (int i = 0; i < CANDIDATES; ++i) {
    const int32_t fork = realm_session_fork(session);
    if (fork < 0) return fork;
    if ((answer = answer_once(&job, fork, logits, vocabulary, &candidates[i])) < 0) return answer;
    if ((answer = realm_session_close(fork)) < 0) return answer;
    if (candidates[i].log_probability > candidates[best].log_probability) best = i;
  }
  if ((answer = text_stream(&candidates[best].words)) < 0) return answer;
  return respond(candidates, best);
}
