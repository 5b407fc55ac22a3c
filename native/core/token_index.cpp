#include "token_index.h"

#include <algorithm>
#include <random>
#include <utility>

namespace realm {
namespace {

constexpr int kPlaces = 8;  // of a token or pair that are looked at, the latest first
constexpr int kFirstCells = 64;

uint64_t random_odd() {
  std::random_device source;
  return (static_cast<uint64_t>(source()) << 32 | source()) | 1;
}

uint64_t single_key(int32_t token) { return uint64_t{1} << 63 | static_cast<uint32_t>(token); }
// Of ids, and for the separator numbers, that a single token's key does not have.
uint64_t pair_key(int32_t first, int32_t second) {
  return static_cast<uint64_t>(static_cast<uint32_t>(first + 1)) << 32 | static_cast<uint32_t>(second);
}

}  // namespace

size_t PlaceTable::cell_of(uint64_t key) const {
  static const uint64_t factor = random_odd();
  const size_t mask = cells_.size() - 1;
  uint64_t mixed = key * factor;
  mixed = (mixed ^ mixed >> 32) * factor;
  size_t at = mixed >> shift_;
  while (cells_[at].place != kEmpty && cells_[at].key != key) at = (at + 1) & mask;
  return at;
}

int32_t PlaceTable::find(uint64_t key) const {
  return cells_.empty() ? kNowhere : std::max(cells_[cell_of(key)].place, kNowhere);
}

int32_t PlaceTable::exchange(uint64_t key, int32_t place) {
  size_t at = cells_.empty() ? 0 : cell_of(key);
  if (cells_.empty() || cells_[at].place == kEmpty) {
    if (2 * (used_ + 1) > cells_.size()) {
      grow();
      at = cell_of(key);
    }
    cells_[at] = {key, kNowhere};
    used_++;
  }
  return std::exchange(cells_[at].place, place);
}

void PlaceTable::grow() {
  std::vector<Cell> before = std::move(cells_);
  const auto is_used = [](const Cell& cell) { return cell.place >= 0; };
  used_ = static_cast<size_t>(std::count_if(before.begin(), before.end(), is_used));
  size_t size = kFirstCells;
  while (size < 4 * (used_ + 1)) size *= 2;
  shift_ = 64;
  for (size_t left = size; left > 1; left /= 2) shift_--;
  cells_.assign(size, {0, kEmpty});
  for (const Cell& cell : before)
    if (is_used(cell)) cells_[cell_of(cell.key)] = cell;
}

void PlaceTable::clear() {
  cells_.clear();
  used_ = 0;
}

void TokenIndex::extend(const int32_t* tokens, size_t count) {
  int32_t last = tokens_.empty() ? kTextSeparator : tokens_.back();
  for (size_t i = 0; i < count; i++) {
    const int32_t token = tokens[i];
    tokens_.push_back(token);
    singles_before_.push_back(places_.exchange(single_key(token), size()));
    pairs_before_.push_back(places_.exchange(pair_key(last, token), size()));
    last = token;
  }
}

void TokenIndex::truncate(int length) {
  while (size() > std::max(length, 0)) {
    const int32_t token = tokens_.back();
    tokens_.pop_back();
    const int32_t last = tokens_.empty() ? kTextSeparator : tokens_.back();
    places_.exchange(single_key(token), singles_before_.back());
    places_.exchange(pair_key(last, token), pairs_before_.back());
    singles_before_.pop_back();
    pairs_before_.pop_back();
  }
}

void TokenIndex::clear() {
  tokens_.clear();
  places_.clear();
  singles_before_.clear();
  pairs_before_.clear();
}

TextMatch TokenIndex::find(const int32_t* tail, int count) const {
  if (count < 1) return {};
  if (count > 1) {
    const TextMatch found = longest(tail, count, places_.find(pair_key(tail[count - 2], tail[count - 1])), 2);
    if (found.length > 0) return found;
  }
  return longest(tail, 1, places_.find(single_key(tail[count - 1])), 1);
}

TextMatch TokenIndex::longest(const int32_t* tail, int count, int position, int least) const {
  const std::vector<int32_t>& before = least == 1 ? singles_before_ : pairs_before_;
  const int end = size(), depth = std::min(count, kMatchTokens);
  const auto behind = [&](int at) { return tokens_[static_cast<size_t>(at)]; };
  // Nothing stands behind it: it is the tail itself.
  if (position == end && end > 0) position = before[static_cast<size_t>(end - 1)];
  int found[kPlaces], found_count = 0, length = 0;
  for (int place = 0; place < kPlaces && position >= 0; place++) {
    const int most = std::min(depth, position);
    int same = least;
    while (same < most && behind(position - 1 - same) == tail[count - 1 - same]) same++;
    if (same >= length && behind(position) != kTextSeparator) {
      if (same > length) found_count = 0;
      length = same;
      found[found_count++] = position;
    }
    position = before[static_cast<size_t>(position - 1)];
  }
  TextMatch best;
  ptrdiff_t most = 0;
  for (const int* each = found; each < found + found_count; each++) {
    const ptrdiff_t votes =
        std::count_if(found, found + found_count, [&](int other) { return behind(other) == behind(*each); });
    if (votes > most) {
      most = votes;
      best = {*each, length};
    }
  }
  return best;
}

}  // namespace realm
