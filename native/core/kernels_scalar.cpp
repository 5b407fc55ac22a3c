// The kernels in plain C++: right on every processor.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "blake3_rounds.h"
#include "kernels.h"

#define REALM_TABLE scalar_kernels
#define REALM_TABLE_NAME "scalar"
#include "kernels.inc"
