// Answers with one sentence: streams until a token ends in '.', '!' or '?', or the model ends. Built with npm's
// assemblyscript 0.28:
//
//   npx asc first_sentence.ts -Oz --runtime stub --use abort= -o first_sentence.wasm -t first_sentence.wat
import { member, whole, wholes, words } from "./json";
import * as realm from "./realm";
export { realm_abi_version, realm_alloc, realm_free } from "./realm";

const FACTS_BYTES = 65536;
const PIECE_BYTES = 1024;

function encode(model: i32, request: string): StaticArray<u32> | null {
  const messages = member(request, "messages");
  const prompt = words(member(request, "prompt"));
  let text: ArrayBuffer;
  let flags = realm.ADD_SPECIAL;
  if (messages !== null) {
    const asked = String.UTF8.encode(messages);
    const rendered = new ArrayBuffer(asked.byteLength * 2 + FACTS_BYTES);
    const size = realm.realm_render_chat(
      model, changetype<usize>(asked), asked.byteLength, changetype<usize>(rendered), rendered.byteLength,
    );
    if (size < 0) return null;
    text = rendered.slice(0, size);
    flags = realm.PARSE_SPECIAL;
  } else if (prompt !== null) {
    text = String.UTF8.encode(prompt);
  } else {
    return null;
  }
  const room = new StaticArray<u32>(text.byteLength + 16);
  const count = realm.realm_encode_text(
    model, changetype<usize>(text), text.byteLength, flags, changetype<usize>(room), room.length,
  );
  return count < 0 ? null : StaticArray.fromArray(room.slice(0, count));
}

function endTokens(model: i32): i32[] {
  const facts = new ArrayBuffer(FACTS_BYTES);
  const size = realm.realm_get_model_metadata(model, changetype<usize>(facts), facts.byteLength);
  if (size < 0) return [];
  return wholes(member(String.UTF8.decode(facts.slice(0, size)), "end_of_generation_ids"));
}

/** Streams the bytes of whole characters and keeps the others for the next token; what was kept. */
function stream(held: StaticArray<u8>, size: i32): i32 {
  let whole = size;
  for (let back = 1; back <= min(3, size); ++back) {
    const byte = held[size - back];
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      if (length > back) whole = size - back;
      break;
    }
  }
  if (whole > 0 && realm.realm_stream_token(changetype<usize>(held), whole) < 0) return -1;
  memory.copy(changetype<usize>(held), changetype<usize>(held) + whole, size - whole);
  return size - whole;
}

export function realm_handle(request_ptr: usize, request_len: usize): i32 {
  const request = String.UTF8.decodeUnsafe(request_ptr, request_len);
  const name = words(member(request, "model"));
  const options = member(request, "options");
  if (name === null || options === null) return -realm.E.JSON;
  const name_bytes = String.UTF8.encode(name);
  const model = realm.realm_host_load_model_by_name(changetype<usize>(name_bytes), name_bytes.byteLength);
  if (model < 0) return model;
  const ids = encode(model, request);
  if (ids === null) return -realm.E.JSON;
  const ends = endTokens(model);

  const session = realm.realm_session_open(model);
  if (session < 0) return session;
  const taken = realm.realm_session_prefill(session, changetype<usize>(ids), ids.length);
  if (taken < 0) return taken;
  const token = new StaticArray<u32>(1);
  const held = new StaticArray<u8>(PIECE_BYTES + 4);
  const max_tokens = whole(member(options, "max_tokens"));
  let kept = 0;
  for (let count = 0; count < max_tokens; ++count) {
    const sampled = realm.realm_session_sample(session, 0, changetype<usize>(token), 1);
    if (sampled < 0) return sampled;
    if (ends.includes(token[0])) break;
    const size = realm.realm_decode_tokens(
      model, changetype<usize>(token), 1, changetype<usize>(held) + kept, PIECE_BYTES,
    );
    if (size < 0) return size;
    const last = size > 0 ? held[kept + size - 1] : 0;
    kept = stream(held, kept + size);
    if (kept < 0) return -realm.E.UTF8;
    if (last == 0x2e || last == 0x21 || last == 0x3f) break;
  }
  return realm.realm_session_close(session);
}
