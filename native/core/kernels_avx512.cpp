// The kernels for AVX-512 with VNNI.
#ifdef REALM_X86
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "blake3_rounds.h"
#include "kernels.h"

#define REALM_KERNELS_AVX512 1
#define REALM_TABLE avx512_kernels
#define REALM_TABLE_NAME "avx512"
#include "kernels.inc"
#endif
