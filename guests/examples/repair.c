/* Ask, check, repair: the answer must be a whole number. One that is not is taken back (the session rewinds
 * to where it began) and asked for again with what was wrong with it; the last attempt is held to a number by
 * a constraint. The response tells the attempts: {"attempts": [text...], "is_valid"}. */
#include "generation.h"

#define ATTEMPTS 3
#define ANSWER_TOKENS 24

static const char complaint[] =
    "\n\nYour answer has to be a whole number in digits and nothing else. Write only the number:";
static const char number_pattern[] = " ?-?[0-9]{1,9}";

static int is_number(const text* words) {
  size_t start = 0, end = words->size;
  while (start < end && (words->bytes[start] == ' ' || words->bytes[start] == '\n')) ++start;
  while (end > start && (words->bytes[end - 1] == ' ' || words->bytes[end - 1] == '\n')) --end;
  if (start < end && words->bytes[start] == '-') ++start;
  for (size_t i = start; i < end; ++i)
    if (words->bytes[i] < '0' || words->bytes[i] > '9') return 0;
  return end > start;
}

/* The question, with the complaint from the second attempt on, instead of what the session held. */
static int32_t ask(int32_t model, int32_t session, const text* question, int attempt) {
  text words = {0};
  token_list prompt;
  text_add(&words, question->bytes, question->size);
  if (attempt > 0) text_add(&words, complaint, sizeof complaint - 1);
  if (words.has_failed) return -REALM_E_LIMIT;
  int32_t answer = realm_session_rewind(session, 0);
  if (answer < 0) return answer;
  if ((answer = encode_question(model, words.bytes, words.size, &prompt)) < 0) return answer;
  if ((answer = realm_session_prefill(session, prompt.ids, prompt.count)) < 0) return answer;
  if (attempt < ATTEMPTS - 1) return 0;
  return realm_session_constrain(session, REALM_CONSTRAIN_REGEX, number_pattern, sizeof number_pattern - 1);
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static task job;
  text question = {0}, response = {0};
  int is_valid = 0;
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  if ((answer = requested_question(job.request, &question)) < 0) return answer;
  const int32_t session = realm_session_open(job.model);
  if (session < 0) return session;
  text_add_words(&response, "{\"attempts\":[");
  for (int attempt = 0; attempt < ATTEMPTS && !is_valid; ++attempt) {
    text words = {0};
    if ((answer = ask(job.model, session, &question, attempt)) < 0) return answer;
    answer = generate_answer(job.model, session, &job.ends, 0, ANSWER_TOKENS, &words);
    if (answer < 0) return answer;
    is_valid = is_number(&words);
    if (is_valid && (answer = text_stream(&words)) < 0) return answer;
    if (attempt) text_add_words(&response, ",");
    text_add_json(&response, words.bytes, words.size);
  }
  text_add_words(&response, is_valid ? "],\"is_valid\":true}" : "],\"is_valid\":false}");
  return text_respond(&response);
}
