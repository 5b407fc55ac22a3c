#include "arena.h"

#define PAGE_BYTES 65536u

extern unsigned char __heap_base;
static uintptr_t next_free;

void* arena_take(size_t size) {
  if (next_free == 0) next_free = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
  const uintptr_t start = next_free;
  if (size > UINTPTR_MAX - start - PAGE_BYTES) return 0;
  const uintptr_t end = (start + size + 15) & ~(uintptr_t)15;
  const uintptr_t present = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
  if (end > present) {
    const uintptr_t pages = (end - present + PAGE_BYTES - 1) / PAGE_BYTES;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
  }
  next_free = end;
  return (void*)start;
}

void copy_bytes(char* target, const char* source, size_t size) {
  for (size_t i = 0; i < size; ++i) target[i] = source[i];
}

int same_bytes(const char* first, const char* second, size_t size) {
  for (size_t i = 0; i < size; ++i)
    if (first[i] != second[i]) return 0;
  return 1;
}

int32_t realm_abi_version(void) { return REALM_ABI_VERSION; }

void* realm_alloc(size_t size) { return arena_take(size == 0 ? 1 : size); }

void realm_free(void* pointer, size_t size) {
  (void)pointer;
  (void)size;
}
