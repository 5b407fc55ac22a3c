// The guest contract of Realm, version 1, for AssemblyScript: what include/realm.h is for C. Every function returns
// a number >= 0, or the negative of one of these.
export const enum E {
  INVALID = 1,
  POINTER = 2,
  BUFFER = 3,
  HANDLE = 4,
  NOT_FOUND = 5,
  CONTEXT = 6,
  CAPACITY = 7,
  UTF8 = 8,
  JSON = 9,
  LIMIT = 10,
  STATE = 11,
  TEMPLATE = 12,
  TOKENIZER = 13,
  MODEL = 14,
  INTERNAL = 15,
  CONSTRAINT = 16,
  TOOL = 17,
  TIME = 18,
  DENIED = 19,
  ADAPTER = 20,
}

export const ADD_SPECIAL: u32 = 1;
export const PARSE_SPECIAL: u32 = 2;

@external("env", "realm_store_model")
export declare function realm_store_model(gguf_ptr: usize, gguf_len: usize, model_id: i32): i32;
@external("env", "realm_store_draft_model")
export declare function realm_store_draft_model(gguf_ptr: usize, gguf_len: usize, draft_model_id: i32): i32;
@external("env", "realm_host_load_model_by_name")
export declare function realm_host_load_model_by_name(name_ptr: usize, name_len: usize): i32;
@external("env", "realm_remove_model")
export declare function realm_remove_model(model_id: i32): i32;
@external("env", "realm_set_lora_adapter")
export declare function realm_set_lora_adapter(
  model_id: i32,
  adapter_id_ptr: usize,
  adapter_id_len: usize,
): i32;
@external("env", "realm_get_model_info")
export declare function realm_get_model_info(
  model_id: i32, out_tensor_count_ptr: usize, out_total_size_ptr: usize,
): i32;
@external("env", "realm_get_model_metadata")
export declare function realm_get_model_metadata(model_id: i32, out_ptr: usize, out_max_len: usize): i32;
@external("env", "realm_get_tensor")
export declare function realm_get_tensor(
  model_id: i32, name_ptr: usize, name_len: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_encode_tokens")
export declare function realm_encode_tokens(
  model_id: i32, text_ptr: usize, text_len: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_encode_text")
export declare function realm_encode_text(
  model_id: i32, text_ptr: usize, text_len: usize, flags: u32, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_decode_tokens")
export declare function realm_decode_tokens(
  model_id: i32, token_ids_ptr: usize, token_ids_len: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_render_chat")
export declare function realm_render_chat(
  model_id: i32, messages_json_ptr: usize, messages_json_len: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_embed_tokens")
export declare function realm_embed_tokens(
  model_id: i32, token_ids_ptr: usize, token_count: usize, out_ptr: usize,
): i32;
@external("env", "realm_forward_layer")
export declare function realm_forward_layer(
  model_id: i32, layer_idx: i32, hidden_states_ptr: usize, hidden_states_len: usize, position: i32, out_ptr: usize,
): i32;
@external("env", "realm_compute_logits")
export declare function realm_compute_logits(
  model_id: i32, hidden_states_ptr: usize, hidden_size: usize, out_ptr: usize,
): i32;
@external("env", "realm_session_open")
export declare function realm_session_open(model_id: i32): i32;
@external("env", "realm_session_prefill")
export declare function realm_session_prefill(session: i32, ids_ptr: usize, count: usize): i32;
@external("env", "realm_session_sample")
export declare function realm_session_sample(
  session: i32, params_ptr: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_session_logits")
export declare function realm_session_logits(session: i32, out_ptr: usize, out_max_len: usize): i32;
@external("env", "realm_session_accept")
export declare function realm_session_accept(session: i32, ids_ptr: usize, count: usize): i32;
@external("env", "realm_session_mask")
export declare function realm_session_mask(session: i32, mask_ptr: usize, mask_len: usize): i32;
@external("env", "realm_session_constrain")
export declare function realm_session_constrain(session: i32, kind: i32, source_ptr: usize, source_len: usize): i32;
@external("env", "realm_session_fork")
export declare function realm_session_fork(session: i32): i32;
@external("env", "realm_session_rewind")
export declare function realm_session_rewind(session: i32, position: i32): i32;
@external("env", "realm_session_position")
export declare function realm_session_position(session: i32): i32;
@external("env", "realm_session_close")
export declare function realm_session_close(session: i32): i32;
@external("env", "realm_host_generate")
export declare function realm_host_generate(
  model_id: i32, prompt_ptr: usize, prompt_len: usize, options_ptr: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_stream_token")
export declare function realm_stream_token(token_ptr: usize, token_len: usize): i32;
@external("env", "realm_respond")
export declare function realm_respond(response_ptr: usize, response_len: usize): i32;
@external("env", "realm_state_get")
export declare function realm_state_get(key_ptr: usize, key_len: usize, out_ptr: usize, out_max_len: usize): i32;
@external("env", "realm_state_put")
export declare function realm_state_put(key_ptr: usize, key_len: usize, value_ptr: usize, value_len: usize): i32;
@external("env", "realm_tool_call")
export declare function realm_tool_call(
  name_ptr: usize, name_len: usize, arguments_ptr: usize, arguments_len: usize, out_ptr: usize, out_max_len: usize,
): i32;
@external("env", "realm_last_error")
export declare function realm_last_error(out_ptr: usize, out_max_len: usize): i32;
@external("env", "realm_last_size")
export declare function realm_last_size(): i32;
@external("env", "realm_log")
export declare function realm_log(level: i32, text_ptr: usize, text_len: usize): i32;
@external("env", "realm_now_ms")
export declare function realm_now_ms(): i32;
@external("env", "realm_random")
export declare function realm_random(out_ptr: usize, out_len: usize): i32;

export function realm_abi_version(): i32 {
  return 1;
}

export function realm_alloc(size: usize): usize {
  return heap.alloc(size);
}

export function realm_free(pointer: usize, size: usize): void {
  heap.free(pointer);
}
