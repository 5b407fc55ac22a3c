/* Calls every function of the contract once for its success and where it says something once for its refusal.
 * Responds with the names that did what the contract says, one a line; ends with -(1000 + line) at the first
 * that did not. The host offers a model "tiny" with a byte vocabulary, and a tool "gguf" that gives its file. */
#include "arena.h"
#include "realm.h"

#define STRINGIFY(name) #name
#define CHECK(name, condition)                          \
  do {                                                  \
    if (!(condition)) return -(1000 + (int32_t)__LINE__); \
    note(STRINGIFY(name));                              \
  } while (0)
#define MAX_IDS 64
#define HIDDEN 96
#define LAYERS 3
#define VOCABULARY 320
#define MASK_WORDS ((VOCABULARY + 31) / 32)

static char report[4096];
static size_t report_size;

static void note(const char* name) {
  for (; *name; ++name) report[report_size++] = *name;
  report[report_size++] = '\n';
}

static size_t size_of(const char* text) {
  size_t size = 0;
  while (text[size]) ++size;
  return size;
}

static int same_floats(const float* first, const float* second, size_t count) {
  return same_bytes((const char*)first, (const char*)second, count * sizeof(float));
}

static uint32_t best(const float* logits) {
  uint32_t found = 0;
  for (uint32_t i = 1; i < VOCABULARY; ++i)
    if (logits[i] > logits[found]) found = i;
  return found;
}

static uint32_t ids[MAX_IDS];
static float hidden[MAX_IDS * HIDDEN];
static float by_layers[VOCABULARY];
static float by_session[VOCABULARY];
static char text[65536];
static const realm_sample_params greedy = {0.0f, 1.0f, 0, 0.0f, 1.0f, 0.0f, 0.0f, 0, 1};

static int32_t try_text(int32_t model, int32_t* count) {
  uint32_t again[MAX_IDS];
  uint32_t tensors = 0;
  uint64_t bytes = 0;
  CHECK(realm_get_model_info, realm_get_model_info(model, &tensors, &bytes) == 0 && tensors > 9 && bytes > 9999);
  CHECK(realm_get_model_metadata, realm_get_model_metadata(model, text, 1) == -REALM_E_BUFFER);
  const int32_t needed = realm_last_size();
  CHECK(realm_last_size, needed > 100 && realm_get_model_metadata(model, text, (size_t)needed) == needed);
  *count = realm_encode_tokens(model, "hello you", 9, ids, MAX_IDS);
  CHECK(realm_encode_tokens, *count > 3);
  const int32_t same = realm_encode_text(model, "hello you", 9, REALM_ENCODE_ADD_SPECIAL, again, MAX_IDS);
  CHECK(realm_encode_text, same == *count && same_bytes((char*)ids, (char*)again, 4 * (size_t)same));
  const int32_t size = realm_decode_tokens(model, ids, (size_t)*count, text, sizeof text);
  CHECK(realm_decode_tokens, size >= 9 && same_bytes(text + size - 9, "hello you", 9));
  const char* messages = "[{\"role\":\"user\",\"content\":\"hi\"}]";
  CHECK(realm_render_chat, realm_render_chat(model, messages, size_of(messages), text, sizeof text) == 8);
  CHECK(realm_render_chat, same_bytes(text, "user: hi", 8));
  return 0;
}

static int32_t try_layers(int32_t model, size_t count) {
  const int32_t values = (int32_t)(count * HIDDEN);
  CHECK(realm_embed_tokens, realm_embed_tokens(model, ids, count, hidden) == values);
  for (int32_t layer = 0; layer < LAYERS; ++layer)
    CHECK(realm_forward_layer, realm_forward_layer(model, layer, hidden, (size_t)values, 0, hidden) == values);
  const float* last = hidden + (count - 1) * HIDDEN;
  CHECK(realm_compute_logits, realm_compute_logits(model, last, HIDDEN, by_layers) == VOCABULARY);
  return 0;
}

static int32_t try_session(int32_t model, int32_t count) {
  uint32_t id = 0;
  uint32_t mask[MASK_WORDS] = {0};
  const int32_t session = realm_session_open(model);
  CHECK(realm_session_open, session > 0);
  CHECK(realm_session_prefill, realm_session_prefill(session, ids, (size_t)count) == count);
  CHECK(realm_session_logits, realm_session_logits(session, by_session, 3) == -REALM_E_BUFFER);
  CHECK(realm_session_logits, realm_session_logits(session, by_session, VOCABULARY) == VOCABULARY);
  CHECK(realm_session_logits, same_floats(by_layers, by_session, VOCABULARY));
  CHECK(realm_session_position, realm_session_position(session) == count);
  CHECK(realm_session_sample, realm_session_sample(session, &greedy, &id, 1) == 1 && id == best(by_session));
  const int32_t copy = realm_session_fork(session);
  CHECK(realm_session_fork, copy > 0 && copy != session && realm_session_position(copy) == count + 1);
  CHECK(realm_session_rewind, realm_session_rewind(session, count) == 0);
  CHECK(realm_session_rewind, realm_session_position(session) == count);
  mask[ids[1] / 32] = 1u << ids[1] % 32;
  CHECK(realm_session_mask, realm_session_mask(session, mask, MASK_WORDS) == 0);
  CHECK(realm_session_mask, realm_session_sample(session, 0, &id, 1) == 1 && id == ids[1]);
  const char* regex = "[0-9]{3}";
  CHECK(realm_session_constrain,
        realm_session_constrain(session, REALM_CONSTRAIN_REGEX, regex, size_of(regex)) == 0);
  for (int i = 0; i < 3; ++i) {
    CHECK(realm_session_constrain, realm_session_sample(session, 0, &id, 1) == 1);
    CHECK(realm_session_constrain, realm_decode_tokens(model, &id, 1, text, sizeof text) == 1);
    CHECK(realm_session_constrain, text[0] >= '0' && text[0] <= '9');
  }
  CHECK(realm_session_constrain, realm_session_constrain(session, 2, "a(", 2) == -REALM_E_CONSTRAINT);
  CHECK(realm_session_accept, realm_session_accept(copy, ids, 2) == 2);
  CHECK(realm_session_accept, realm_session_position(copy) == count + 3);
  CHECK(realm_session_close, realm_session_close(copy) == 0 && realm_session_close(session) == 0);
  CHECK(realm_session_close, realm_session_close(session) == -REALM_E_HANDLE);
  return 0;
}

/* Layers and session agree with an adapter too, and both are what they were when it is gone. */
static int32_t try_adapter(int32_t model, int32_t count) {
  static float without[VOCABULARY];
  int32_t answer;
  for (int i = 0; i < VOCABULARY; ++i) without[i] = by_session[i];
  CHECK(realm_set_lora_adapter, realm_set_lora_adapter(model, "none", 4) == -REALM_E_NOT_FOUND);
  CHECK(realm_set_lora_adapter, realm_set_lora_adapter(99, "voice", 5) == -REALM_E_HANDLE);
  CHECK(realm_set_lora_adapter, realm_set_lora_adapter(model, "voice", 5) == 0);
  if ((answer = try_layers(model, (size_t)count)) < 0) return answer;
  if ((answer = try_session(model, count)) < 0) return answer;
  CHECK(realm_set_lora_adapter, !same_floats(without, by_session, VOCABULARY));
  CHECK(realm_set_lora_adapter, realm_set_lora_adapter(model, "", 0) == 0);
  if ((answer = try_layers(model, (size_t)count)) < 0) return answer;
  if ((answer = try_session(model, count)) < 0) return answer;
  CHECK(realm_set_lora_adapter, same_floats(without, by_session, VOCABULARY));
  return 0;
}

static int32_t try_generation(int32_t model) {
  const realm_gen_options options = {4, 0.0f, 1.0f, 0, 1.0f, 1, 0, {0, 0, 0}, 0};
  const int32_t small = realm_host_generate(model, "hello", 5, &options, text, 0);
  CHECK(realm_host_generate, small == -REALM_E_BUFFER || small == 0);
  const int32_t needed = realm_last_size();
  CHECK(realm_host_generate,
        realm_host_generate(model, "hello", 5, &options, text, (size_t)needed) == needed);
  return 0;
}

static int32_t try_own_model(int32_t model, int32_t count) {
  CHECK(realm_tool_call, realm_tool_call("none", 4, "", 0, text, 0) == -REALM_E_NOT_FOUND);
  CHECK(realm_tool_call, realm_tool_call("gguf", 4, "", 0, text, 0) == -REALM_E_BUFFER);
  const size_t size = (size_t)realm_last_size();
  char* gguf = arena_take(size);
  if (!gguf) return -REALM_E_LIMIT;
  CHECK(realm_tool_call, realm_tool_call("gguf", 4, "", 0, gguf, size) == (int32_t)size);
  CHECK(realm_store_model, realm_store_model((uint8_t*)gguf, size, model) == -REALM_E_STATE);
  CHECK(realm_store_model, realm_store_model((uint8_t*)gguf, size - 999, 0) == -REALM_E_MODEL);
  CHECK(realm_store_model, realm_store_model((uint8_t*)gguf, size, 70) == 70);
  CHECK(realm_store_draft_model, realm_store_draft_model((uint8_t*)gguf, size, 70) == -REALM_E_STATE);
  CHECK(realm_store_draft_model, realm_store_draft_model((uint8_t*)gguf, size - 999, 0) == -REALM_E_MODEL);
  CHECK(realm_store_draft_model, realm_store_draft_model((uint8_t*)gguf, size, 71) == 71);
  CHECK(realm_store_draft_model, realm_remove_model(71) == 0);
  const int32_t session = realm_session_open(70);
  CHECK(realm_store_model, session > 0);
  CHECK(realm_store_model, realm_session_prefill(session, ids, (size_t)count) == count);
  CHECK(realm_store_model, realm_session_logits(session, by_session, VOCABULARY) == VOCABULARY);
  CHECK(realm_store_model, same_floats(by_layers, by_session, VOCABULARY));
  const char* name = "token_embd.weight";
  CHECK(realm_get_tensor, realm_get_tensor(70, name, size_of(name), hidden, 1) == -REALM_E_BUFFER);
  const size_t values = (size_t)realm_last_size();
  float* tensor = arena_take(values * sizeof(float));
  if (!tensor) return -REALM_E_LIMIT;
  CHECK(realm_get_tensor, values == VOCABULARY * HIDDEN);
  CHECK(realm_get_tensor, realm_get_tensor(70, name, size_of(name), tensor, values) == (int32_t)values);
  CHECK(realm_get_tensor, realm_embed_tokens(70, ids, 1, hidden) == HIDDEN);
  CHECK(realm_get_tensor, same_floats(hidden, tensor + ids[0] * HIDDEN, HIDDEN));
  CHECK(realm_get_tensor, realm_get_tensor(70, "none", 4, tensor, values) == -REALM_E_NOT_FOUND);
  CHECK(realm_remove_model, realm_remove_model(70) == 0 && realm_remove_model(70) == -REALM_E_HANDLE);
  CHECK(realm_session_close, realm_session_close(session) == 0);
  return 0;
}

static int32_t try_the_rest(void) {
  uint8_t random[16] = {0};
  int sum = 0;
  CHECK(realm_state_put, realm_state_put("key", 3, "value", 5) == 5);
  CHECK(realm_state_get, realm_state_get("key", 3, text, 2) == -REALM_E_BUFFER && realm_last_size() == 5);
  CHECK(realm_state_get, realm_state_get("key", 3, text, 5) == 5 && same_bytes(text, "value", 5));
  CHECK(realm_state_get, realm_state_get("none", 4, text, 5) == -REALM_E_NOT_FOUND);
  CHECK(realm_last_error, realm_remove_model(99) == -REALM_E_HANDLE);
  CHECK(realm_last_error, realm_last_error(text, sizeof text) == 18 && same_bytes(text, "no model handle 99", 18));
  CHECK(realm_log, realm_log(1, "tried", 5) == 0 && realm_log(9, "", 0) == -REALM_E_INVALID);
  CHECK(realm_now_ms, realm_now_ms() >= 0);
  CHECK(realm_random, realm_random(random, sizeof random) == sizeof random);
  for (size_t i = 0; i < sizeof random; ++i) sum += random[i];
  CHECK(realm_random, sum > 0);
  CHECK(realm_stream_token, realm_stream_token("done", 4) == 0);
  return 0;
}

int32_t realm_handle(const char* request_ptr, size_t request_len) {
  int32_t count = 0;
  int32_t answer;
  (void)request_ptr;
  (void)request_len;
  const int32_t model = realm_host_load_model_by_name("tiny", 4);
  CHECK(realm_host_load_model_by_name, model > 0);
  CHECK(realm_host_load_model_by_name, realm_host_load_model_by_name("none", 4) == -REALM_E_NOT_FOUND);
  if ((answer = try_text(model, &count)) < 0) return answer;
  if ((answer = try_layers(model, (size_t)count)) < 0) return answer;
  if ((answer = try_session(model, count)) < 0) return answer;
  if ((answer = try_adapter(model, count)) < 0) return answer;
  if ((answer = try_generation(model)) < 0) return answer;
  if ((answer = try_own_model(model, count)) < 0) return answer;
  if ((answer = try_the_rest()) < 0) return answer;
  note("realm_respond");
  return realm_respond(report, report_size);
}
