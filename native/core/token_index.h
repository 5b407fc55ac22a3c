// Where in a text the tokens at the end of a text stood before: the longest such match.
//
// Chains of equal tokens and pairs in a hash table, as compressors of the Lempel-Ziv family find their
// matches (Deutsch, RFC 1951, section 4). A suffix automaton would find the same in a constant time a token,
// but cannot forget its newest tokens; against it, looking at the 8 latest places of a pair and at 16 tokens
// before each loses nothing measurable on the texts in src/realm/cli/texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace realm {

constexpr int kMatchTokens = 16;        // longer matches are not told apart
constexpr int32_t kTextSeparator = -1;  // between texts; nothing matches it

// position: of the token after the match. length: tokens that match before it; 0: there is none.
struct TextMatch {
  int position = 0, length = 0;
};

// The latest places of keys, in a table of open addresses. Its order is another one in every process, so that
// nobody can choose tokens that all meet in one place.
class PlaceTable {
 public:
  static constexpr int32_t kNowhere = -1;
  int32_t find(uint64_t key) const;
  // Sets a key's place, kNowhere for none; the place before. Takes memory only for a key that is new.
  int32_t exchange(uint64_t key, int32_t place);
  void clear();

 private:
  static constexpr int32_t kEmpty = -2;
  struct Cell {
    uint64_t key;
    int32_t place;
  };
  size_t cell_of(uint64_t key) const;
  void grow();
  std::vector<Cell> cells_;
  size_t used_ = 0;
  int shift_ = 64;
};

// A text that grows and shrinks at its end, with all the places where a token or pair stands. Some 100 bytes
// a token. Token ids are 0 or more and below 2^31 - 1; the text may contain kTextSeparator.
class TokenIndex {
 public:
  int size() const { return static_cast<int>(tokens_.size()); }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  void extend(const int32_t* tokens, size_t count);
  // Forgets every token from position `length` on.
  void truncate(int length);
  void clear();
  // Where the end of `tail`, the last tokens of this text or another, stands with a token behind it. Among
  // the latest places of its last pair, else of its last token, the longest matches win, of these one with
  // the token behind it that most of them have, then the latest.
  TextMatch find(const int32_t* tail, int count) const;

 private:
  // Of the places from `position` backwards, at each of which `least` tokens match.
  TextMatch longest(const int32_t* tail, int count, int position, int least) const;

  std::vector<int32_t> tokens_;
  // The position behind the latest place of a token or of a pair; and for each position, the one behind the
  // place before of the same token or pair.
  PlaceTable places_;
  std::vector<int32_t> singles_before_, pairs_before_;
};

}  // namespace realm
