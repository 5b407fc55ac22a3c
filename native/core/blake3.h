// BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), unkeyed, 32 bytes: a tree of short texts, of
// which a processor's lanes take many at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace realm {

using Digest = std::array<uint8_t, 32>;

// Of the text whose 4-byte words are dealt: of every whole 16 KiB the i-th word goes to the (i % 16)-th chunk
// of 1 KiB. What is behind them stays as it is.
Digest dealt_blake3(const KernelTable& kernels, const uint8_t* text, size_t bytes);

}  // namespace realm
