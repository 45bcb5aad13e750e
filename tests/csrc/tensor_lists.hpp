// Lists of tensors for the tests of the kernels: sizes around every edge, contents that show any change of order.
#ifndef LRPOLICY_TESTS_TENSOR_LISTS_HPP_
#define LRPOLICY_TESTS_TENSOR_LISTS_HPP_

#include <lrpolicy/philox.hpp>
#include <memory>
#include <vector>

#include "plan.hpp"

namespace lrpolicy {

using PlanPointer = std::unique_ptr<Plan, decltype(&lrpolicy_plan_free)>;

inline PlanPointer make_plan(const std::vector<std::int64_t>& counts) {
  Plan* plan = nullptr;
  lrpolicy_plan_make(counts.data(), static_cast<std::int64_t>(counts.size()), &plan);
  return {plan, &lrpolicy_plan_free};
}

inline const std::vector<std::int64_t>& edge_counts() {
  static const std::vector<std::int64_t> counts = {
      0, 1, 2, 7, 31, 32, 33, 63, 255, 1000, 1023, 1024, 1025, 2048, 3000, 16383, 16384, 16385, 40000, 0, 5, 100'003};
  return counts;
}

inline std::uint32_t random_bits(std::uint32_t seed, std::uint32_t stream, std::size_t i) {
  return philox4x32({{static_cast<std::uint32_t>(i), stream, 0, 0}}, {{seed, 0}}).word[0];
}

// Numbers of both signs whose exponents spread over 2^-10 .. 2^9, with every bit of the fraction in use.
template <typename T>
T random_number(std::uint32_t bits);

template <>
inline float random_number<float>(std::uint32_t bits) {
  return float_of_bits((bits & 0x807FFFFFu) | (117 + (bits >> 23) % 20) << 23);
}

template <>
inline double random_number<double>(std::uint32_t bits) {
  return random_number<float>(bits) * (1 + 1e-9 * (bits % 977));
}

template <>
inline BFloat16 random_number<BFloat16>(std::uint32_t bits) {
  return {static_cast<std::uint16_t>((bits >> 16 & 0x807Fu) | (117 + bits % 20) << 7)};
}

template <>
inline Float16 random_number<Float16>(std::uint32_t bits) {
  return {static_cast<std::uint16_t>((bits >> 16 & 0x83FFu) | (5 + bits % 20) << 10)};
}

// The tensors of one list, end to end in one memory, each `gap` elements after the one before: every alignment occurs.
template <typename T>
struct TensorList {
  std::vector<T> memory;
  std::vector<T*> pointers;

  TensorList(const std::vector<std::int64_t>& counts, std::uint32_t seed, std::size_t gap = 1) {
    std::size_t size = gap;
    for (const std::int64_t count : counts) size += static_cast<std::size_t>(count) + gap;
    memory.resize(size);
    for (std::size_t i = 0; i < size; ++i) memory[i] = random_number<T>(random_bits(seed, 0, i));
    std::size_t begin = gap;
    for (const std::int64_t count : counts) {
      pointers.push_back(memory.data() + begin);
      begin += static_cast<std::size_t>(count) + gap;
    }
  }
  TensorList(TensorList&&) = delete;

  const void* const* read() const { return reinterpret_cast<const void* const*>(pointers.data()); }
  void* const* write() const { return reinterpret_cast<void* const*>(pointers.data()); }
};

template <typename T>
constexpr DType kDTypeOf = std::is_same_v<T, float>      ? DType::kFloat32
                           : std::is_same_v<T, double>   ? DType::kFloat64
                           : std::is_same_v<T, BFloat16> ? DType::kBFloat16
                                                         : DType::kFloat16;

}  // namespace lrpolicy

#endif  // LRPOLICY_TESTS_TENSOR_LISTS_HPP_
