#include "blake3.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "blake3_rounds.h"

namespace realm {
namespace {

// One block of up to 64 bytes into the state.
void compress(uint32_t* state, const uint8_t* text, size_t bytes, uint64_t number, uint32_t flags) {
  uint32_t block[16] = {}, v[16];
  if (bytes > 0) std::memcpy(block, text, bytes);
  std::copy(state, state + 8, v);
  std::copy(kDigestBeginning, kDigestBeginning + 4, v + 8);
  v[12] = static_cast<uint32_t>(number);
  v[13] = static_cast<uint32_t>(number >> 32);
  v[14] = static_cast<uint32_t>(bytes);
  v[15] = flags;
  digest_rounds(v, block);
  for (int i = 0; i < 8; i++) state[i] = v[i] ^ v[8 + i];
}

// A chunk of at most 1024 bytes, which may be empty.
void digest_chunk(const uint8_t* text, size_t bytes, uint64_t number, uint32_t root, uint32_t* out) {
  std::copy(kDigestBeginning, kDigestBeginning + 8, out);
  size_t at = 0;
  uint32_t flags = kChunkStart;
  for (; bytes - at > kDigestBlockBytes; at += kDigestBlockBytes, flags = 0)
    compress(out, text + at, kDigestBlockBytes, number, flags);
  compress(out, text + at, bytes - at, number, flags | kChunkEnd | root);
}

}  // namespace

Digest dealt_blake3(const KernelTable& kernels, const uint8_t* text, size_t bytes) {
  const size_t whole = bytes / kDigestChunkBytes, rest = bytes % kDigestChunkBytes;
  size_t count = std::max<size_t>(1, whole + (rest > 0));
  std::vector<uint32_t> values(8 * count);
  if (count == 1) {
    digest_chunk(text, bytes, 0, kRoot, values.data());
  } else {
    const size_t groups = bytes / kDealtBytes, dealt = kDealtChunks * groups;
    kernels.digest_dealt(text, groups, values.data());
    kernels.digest_texts(text + groups * kDealtBytes, whole - dealt, kDigestChunkBytes / kDigestBlockBytes,
                         dealt, false, values.data() + 8 * dealt);
    if (rest > 0) digest_chunk(text + whole * kDigestChunkBytes, rest, whole, 0, values.data() + 8 * whole);
    // Two by two; one that is left over waits for the next level.
    for (; count > 2; count = (count + 1) / 2) {
      const uint8_t* pairs = reinterpret_cast<const uint8_t*>(values.data());
      kernels.digest_texts(pairs, count / 2, 1, 0, true, values.data());
      if (count % 2 > 0)
        std::copy_n(values.begin() + static_cast<ptrdiff_t>(8 * (count - 1)), 8,
                    values.begin() + static_cast<ptrdiff_t>(8 * (count / 2)));
    }
    uint32_t root[8];
    std::copy(kDigestBeginning, kDigestBeginning + 8, root);
    compress(root, reinterpret_cast<const uint8_t*>(values.data()), kDigestBlockBytes, 0, kParent | kRoot);
    std::copy(root, root + 8, values.begin());
  }
  Digest digest;
  std::memcpy(digest.data(), values.data(), digest.size());
  return digest;
}

}  // namespace realm
