/* Extraction: facts of a text as JSON of a fixed schema, which the host holds the sampled tokens to. What is
 * streamed is always a whole document of the schema, unless the tokens run out: then the request fails. */
#include "generation.h"

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\",\"maxLength\":40},"
    "\"city\":{\"type\":\"string\",\"maxLength\":40},"
    "\"year\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9999}},"
    "\"required\":[\"name\",\"city\",\"year\"],\"additionalProperties\":false}";
static const char instruction[] =
    "Extract the person's name, the city and the year from the text. Answer with JSON of the form "
    "{\"name\": \"...\", \"city\": \"...\", \"year\": 0}.\n\nText: ";

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static task job;
  text question = {0}, document = {0};
  token_list prompt;
  int32_t answer = task_begin(&job, request_ptr, request_len);
  if (answer < 0) return answer;
  text_add(&question, instruction, sizeof instruction - 1);
  if ((answer = requested_question(job.request, &question)) < 0) return answer;
  if ((answer = encode_question(job.model, question.bytes, question.size, &prompt)) < 0) return answer;

  const int32_t session = open_session(job.model, &prompt);
  if (session < 0) return session;
  answer = realm_session_constrain(session, REALM_CONSTRAIN_JSON_SCHEMA, schema, sizeof schema - 1);
  if (answer < 0) return answer;
  answer = generate_answer(job.model, session, &job.ends, 0, job.max_tokens, &document);
  if (answer < 0) return answer;
  if (!json_is(json_parse(document.bytes, document.size), '{')) return -REALM_E_CONTEXT;
  return text_stream(&document);
}
