// SHA-256 (FIPS 180-4) of one or two texts at once: two keep a core's unit for it busy where one waits for
// itself.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace realm {

using Sha256Digest = std::array<uint8_t, 32>;

// Of `lanes` texts (1 or 2) into digests[0 .. lanes). Stops early when `abandoned` becomes true: then the
// digests mean nothing.
void sha256(const uint8_t* const* texts, const size_t* bytes, int lanes, const std::atomic<bool>& abandoned,
            Sha256Digest* digests);

// Whether the processor has instructions for it; REALM_ISA=scalar does without.
bool has_sha_instructions();

}  // namespace realm
