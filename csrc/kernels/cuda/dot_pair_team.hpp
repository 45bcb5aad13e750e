// dot_pair by one team: a piece's lanes, its part in the tensor's tree, and, where the list is complete, TLR's rates.
#ifndef LRPOLICY_KERNELS_CUDA_DOT_PAIR_TEAM_HPP_
#define LRPOLICY_KERNELS_CUDA_DOT_PAIR_TEAM_HPP_

#include "../dot_pair.hpp"
#include "learn_team.hpp"
#include "table.hpp"

namespace lrpolicy {

struct DotNode {
  double gg, gp;
};

// What every piece of a launch shares; all in device memory.
struct DotWork {
  const TeamPiece* pieces;
  const Group* groups;
  DotNode* nodes;
  unsigned* tickets;      // one for each group, 0 between calls
  unsigned* list_ticket;  // counts tensors
  std::int32_t piece_count, tensor_count;
  bool roll, learns;
  double *gg, *gp;  // out
  DeviceTlr tlr;    // where it learns
};

namespace {

struct DotShared {
  double gg[kTeam], gp[kTeam];
  DotNode sum;
  bool is_last;
  std::int32_t culprit;  // for learn()
};

// Where g comes from and where it rolls to.
template <typename T>
struct GradientElements {
  const T* now;
  T* previous;

  struct Element {
    T now, previous;
  };
  LRPOLICY_ON_TEAM Element at(int i) const { return {now[i], previous[i]}; }
  static LRPOLICY_ON_TEAM T g(const Element& e) { return e.now; }
  LRPOLICY_ON_TEAM void roll(int i, const Element& e) const { previous[i] = e.now; }
};

template <typename T>
struct DisplacementElements {
  const T* now;
  T* start;
  Wide<T>* previous;

  struct Element {
    T now, start;
    Wide<T> previous;
  };
  LRPOLICY_ON_TEAM Element at(int i) const { return {now[i], start[i], previous[i]}; }
  static LRPOLICY_ON_TEAM Wide<T> g(const Element& e) { return displacement(e.start, e.now); }
  LRPOLICY_ON_TEAM void roll(int i, const Element& e) const {
    previous[i] = g(e);
    start[i] = e.now;
  }
};

// One sum for each warp, in its first thread, to the piece's or group's sum in shared.sum (of one thread).
LRPOLICY_ON_TEAM void fold_warps(Team team, DotShared& shared) {
  static_assert(kTeam == 4 * kWarp && kTeamBlocks == 4, "four warps, and a block for each");
  team.sync();
  team.one([&] {
    shared.sum.gg = (shared.gg[0] + shared.gg[kWarp]) + (shared.gg[2 * kWarp] + shared.gg[3 * kWarp]);
    shared.sum.gp = (shared.gp[0] + shared.gp[kWarp]) + (shared.gp[2 * kWarp] + shared.gp[3 * kWarp]);
  });
}

// The sums of a piece whose elements begin at `elements`: a block to a warp, a lane to a thread, L within the warp.
template <typename Elements>
LRPOLICY_ON_TEAM void sum_piece(Team team, const Elements& elements, int count, bool roll, DotShared& shared) {
  constexpr int kBatch = sizeof(typename Elements::Element) < 16 ? 16 : 8;
  static_assert(kLanes == kWarp, "a lane is a thread");
  team.each([&](int thread) {
    const int begin = thread / kWarp * kBlock, end = count < begin + kBlock ? count : begin + kBlock;
    double gg = 0, gp = 0;
    stream<kBatch, kLanes>(
        begin + thread % kWarp, end, [&](int i) { return elements.at(i); },
        [&](int i, const typename Elements::Element& e) {
          const auto g = widen(Elements::g(e));
          gg = add_product(gg, g, g);
          gp = add_product(gp, g, widen(e.previous));
          if (roll) elements.roll(i, e);
        });
    shared.gg[thread] = gg;
    shared.gp[thread] = gp;
  });
  for (int step = kLanes / 2; step > 0; step /= 2) {
    team.sync_warps();
    team.each([&](int thread) {
      if (thread % kWarp >= step) return;
      shared.gg[thread] += shared.gg[thread + step];
      shared.gp[thread] += shared.gp[thread + step];
    });
  }
  fold_warps(team, shared);
}

// T over the nodes of a group: two to a thread, then neighbours. A node that is not there counts as +0, which changes
// no bit of a sum.
LRPOLICY_ON_TEAM void sum_nodes(Team team, const DotNode* nodes, int count, DotShared& shared) {
  static_assert(kGroupNodes == 2 * kTeam, "two nodes to a thread");
  team.each([&](int thread) {
    double gg[2] = {0, 0}, gp[2] = {0, 0};
    for (int i = 0; i < 2; ++i) {
      if (2 * thread + i >= count) continue;
      gg[i] = team.shared_load(&nodes[2 * thread + i].gg);
      gp[i] = team.shared_load(&nodes[2 * thread + i].gp);
    }
    shared.gg[thread] = gg[0] + gg[1];
    shared.gp[thread] = gp[0] + gp[1];
  });
  for (int step = 1; step < kWarp; step *= 2) {
    team.sync_warps();
    team.each([&](int thread) {
      if (thread % (2 * step) != 0) return;
      shared.gg[thread] += shared.gg[thread + step];
      shared.gp[thread] += shared.gp[thread + step];
    });
  }
  fold_warps(team, shared);
}

// From a piece's sum towards its tensor's, as far as this team is the last to arrive; true for the tensor's last.
LRPOLICY_ON_TEAM bool climb(Team team, const DotWork& work, std::int32_t piece, DotShared& shared) {
  std::int32_t node = piece, group = work.pieces[piece].group;
  while (group != kTop) {
    team.one([&] {
      work.nodes[node] = shared.sum;
      shared.is_last = team.is_last(work.tickets + group, static_cast<unsigned>(work.groups[group].count));
    });
    team.sync();
    if (!shared.is_last) return false;
    sum_nodes(team, work.nodes + work.groups[group].first_node, work.groups[group].count, shared);
    node = work.piece_count + group;
    group = work.groups[group].group;
  }
  return true;
}

// All that a team does with its piece. The pointers are the tensor's; `start` may be null.
template <typename T, bool displaced>
LRPOLICY_ON_TEAM void dot_pair_team(Team team, const DotWork& work, std::int32_t piece_index, const void* now,
                                    void* previous, void* start, DotShared& shared) {
  const TeamPiece piece = work.pieces[piece_index];
  const T* const first = static_cast<const T*>(now) + piece.first;
  if constexpr (displaced) {
    const DisplacementElements<T> elements = {first, static_cast<T*>(start) + piece.first,
                                              static_cast<Wide<T>*>(previous) + piece.first};
    sum_piece(team, elements, piece.count, work.roll, shared);
  } else {
    sum_piece(team, GradientElements<T>{first, static_cast<T*>(previous) + piece.first}, piece.count, work.roll,
              shared);
  }
  if (!climb(team, work, piece_index, shared)) return;
  team.one([&] {
    work.gg[piece.tensor] = shared.sum.gg;
    work.gp[piece.tensor] = shared.sum.gp;
    shared.is_last = work.learns && team.is_last(work.list_ticket, static_cast<unsigned>(work.tensor_count));
  });
  if (!work.learns) return;
  team.sync();
  if (shared.is_last) learn(team, work.tlr, work.gg, work.gp, work.tensor_count, shared);
}

}  // namespace
}  // namespace lrpolicy

#endif  // LRPOLICY_KERNELS_CUDA_DOT_PAIR_TEAM_HPP_
