/* The guest contract of Realm, version 1, for freestanding C (wasm32 and wasm64).
 *
 * Every function returns a number >= 0 on success (a count, a size, a handle, or 0) and -REALM_E_... on failure;
 * realm_last_error gives the text. Strings are UTF-8, numbers little-endian. A buffer that is too small is left
 * untouched: the call returns -REALM_E_BUFFER and realm_last_size() tells the size that was needed, in the
 * buffer's own unit. Handles belong to the guest that got them.
 *
 * A guest exports its memory and the five functions at the end of this file. */
#ifndef REALM_H
#define REALM_H

#include <stddef.h>
#include <stdint.h>

#define REALM_ABI_VERSION 1

enum {
  REALM_E_INVALID = 1,        /* an argument is out of its range */
  REALM_E_POINTER = 2,        /* a pointer and length lie outside the guest's memory */
  REALM_E_BUFFER = 3,         /* a buffer is too small; see realm_last_size */
  REALM_E_HANDLE = 4,         /* no such handle in this guest */
  REALM_E_NOT_FOUND = 5,      /* no such model, tensor, tool or key for this tenant */
  REALM_E_CONTEXT = 6,        /* more tokens than the context holds */
  REALM_E_CAPACITY = 7,       /* not enough cache pages */
  REALM_E_UTF8 = 8,           /* text is not UTF-8 */
  REALM_E_JSON = 9,           /* JSON is malformed or has another shape */
  REALM_E_LIMIT = 10,         /* one of the guest's limits is reached */
  REALM_E_STATE = 11,         /* not possible in the present state */
  REALM_E_TEMPLATE = 12,      /* the chat template is missing or refuses the messages */
  REALM_E_TOKENIZER = 13,     /* text or ids do not fit the vocabulary */
  REALM_E_MODEL = 14,         /* the model cannot do this */
  REALM_E_INTERNAL = 15,      /* a fault of the host */
  REALM_E_CONSTRAINT = 16,    /* a schema, regex or grammar is not usable, or it leaves no token */
  REALM_E_TOOL = 17,          /* a tool failed */
  REALM_E_TIME = 18,          /* what was asked for did not end in its time */
  REALM_E_DENIED = 19,        /* not granted to this tenant */
  REALM_E_ADAPTER = 20        /* the adapter cannot be used with this model */
};

/* Options of realm_host_generate. A pointer of 0 takes the request's own options. */
typedef struct {
  uint32_t max_tokens; /* 0: the request's */
  float temperature;
  float top_p;
  uint32_t top_k;
  float repetition_penalty;
  uint32_t seed;
  uint8_t stop_token_count;
  uint8_t reserved[3];
  uint32_t stop_tokens_ptr; /* u32 ids */
} realm_gen_options;
_Static_assert(sizeof(realm_gen_options) == 32, "contract");

/* Policy of realm_session_sample. A pointer of 0 takes the request's own policy. */
typedef struct {
  float temperature;
  float top_p;
  uint32_t top_k;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t reserved; /* 0 */
  uint64_t seed;
} realm_sample_params;
_Static_assert(sizeof(realm_sample_params) == 40, "contract");

/* Flags of realm_encode_text. */
#define REALM_ENCODE_ADD_SPECIAL 1   /* put the model's own leading and trailing tokens around the text */
#define REALM_ENCODE_PARSE_SPECIAL 2 /* read special tokens that the text spells out */

#define REALM_IMPORT(name) __attribute__((import_module("env"), import_name(#name))) int32_t name

/* Models. realm_store_model takes the bytes of a GGUF file; model_id 0 leaves the handle to the host, another is a
 * number of the guest's own that is free. realm_store_draft_model does the same with a model that drafts for the
 * tenant's sessions from then on. realm_get_tensor writes f32, and out_max_len counts them; a tenant must
 * be granted it. */
REALM_IMPORT(realm_store_model)(const uint8_t* gguf_ptr, size_t gguf_len, int32_t model_id);
REALM_IMPORT(realm_store_draft_model)(const uint8_t* gguf_ptr, size_t gguf_len, int32_t draft_model_id);
REALM_IMPORT(realm_host_load_model_by_name)(const char* name_ptr, size_t name_len);
REALM_IMPORT(realm_remove_model)(int32_t model_id);
REALM_IMPORT(realm_set_lora_adapter)(int32_t model_id, const char* adapter_id_ptr, size_t adapter_id_len);
REALM_IMPORT(realm_get_model_info)(int32_t model_id, uint32_t* out_tensor_count_ptr, uint64_t* out_total_size_ptr);
REALM_IMPORT(realm_get_model_metadata)(int32_t model_id, char* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_get_tensor)(int32_t model_id, const char* name_ptr, size_t name_len, float* out_ptr,
                               size_t out_max_len);

/* Text. realm_encode_tokens is realm_encode_text with REALM_ENCODE_ADD_SPECIAL. out_max_len counts ids when ids
 * are written. realm_decode_tokens leaves control tokens out and drops no leading space. */
REALM_IMPORT(realm_encode_tokens)(int32_t model_id, const char* text_ptr, size_t text_len, uint32_t* out_ptr,
                                  size_t out_max_len);
REALM_IMPORT(realm_encode_text)(int32_t model_id, const char* text_ptr, size_t text_len, uint32_t flags,
                                uint32_t* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_decode_tokens)(int32_t model_id, const uint32_t* token_ids_ptr, size_t token_ids_len,
                                  char* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_render_chat)(int32_t model_id, const char* messages_json_ptr, size_t messages_json_len,
                                char* out_ptr, size_t out_max_len);

/* Layer by layer. Lengths count f32 values; each returns how many it wrote. */
REALM_IMPORT(realm_embed_tokens)(int32_t model_id, const uint32_t* token_ids_ptr, size_t token_count,
                                 float* out_ptr);
REALM_IMPORT(realm_forward_layer)(int32_t model_id, int32_t layer_idx, const float* hidden_states_ptr,
                                  size_t hidden_states_len, int32_t position, float* out_ptr);
REALM_IMPORT(realm_compute_logits)(int32_t model_id, const float* hidden_states_ptr, size_t hidden_size,
                                   float* out_ptr);

/* Kinds of realm_session_constrain. */
#define REALM_CONSTRAIN_NONE 0 /* take the program's own constraint away; the source is empty */
#define REALM_CONSTRAIN_JSON_SCHEMA 1
#define REALM_CONSTRAIN_REGEX 2
#define REALM_CONSTRAIN_GRAMMAR 3 /* Lark, as llguidance reads it */

/* Sessions. sample draws a token that is then part of the session, and returns how many ids it wrote; logits
 * writes one f32 for each token of the vocabulary, for the position after the last one. mask holds for the next
 * sample alone: one bit a token, the lowest first, mask_len counts u32 words, 0 takes it back. constrain holds
 * from here on. Masks and constraints only narrow what the request's own constraint allows. */
REALM_IMPORT(realm_session_open)(int32_t model_id);
REALM_IMPORT(realm_session_prefill)(int32_t session, const uint32_t* ids_ptr, size_t count);
REALM_IMPORT(realm_session_sample)(int32_t session, const realm_sample_params* params_ptr, uint32_t* out_ptr,
                                   size_t out_max_len);
REALM_IMPORT(realm_session_logits)(int32_t session, float* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_session_accept)(int32_t session, const uint32_t* ids_ptr, size_t count);
REALM_IMPORT(realm_session_mask)(int32_t session, const uint32_t* mask_ptr, size_t mask_len);
REALM_IMPORT(realm_session_constrain)(int32_t session, int32_t kind, const char* source_ptr, size_t source_len);
REALM_IMPORT(realm_session_fork)(int32_t session);
REALM_IMPORT(realm_session_rewind)(int32_t session, int32_t position);
REALM_IMPORT(realm_session_position)(int32_t session);
REALM_IMPORT(realm_session_close)(int32_t session);

/* A whole generation on the host; returns the bytes of text written. When they did not fit, the same call again
 * writes them and generates nothing anew. */
REALM_IMPORT(realm_host_generate)(int32_t model_id, const char* prompt_ptr, size_t prompt_len,
                                  const realm_gen_options* options_ptr, char* out_ptr, size_t out_max_len);

/* Output: text to the client now, and once at the end a JSON object about the answer. */
REALM_IMPORT(realm_stream_token)(const char* token_ptr, size_t token_len);
REALM_IMPORT(realm_respond)(const char* response_ptr, size_t response_len);

/* What the tenant keeps from request to request. A value of no bytes removes its key. */
REALM_IMPORT(realm_state_get)(const char* key_ptr, size_t key_len, char* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_state_put)(const char* key_ptr, size_t key_len, const char* value_ptr, size_t value_len);

/* A tool on the tenant's list. When its result did not fit, the same call again writes it without another run. */
REALM_IMPORT(realm_tool_call)(const char* name_ptr, size_t name_len, const char* arguments_ptr, size_t arguments_len,
                              char* out_ptr, size_t out_max_len);

/* The rest. Levels of realm_log: 0 debug, 1 info, 2 warning, 3 error. realm_now_ms counts from the start of the
 * request. */
REALM_IMPORT(realm_last_error)(char* out_ptr, size_t out_max_len);
REALM_IMPORT(realm_last_size)(void);
REALM_IMPORT(realm_log)(int32_t level, const char* text_ptr, size_t text_len);
REALM_IMPORT(realm_now_ms)(void);
REALM_IMPORT(realm_random)(uint8_t* out_ptr, size_t out_len);

#define REALM_EXPORT(name) __attribute__((export_name(#name)))

/* What a guest exports, besides `memory`. realm_alloc returns 0 when there is no room. */
REALM_EXPORT(realm_abi_version) int32_t realm_abi_version(void);
REALM_EXPORT(realm_alloc) void* realm_alloc(size_t size);
REALM_EXPORT(realm_free) void realm_free(void* pointer, size_t size);
REALM_EXPORT(realm_handle) int32_t realm_handle(const char* request_ptr, size_t request_len);

/* The older form, instead of realm_handle, realm_abi_version and realm_free: the prompt ends in a zero byte that
 * prompt_len does not count, model_id is a handle, and the answer is a text that ends in a zero byte, or 0.
 *   char* generate(const char* prompt_ptr, size_t prompt_len, int32_t model_id, const realm_gen_options*); */

#endif
