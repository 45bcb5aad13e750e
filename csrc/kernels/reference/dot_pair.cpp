#include "../dot_pair.hpp"

#include <algorithm>

#include "../call.hpp"

namespace lrpolicy {
namespace {

struct Sums {
  double gg, gp;
};

// One tensor: how to form g, and where it rolls to.
template <typename T>
struct Gradient {
  const T* now;
  T* previous;
  bool roll;

  T at(std::int64_t i) const { return now[i]; }
  void roll_at(std::int64_t i) const { previous[i] = now[i]; }
};

template <typename T>
struct Displacement {
  const T* now;
  T* start;
  Wide<T>* previous;
  bool roll;

  Wide<T> at(std::int64_t i) const { return displacement(start[i], now[i]); }
  void roll_at(std::int64_t i) const {
    previous[i] = at(i);
    start[i] = now[i];
  }
};

template <typename Source>
Sums block(const Source& source, std::int64_t first, std::int64_t count) {
  double gg[kLanes] = {}, gp[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto g = widen(source.at(first + i));
    gg[i % kLanes] = add_product(gg[i % kLanes], g, g);
    gp[i % kLanes] = add_product(gp[i % kLanes], g, widen(source.previous[first + i]));
    if (source.roll) source.roll_at(first + i);
  }
  return {fold_lanes(gg), fold_lanes(gp)};
}

// The blocks from `first` on, `count` elements: the left part is the largest power of two of blocks that leaves a
// right.
template <typename Source>
Sums tree(const Source& source, std::int64_t first, std::int64_t count) {
  if (count <= kBlock) return block(source, first, count);
  std::int64_t left_count = kBlock;
  while (2 * left_count < count) left_count *= 2;
  const Sums left = tree(source, first, left_count), right = tree(source, first + left_count, count - left_count);
  return {left.gg + right.gg, left.gp + right.gp};
}

template <typename T>
Sums tensor(const DotPair& call, std::size_t i, std::int64_t count) {
  if (count == 0) return {0, 0};
  const T* const now = static_cast<const T*>(call.now[i]);
  if (call.start == nullptr) return tree(Gradient<T>{now, static_cast<T*>(call.previous[i]), call.roll}, 0, count);
  return tree(Displacement<T>{now, static_cast<T*>(call.start[i]), static_cast<Wide<T>*>(call.previous[i]), call.roll},
              0, count);
}

}  // namespace
}  // namespace lrpolicy

using namespace lrpolicy;

Status lrpolicy_dot_pair_reference(Plan* plan, const DotPair* call) {
  return checked(plan, call, [&] {
    with_type(call->dtype, [&](auto type) {
      for (std::size_t i = 0; i < plan->counts.size(); ++i) {
        const Sums sums = tensor<decltype(type)>(*call, i, plan->counts[i]);
        call->gg[i] = sums.gg;
        call->gp[i] = sums.gp;
      }
    });
  });
}
