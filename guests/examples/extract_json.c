/* Extraction: facts of a text as JSON of a fixed schema, which the host holds the sampled tokens to. What is
 * streamed is always a whole document of the schema, unless the tokens run out: then the request fails. */
#include "generation.h"

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\",\"maxLength\":40},"
    "\"city\":{\"type\":\"string\",\"maxLength\":40},"
    "\"year\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9999}},"
    "\"required\":[\"name\",\"city\",\"year\"],\"additionalProperties\":false}";
static const char task[] =
    "Extract the person's name, the city and the year from the text. Answer with JSON of the form "
    "{\"name\": \"...\", \"city\": \"...\", \"year\": 0}.\n\nText: ";

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  static end_set ends;
  text question = {0}, document = {0};
  token_list prompt;
  int32_t answer;
  const json_value request = json_parse(request_ptr, request_len);
  const int32_t model = requested_model(request);
  if (model < 0) return model;
  const int32_t max_tokens = requested_number(request, "max_tokens");
  if (max_tokens < 0) return max_tokens;
  text_add(&question, task, sizeof task - 1);
  if ((answer = requested_question(request, &question)) < 0) return answer;
  if ((answer = add_model_ends(model, &ends)) < 0) return answer;
  if ((answer = encode_question(model, question.bytes, question.size, &prompt)) < 0) return answer;

  const int32_t session = realm_session_open(model);
  if (session < 0) return session;
  if ((answer = realm_session_prefill(session, prompt.ids, prompt.count)) < 0) return answer;
  answer = realm_session_constrain(session, REALM_CONSTRAIN_JSON_SCHEMA, schema, sizeof schema - 1);
  if (answer < 0) return answer;
  if ((answer = generate_answer(model, session, &ends, 0, max_tokens, &document)) < 0) return answer;
  if (!json_is(json_parse(document.bytes, document.size), '{')) return -REALM_E_CONTEXT;
  return text_stream(&document);
}
