// The kernel table: one row per instruction set, every operation with the same meaning in all of them.
// Within one row, a result never depends on how many rows or groups a call covers (batch invariance).
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats.h"

namespace realm {

constexpr int kPageTokens = 32;   // tokens of one cache page
constexpr int kMaximaBlock = 64;  // values that block_maxima looks at together
constexpr int kMaxQueries = 12;   // queries that share one pass over a page
constexpr int kTileQueries = 64;  // queries of all heads of a tile
constexpr int kKeyBlock = 32;     // numbers of an int8 key that share a scale

// Rows of activations as integers, in blocks of eight rows: [row / 8][columns / 32]. nullptr: no product
// reads them.
struct QuantizedRows {
  ActivationBlock* blocks;
  WideActivationBlock* wide_blocks;
};

// Activations as every product reads them, and which of their rows it is about.
struct Activations {
  const float* values;  // [row][value_stride]
  ptrdiff_t value_stride;
  QuantizedRows quantized;
  int rows;  // rows first .. first + rows - 1
  int first = 0;
  int end() const { return first + rows; }
};

// B of an adapter: for every 16 outputs `quads` vectors of 64 bytes (byte 4 * output + rank of four ranks,
// 128 added), then 16 scales as bfloat16.
struct RankMatrix {
  int groups = 0, quads = 0;
  uint8_t* data = nullptr;

  size_t group_bytes() const { return 64 * static_cast<size_t>(quads) + 2 * kGroupRows; }
  uint8_t* group(int index) const { return data + group_bytes() * static_cast<size_t>(index); }
};

// Rows of A x, quantised, of one part of a site; scales[row * part_stride] belong to quants + row *
// quant_stride.
struct Ranks {
  const int8_t* quants;
  ptrdiff_t quant_stride;
  const float* scales;
  const int32_t* sums;
  ptrdiff_t part_stride;
};

// What a cache's numbers are. In a page the planes of a head stand together: keys as [head_dim][32 tokens],
// then values as [32 tokens][head_dim]. Behind int8 numbers stand their scales as half floats: of keys one
// for every kKeyBlock numbers of a token, [block][32 tokens], of values one for every token.
enum class CacheForm : int { kFloat16 = 0, kInt8 = 1 };

// Of a head's keys in a page; of its values too.
constexpr size_t plane_bytes(int head_dim, CacheForm form) {
  const size_t numbers = static_cast<size_t>(head_dim) * kPageTokens;
  const size_t blocks = (static_cast<size_t>(head_dim) + kKeyBlock - 1) / kKeyBlock;
  return form == CacheForm::kInt8 ? numbers + 2 * blocks * kPageTokens : 2 * numbers;
}

// Queries of one sequence, query_count for each of `heads` neighbouring key/value heads.
struct AttentionTile {
  const float* queries[kTileQueries];  // [heads][query_count], head_dim floats
                                       // each, already scaled
  float* partials[kTileQueries];       // partial_size(head_dim) floats each
  int first[kTileQueries];             // first visible position
  int last[kTileQueries];              // last visible position
  int heads = 1, query_count;
  int begin, end;        // only positions begin..end-1 are looked at
  const int32_t* pages;  // page numbers of the sequence
  const uint8_t* pool;   // page 0
  size_t page_bytes;
  size_t offset;        // of the first head's planes in a page
  const uint8_t* next;  // planes that the caller looks at next, to be fetched ahead
  int head_dim;
  float softcap;  // 0: none
  CacheForm form;
};

// What attention over some of a query's positions gives: head_dim sums of weighted values, then the largest
// score and the sum of weights. A total of 0: none of the positions is visible.
constexpr int partial_size(int head_dim) { return head_dim + 16; }

enum class Gate : int { kSilu = 0, kGeluTanh = 1 };

// Weights that a thread reads after those of a product, as far as it knows: they are fetched meanwhile.
struct Upcoming {
  const uint8_t *begin = nullptr, *end = nullptr;
};

// Whether weights that a step reads once are fetched to the nearest cache alone, which leaves the others to
// what is read again. On Intel steps with such fetches took two to four times as long (decision 1).
extern const bool kFetchPastCaches;

// Plain numbers as a file has them: kF32, kF16 or kBF16.
struct Numbers {
  Form form = Form::kF32;
  const uint8_t* data = nullptr;

  size_t width() const { return form == Form::kF32 ? 4 : 2; }
  Numbers from(ptrdiff_t index) const { return {form, data + index * static_cast<ptrdiff_t>(width())}; }
};

struct KernelTable {
  const char* name;
  int query_tile;  // how many queries an attention tile should hold
  // out[row][16 g + lane] (=, or += when accumulate) for groups [begin, end). scratch: unpack_bytes(columns).
  void (*product)(const PackedMatrix& matrix, int begin, int end, const Activations& activations, float* out,
                  ptrdiff_t out_stride, bool accumulate, uint8_t* scratch, const Upcoming& upcoming);
  // values [count] as int8, the scale of one, and their sum; quants: a multiple of 16.
  void (*quantize_ranks)(const float* values, int count, int8_t* quants, float* scale, int32_t* sum);
  // out[row][16 g + lane] += B x for groups [begin, end) and `rows` rows from the first.
  void (*expand)(const RankMatrix& b, int begin, int end, const Ranks& x, int first, int rows, float* out,
                 ptrdiff_t out_stride);
  void (*quantize_row)(const float* values, int columns, ActivationBlock* blocks, int lane);
  void (*quantize_wide_row)(const float* values, int columns, WideActivationBlock* blocks, int lane);
  void (*rms_norm)(const float* values, const float* weight, int columns, float epsilon, float* out);
  void (*rotate)(const float* angles, int dimensions, bool interleaved, float* head);
  void (*add)(float* to, const float* from, int count);
  void (*gate)(Gate kind, const float* gate, const float* up, int count, float* out);
  void (*attention)(const AttentionTile& tile);
  // into = both together, as if their positions had been one after the other; `from` comes later.
  void (*combine_partials)(float* into, const float* from, int head_dim);
  void (*finish_partial)(const float* partial, int head_dim, float* out);
  // Of the token in this slot of a page, into the plane of its head.
  void (*store_key)(const float* key, int head_dim, int slot, CacheForm form, uint8_t* plane);
  void (*store_value)(const float* value, int head_dim, int slot, CacheForm form, uint8_t* plane);
  void (*soft_cap)(float* values, int count, float cap);
  // The largest of every kMaximaBlock values in order; NaN never is one, -infinity stands for a block of
  // them.
  void (*block_maxima)(const float* values, int count, float* maxima);
  // out = exp(max((values - shift) * scale, -87)); returns the sum. values and out may be the same.
  float (*exp_sum)(const float* values, int count, float shift, float scale, float* out);
  // As floats; whether each is finite.
  bool (*read_numbers)(const Numbers& numbers, int64_t count, float* out);
  // The largest magnitude of every 32 numbers of up to 16 rows: largest[block][16]; whether each number is
  // finite.
  bool (*block_largest)(const Numbers& numbers, int columns, int rows, float* largest);
  // Numbers * factor as rows of kQ8 from the lane-th of a group on. largest: of their blocks, before the
  // factor. block: the first of the group.
  void (*pack_q8_rows)(const Numbers& numbers, int columns, int rows, const float* largest, float factor,
                       uint8_t* block, int lane);
  // Numbers [rows][rank] * scale as a group of a RankMatrix; false for what it cannot hold.
  bool (*pack_rank_rows)(const Numbers& numbers, int rows, int rank, float scale, uint8_t* group);
  // BLAKE3's values of `count` texts of `blocks` times 64 bytes, one after another: out[text][8]. Of chunks,
  // the first of which has this number, or of pairs of values. out may begin where the texts do.
  void (*digest_texts)(const uint8_t* text, size_t count, int blocks, uint64_t number, bool are_parents,
                       uint32_t* out);
  // The same of 16 chunks for every 16 KiB, from number 0 on, each of which has every 16th word of them.
  void (*digest_dealt)(const uint8_t* text, size_t groups, uint32_t* out);
};

// Bytes that an unpacked group of this many columns takes.
inline size_t unpack_bytes(int columns) {
  return static_cast<size_t>(columns + kBlockColumns) / kBlockColumns * (512 + 4 * 64);
}
// Bytes of scratch that product needs for matrices of this many columns: two groups.
inline size_t product_scratch_bytes(int columns) { return 2 * unpack_bytes(columns) + 64; }

const KernelTable& scalar_kernels();
#ifdef REALM_X86
const KernelTable& avx2_kernels();
const KernelTable& avx512_kernels();
#endif
// The named instruction set, or the best one of this processor for "". nullptr when it cannot run here.
const KernelTable* kernels_for(const char* name);

}  // namespace realm
