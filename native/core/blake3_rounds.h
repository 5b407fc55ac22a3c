// What one block of BLAKE3 does to a state of sixteen words; a word is a number, or a vector of lanes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace realm {

constexpr int kDigestBlockBytes = 64, kDigestChunkBytes = 1024;
// A group of chunks among which words are dealt in turns: a processor's lanes take them as they stand.
constexpr size_t kDealtChunks = 16, kDealtBytes = kDealtChunks * kDigestChunkBytes;
constexpr uint32_t kDigestBeginning[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// Flags of a block.
constexpr uint32_t kChunkStart = 1, kChunkEnd = 2, kParent = 4, kRoot = 8;

// Which word of the block is the i-th of every round: the words change places after each.
constexpr int kDigestRounds = 7;
struct DigestSchedule {
  int word[kDigestRounds][16];
};
constexpr DigestSchedule digest_schedule() {
  constexpr int next[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};
  DigestSchedule schedule{};
  for (int i = 0; i < 16; i++) schedule.word[0][i] = i;
  for (int round = 1; round < kDigestRounds; round++)
    for (int i = 0; i < 16; i++) schedule.word[round][i] = schedule.word[round - 1][next[i]];
  return schedule;
}

template <class Word>
Word turned_right(Word word, int bits) {
  return word >> bits | word << (32 - bits);
}

// The quarter rounds of the columns, then those of the diagonals.
template <class Word>
void digest_rounds(Word* v, const Word* block) {
  constexpr DigestSchedule schedule = digest_schedule();
  constexpr int places[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};
#pragma GCC unroll 8
  for (int round = 0; round < kDigestRounds; round++)
#pragma GCC unroll 8
    for (int quarter = 0; quarter < 8; quarter++) {
      Word &a = v[places[quarter][0]], &b = v[places[quarter][1]];
      Word &c = v[places[quarter][2]], &d = v[places[quarter][3]];
      a = a + b + block[schedule.word[round][2 * quarter]];
      d = turned_right(d ^ a, 16);
      c = c + d;
      b = turned_right(b ^ c, 12);
      a = a + b + block[schedule.word[round][2 * quarter + 1]];
      d = turned_right(d ^ a, 8);
      c = c + d;
      b = turned_right(b ^ c, 7);
    }
}

}  // namespace realm
