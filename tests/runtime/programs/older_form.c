/* The older form: one export that takes a prompt and gives a text. */
#include "arena.h"
#include "realm.h"

__attribute__((export_name("generate"))) char* generate(const char* prompt_ptr, size_t prompt_len, int32_t model_id,
                                                         const realm_gen_options* options_ptr) {
  const size_t room = 65536;
  char* text = arena_take(room);
  if (!text || prompt_ptr[prompt_len] != 0) return 0;
  const int32_t size = realm_host_generate(model_id, prompt_ptr, prompt_len, options_ptr, text, room - 1);
  if (size < 0) return 0;
  text[size] = 0;
  return text;
}
