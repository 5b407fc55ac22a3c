/* Memory of a guest that serves one request: it only grows, and the host drops it whole at the end. */
#ifndef REALM_ARENA_H
#define REALM_ARENA_H

#include "realm.h"

/* 16-byte aligned; 0 when the memory cannot grow that far. */
void* arena_take(size_t size);

void copy_bytes(char* target, const char* source, size_t size);
int same_bytes(const char* first, const char* second, size_t size);

#endif
