// The work of a list, as a table in device memory: pieces, one for each CUDA block, and above them the tree of their
// sums. Whoever completes a group of the tree goes on with its sum; no block waits for another.
#ifndef LRPOLICY_KERNELS_CUDA_TABLE_HPP_
#define LRPOLICY_KERNELS_CUDA_TABLE_HPP_

#include <lrpolicy/block_sum.hpp>
#include <vector>

namespace lrpolicy {

constexpr int kTeamBlocks = 4;     // of block_sum.hpp to a piece: 4096 elements, so that short lists fill a GPU too
constexpr int kGroupNodes = 256;   // children of a group, a power of two: each group is a node of the tree
constexpr std::int32_t kTop = -1;  // no group above: the tensor's sum

// Elements first .. first + count of a tensor; an empty tensor has one empty piece.
struct TeamPiece {
  std::int64_t first;
  std::int32_t tensor, count, group;
};

// Nodes first_node .. first_node + count fold into one. Node numbers: the pieces', then the groups'.
struct Group {
  std::int32_t first_node, count, group;  // group: the one above
};

struct Table {
  std::vector<TeamPiece> pieces;
  std::vector<Group> groups;
  std::vector<std::int32_t> first_piece;  // of each tensor, and the number of pieces
};

inline Table table_of(const std::vector<std::int64_t>& counts) {
  constexpr std::int64_t kElements = kTeamBlocks * kBlock;
  Table table;
  for (std::size_t t = 0; t < counts.size(); ++t) {
    table.first_piece.push_back(static_cast<std::int32_t>(table.pieces.size()));
    std::int64_t first = 0;
    do {
      const std::int64_t left = counts[t] - first;
      table.pieces.push_back(
          {first, static_cast<std::int32_t>(t), static_cast<std::int32_t>(left < kElements ? left : kElements), kTop});
      first += kElements;
    } while (first < counts[t]);
  }
  const auto piece_count = static_cast<std::int32_t>(table.pieces.size());
  table.first_piece.push_back(piece_count);
  const auto up = [&](std::int32_t node) -> std::int32_t& {
    return node < piece_count ? table.pieces[static_cast<std::size_t>(node)].group
                              : table.groups[static_cast<std::size_t>(node - piece_count)].group;
  };
  for (std::size_t t = 0; t < counts.size(); ++t) {
    std::int32_t begin = table.first_piece[t], end = table.first_piece[t + 1];
    while (end - begin > 1) {
      const auto level = piece_count + static_cast<std::int32_t>(table.groups.size());
      for (std::int32_t node = begin; node < end; node += kGroupNodes) {
        const std::int32_t count = end - node < kGroupNodes ? end - node : kGroupNodes;
        for (std::int32_t i = 0; i < count; ++i) up(node + i) = static_cast<std::int32_t>(table.groups.size());
        table.groups.push_back({node, count, kTop});
      }
      begin = level;
      end = piece_count + static_cast<std::int32_t>(table.groups.size());
    }
  }
  return table;
}

}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_TABLE_HPP_
