// dot_pair of one piece: rows of 32 lanes in vectors, as block_sum.hpp defines.
#ifndef LRPOLICY_KERNELS_SIMD_DOT_PAIR_PIECE_HPP_
#define LRPOLICY_KERNELS_SIMD_DOT_PAIR_PIECE_HPP_

#include <algorithm>

#include "list_targets.hpp"
#include "vectors.hpp"

namespace lrpolicy {
namespace {

// Processors fetch ahead by themselves, but not from one page into the next: a row asks for the one this far behind it.
constexpr std::int64_t kBytesAhead = 2048;

template <typename T>
inline __attribute__((always_inline)) void prefetch_row(const T* row) {
  const char* const ahead = reinterpret_cast<const char*>(row) + kBytesAhead;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kLanes * sizeof(T); i += 64) __builtin_prefetch(ahead + i);
}

// Where g comes from and where it goes. A row that a tensor's end cuts short is padded with zeros.
template <typename T, bool roll>
struct GradientRows {
  using Number = T;
  const T* now;
  T* previous;

  auto g_at(std::int64_t i) const { return load_wide(now + i); }
  auto previous_at(std::int64_t i) const { return load_wide(previous + i); }
  void prefetch(std::int64_t i) const {
    prefetch_row(now + i);
    prefetch_row(previous + i);
  }
  template <typename Vector>
  void roll_at(std::int64_t i, Vector) const {
    if constexpr (roll) std::memcpy(previous + i, now + i, kWidth * sizeof(T));
  }
};

template <typename T, bool roll>
struct DisplacementRows {
  using Number = Wide<T>;
  const T* now;
  T* start;
  Wide<T>* previous;

  auto g_at(std::int64_t i) const { return load_wide(start + i) - load_wide(now + i); }
  auto previous_at(std::int64_t i) const { return load_wide(previous + i); }
  void prefetch(std::int64_t) const {}  // no faster with it: three lists keep the memory busy
  template <typename Vector>
  void roll_at(std::int64_t i, Vector g) const {
    if constexpr (roll) {
      std::memcpy(previous + i, &g, sizeof(g));
      std::memcpy(start + i, now + i, kWidth * sizeof(T));
    }
  }
};

struct LaneSums {
  Doubles gg[kVectors] = {}, gp[kVectors] = {};
};

template <typename Rows>
inline __attribute__((always_inline)) void add_row(const Rows& rows, std::int64_t first, LaneSums& sums) {
  constexpr bool exact = !std::is_same_v<typename Rows::Number, double>;
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const std::int64_t i = first + v * kWidth;
    const auto narrow = rows.g_at(i);
    const Doubles g = to_doubles(narrow), previous = to_doubles(rows.previous_at(i));
    sums.gg[v] = add_products<exact>(sums.gg[v], g, g);
    sums.gp[v] = add_products<exact>(sums.gp[v], g, previous);
    rows.roll_at(i, narrow);
  }
}

// The row that begins at `first` and has `count` < 32 elements, by way of a padded copy.
template <typename T, bool roll>
void add_short_row(const GradientRows<T, roll>& rows, std::int64_t first, std::int64_t count, LaneSums& sums) {
  const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
  T now[kLanes] = {}, previous[kLanes] = {};
  std::memcpy(now, rows.now + first, bytes);
  std::memcpy(previous, rows.previous + first, bytes);
  add_row(GradientRows<T, false>{now, previous}, 0, sums);
  if constexpr (roll) std::memcpy(rows.previous + first, now, bytes);
}

template <typename T, bool roll>
void add_short_row(const DisplacementRows<T, roll>& rows, std::int64_t first, std::int64_t count, LaneSums& sums) {
  const auto size = static_cast<std::size_t>(count);
  T now[kLanes] = {}, start[kLanes] = {};
  Wide<T> previous[kLanes] = {};
  std::memcpy(now, rows.now + first, size * sizeof(T));
  std::memcpy(start, rows.start + first, size * sizeof(T));
  std::memcpy(previous, rows.previous + first, size * sizeof(Wide<T>));
  add_row(DisplacementRows<T, roll>{now, start, previous}, 0, sums);
  if constexpr (roll) {
    std::memcpy(rows.previous + first, previous, size * sizeof(Wide<T>));
    std::memcpy(rows.start + first, now, size * sizeof(T));
  }
}

template <typename Rows>
DotSums sum_block(const Rows& rows, std::int64_t first, std::int64_t count) {
  LaneSums sums;
  const std::int64_t whole = first + count / kLanes * kLanes;
  for (std::int64_t i = first; i < whole; i += kLanes) {
    rows.prefetch(i);
    add_row(rows, i, sums);
  }
  if (count % kLanes != 0) add_short_row(rows, whole, count % kLanes, sums);
  return {fold_vectors(sums.gg), fold_vectors(sums.gp)};
}

template <typename Rows>
DotSums sum_piece(const Rows& rows, const Piece& piece) {
  double gg[kPieceBlocks], gp[kPieceBlocks];
  const std::int64_t blocks = block_count(piece.count);
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t done = b * kBlock;
    const DotSums sums = sum_block(rows, piece.first + done, std::min<std::int64_t>(kBlock, piece.count - done));
    gg[b] = sums.gg;
    gp[b] = sums.gp;
  }
  return {fold_blocks(gg, blocks), fold_blocks(gp, blocks)};
}

template <typename T, bool roll>
DotSums sum_rows(const DotPair& call, const Piece& piece) {
  const T* const now = static_cast<const T*>(call.now[piece.tensor]);
  void* const previous = call.previous[piece.tensor];
  if (call.start == nullptr) return sum_piece(GradientRows<T, roll>{now, static_cast<T*>(previous)}, piece);
  T* const start = static_cast<T*>(call.start[piece.tensor]);
  return sum_piece(DisplacementRows<T, roll>{now, start, static_cast<Wide<T>*>(previous)}, piece);
}

DotSums dot_pair(const DotPair& call, const Piece& piece) {
  DotSums sums = {0, 0};
  with_type(call.dtype, [&](auto type) {
    using T = decltype(type);
    sums = call.roll ? sum_rows<T, true>(call, piece) : sum_rows<T, false>(call, piece);
  });
  return sums;
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_SIMD_DOT_PAIR_PIECE_HPP_
