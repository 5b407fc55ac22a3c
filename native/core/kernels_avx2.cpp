// The kernels for AVX2 with FMA and F16C.
#ifdef REALM_X86
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "blake3_rounds.h"
#include "kernels.h"

#define REALM_KERNELS_AVX2 1
#define REALM_TABLE avx2_kernels
#define REALM_TABLE_NAME "avx2"
#include "kernels.inc"
#endif
