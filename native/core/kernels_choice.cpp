// Which row of the kernel table runs on this processor, and how it fetches weights.
#include <cstring>

#include "kernels.h"

namespace realm {

#ifdef REALM_X86
const bool kFetchPastCaches = (__builtin_cpu_init(), __builtin_cpu_is("amd") != 0);
#else
const bool kFetchPastCaches = true;
#endif

const KernelTable* kernels_for(const char* name) {
  const bool best = name[0] == '\0';
#ifdef REALM_X86
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx512 && (best || std::strcmp(name, "avx512") == 0)) return &avx512_kernels();
  if (avx2 && (best || std::strcmp(name, "avx2") == 0)) return &avx2_kernels();
#endif
  if (best || std::strcmp(name, "scalar") == 0) return &scalar_kernels();
  return nullptr;
}

}  // namespace realm
