// The CUDA kernels against the reference: on a GPU, or skipped with what CUDA says where there is none; and compiled
// for the host (csrc/kernels/cuda_on_host).
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>

#include "cuda/fill_rates.hpp"
#include "cuda/lists.hpp"
#include "draw_rates.hpp"
#include "fill_rates.hpp"
#include "known_answers.hpp"
#include "tensor_lists.hpp"

namespace lrpolicy {
namespace {

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) GTEST_SKIP() << "no GPU: " << cudaGetErrorString(error);
  }
};

// A copy of a vector in the device's memory.
template <typename T>
struct OnGpu {
  T* data = nullptr;
  std::size_t size;

  explicit OnGpu(const std::vector<T>& from) : size(from.size()) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, size * sizeof(T)), cudaSuccess);
    data = static_cast<T*>(memory);
    EXPECT_EQ(cudaMemcpy(data, from.data(), size * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~OnGpu() { cudaFree(data); }
  OnGpu(const OnGpu&) = delete;
  std::vector<T> read() const {
    std::vector<T> to(size);
    EXPECT_EQ(cudaMemcpy(to.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return to;
  }
};

// A list's memory on the device, with the addresses of its tensors there.
template <typename T>
struct ListOnGpu {
  OnGpu<T> memory;
  std::vector<T*> pointers;

  explicit ListOnGpu(const TensorList<T>& list) : memory(list.memory) {
    for (T* const pointer : list.pointers) pointers.push_back(memory.data + (pointer - list.memory.data()));
  }
  const void* const* read() const { return reinterpret_cast<const void* const*>(pointers.data()); }
  void* const* write() const { return reinterpret_cast<void* const*>(pointers.data()); }
};

template <typename T>
void expect_same_bits(const std::vector<T>& expected, const std::vector<T>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(T)));
}

// With `large` a full group, and groups of groups.
std::vector<std::int64_t> counts_of_the_tests(bool large) {
  std::vector<std::int64_t> counts = edge_counts();
  constexpr std::int64_t kGroup = kGroupNodes * kTeamBlocks * kBlock;
  if (large) counts.insert(counts.end(), {kGroup, kGroup + 1});
  return counts;
}

struct CudaPlanPointer {
  CudaPlan* plan = nullptr;

  explicit CudaPlanPointer(const std::vector<std::int64_t>& counts) {
    EXPECT_EQ(lrpolicy_cuda_plan_make(counts.data(), static_cast<std::int64_t>(counts.size()), 0, &plan), Status::kOk)
        << lrpolicy_cuda_error_text();
  }
  ~CudaPlanPointer() { lrpolicy_cuda_plan_free(plan); }
  CudaPlanPointer(const CudaPlanPointer&) = delete;
};

template <typename T, typename P>
void compare_dot_pairs(bool displaced) {
  const std::vector<std::int64_t> counts = counts_of_the_tests(std::is_same_v<T, float>);
  const std::size_t n = counts.size();
  const auto reference = make_plan(counts);
  const CudaPlanPointer plan(counts);
  const TensorList<T> now(counts, 1), start(counts, 3);
  const TensorList<P> previous(counts, 2);
  const ListOnGpu<T> gpu_now(now), gpu_start(start);
  const ListOnGpu<P> gpu_previous(previous);
  std::vector<double> sums(2 * n, -1);
  const OnGpu<double> gpu_sums(sums);
  for (const bool roll : {false, true, true}) {
    const DotPair expected = {
        kDTypeOf<T>, roll,           now.read(), previous.write(), displaced ? start.write() : nullptr,
        sums.data(), sums.data() + n};
    const DotPair actual = {kDTypeOf<T>,
                            roll,
                            gpu_now.read(),
                            gpu_previous.write(),
                            displaced ? gpu_start.write() : nullptr,
                            gpu_sums.data,
                            gpu_sums.data + n};
    ASSERT_EQ(lrpolicy_dot_pair_reference(reference.get(), &expected), Status::kOk);
    ASSERT_EQ(lrpolicy_dot_pair_cuda(plan.plan, &actual, nullptr, nullptr), Status::kOk) << lrpolicy_cuda_error_text();
    expect_same_bits(sums, gpu_sums.read());
    expect_same_bits(previous.memory, gpu_previous.memory.read());
    expect_same_bits(start.memory, gpu_start.memory.read());
  }
}

TEST_F(Cuda, DotPairsAreTheReferences) {
  compare_dot_pairs<float, float>(false);
  compare_dot_pairs<double, double>(false);
  compare_dot_pairs<Float16, Float16>(false);
  compare_dot_pairs<BFloat16, BFloat16>(false);
}

TEST_F(Cuda, DotPairsOfDisplacementsAreTheReferences) {
  compare_dot_pairs<float, float>(true);
  compare_dot_pairs<double, double>(true);
  compare_dot_pairs<Float16, float>(true);
  compare_dot_pairs<BFloat16, float>(true);
}

template <typename T>
void compare_sums(bool scale_on_gpu) {
  const auto reference = make_plan(edge_counts());
  const CudaPlanPointer plan(edge_counts());
  const TensorList<T> gradients(edge_counts(), 1);
  const TensorList<Wide<T>> sums(edge_counts(), 2);
  const ListOnGpu<T> gpu_gradients(gradients);
  const ListOnGpu<Wide<T>> gpu_sums(sums);
  const OnGpu<double> gpu_scale({1.0 / 3});
  const Accumulate expected = {kDTypeOf<T>, 1.0 / 3, gradients.read(), sums.write()};
  const Accumulate actual = {kDTypeOf<T>, scale_on_gpu ? -1 : 1.0 / 3, gpu_gradients.read(), gpu_sums.write()};
  const double* const scale = scale_on_gpu ? gpu_scale.data : nullptr;
  ASSERT_EQ(lrpolicy_accumulate_reference(reference.get(), &expected), Status::kOk);
  ASSERT_EQ(lrpolicy_accumulate_cuda(plan.plan, &actual, scale, nullptr), Status::kOk) << lrpolicy_cuda_error_text();
  expect_same_bits(sums.memory, gpu_sums.memory.read());
}

TEST_F(Cuda, SumsOfGradientsAreTheReferences) {
  for (const bool scale_on_gpu : {false, true}) {
    compare_sums<float>(scale_on_gpu);
    compare_sums<double>(scale_on_gpu);
    compare_sums<Float16>(scale_on_gpu);
    compare_sums<BFloat16>(scale_on_gpu);
  }
}

TEST_F(Cuda, MomentumStepsWithDrawnRatesAreTheReferences) {
  const std::size_t n = edge_counts().size();
  const auto reference = make_plan(edge_counts());
  const CudaPlanPointer plan(edge_counts());
  const TensorList<float> gradients(edge_counts(), 1), weights(edge_counts(), 2), history(edge_counts(), 3);
  const ListOnGpu<float> gpu_gradients(gradients), gpu_weights(weights), gpu_history(history);
  const std::vector<float> ones(n, 1), decays(n, 5e-4f);
  const OnGpu<float> gpu_ones(ones), gpu_decays(decays);
  const AslrDraws from = {{3, -2}, 17, 99};
  const OnGpu<AslrDraws> draws({from});
  for (std::uint64_t t = 99; t < 102; ++t) {
    std::vector<float> rates;
    for (std::uint32_t i = 0; i < n; ++i) rates.push_back(static_cast<float>(aslr_draw(from.center, 17, t, i)));
    MomentumStep call = {true,
                         t % 2 == 0,
                         Regularization::kL2,
                         0.9f,
                         rates.data(),
                         decays.data(),
                         const_cast<const float* const*>(gradients.pointers.data()),
                         weights.pointers.data(),
                         history.pointers.data()};
    ASSERT_EQ(lrpolicy_momentum_step_reference(reference.get(), &call), Status::kOk);
    call.rates = gpu_ones.data;
    call.decays = gpu_decays.data;
    call.gradients = const_cast<const float* const*>(gpu_gradients.pointers.data());
    call.weights = gpu_weights.pointers.data();
    call.history = gpu_history.pointers.data();
    ASSERT_EQ(lrpolicy_momentum_step_cuda(plan.plan, &call, draws.data, nullptr), Status::kOk)
        << lrpolicy_cuda_error_text();
    expect_same_bits(weights.memory, gpu_weights.memory.read());
    expect_same_bits(history.memory, gpu_history.memory.read());
    EXPECT_EQ(draws.read()[0].iteration, t + 1);
  }
}

TEST_F(Cuda, DrawsAreTheReferences) {
  for (const std::size_t count : {0u, 1u, 5u, 161u, 513u, 2000u}) {
    const AslrDraws from = {{9, 1}, 0x123456789ABCDEFu, 98765432101};
    const OnGpu<AslrDraws> draws({from});
    std::vector<double> expected(count + 1, -1);
    const OnGpu<double> actual(expected);
    const auto size = static_cast<std::int64_t>(count);
    lrpolicy_draw_rates_reference(&from.center, from.seed, from.iteration, size, expected.data());
    ASSERT_EQ(lrpolicy_draw_rates_cuda(draws.data, size, actual.data, nullptr), Status::kOk);
    expect_same_bits(expected, actual.read());
    EXPECT_EQ(draws.read()[0].iteration, from.iteration + 1);
  }
}

// Three windows of TLR against the state machine; in the second one a tensor holds an infinity.
void compare_rates(bool per_tensor, std::size_t n) {
  std::vector<std::int64_t> counts(n, 3);
  counts[5] = 0;
  counts[n - 2] = 70'001;
  const TlrRule rule = {TlrVariant::kEfficient, TlrSource::kGradient, 0.25, 1e-3, 1e-6, 1.0, 1e4, 0.01, 0.008};
  std::vector<double> lr_mult(n);
  for (std::size_t t = 0; t < n; ++t) lr_mult[t] = static_cast<double>(t % 4) / 2;  // some learn nothing
  const Tlr tlr = {rule, 1, lr_mult, per_tensor};
  TlrState state = tlr.start();
  const auto reference = make_plan(counts);
  const CudaPlanPointer plan(counts);
  const OnGpu<double> gpu_lr_mult(lr_mult);
  const OnGpu<TlrAlpha> alphas(state.alphas);
  const OnGpu<DeviceTlrCounts> gpu_counts({{0, -1, 1}});
  const OnGpu<float> rates(std::vector<float>(n, -1));
  const DeviceTlr device_tlr = {rule, per_tensor, gpu_lr_mult.data, alphas.data, gpu_counts.data, rates.data};
  const TensorList<float> previous(counts, 2);
  const ListOnGpu<float> gpu_previous(previous);
  std::vector<double> sums(2 * n);
  const OnGpu<double> gpu_sums(sums);
  for (unsigned window = 0; window < 3; ++window) {
    const TensorList<float> g(counts, 10 + window);
    if (window == 1) g.pointers[n - 2][12'345] = HUGE_VALF;
    const ListOnGpu<float> gpu_g(g);
    const DotPair expected = {DType::kFloat32, true, g.read(), previous.write(), nullptr, sums.data(), sums.data() + n};
    const DotPair actual = {DType::kFloat32, true,          gpu_g.read(),     gpu_previous.write(),
                            nullptr,         gpu_sums.data, gpu_sums.data + n};
    ASSERT_EQ(lrpolicy_dot_pair_reference(reference.get(), &expected), Status::kOk);
    ASSERT_EQ(lrpolicy_dot_pair_cuda(plan.plan, &actual, &device_tlr, nullptr), Status::kOk)
        << lrpolicy_cuda_error_text();
    state = tlr.update(state, sums.data(), sums.data() + n, 1);
    const DeviceTlrCounts now = gpu_counts.read()[0];
    EXPECT_EQ(now.windows, state.windows);
    EXPECT_EQ(now.non_finite_tensor, state.non_finite_tensor);
    const std::vector<TlrAlpha> learned = alphas.read();
    for (std::size_t i = 0; i < learned.size(); ++i) EXPECT_EQ(learned[i].rate, state.alphas[i].rate) << i;
    const std::vector<float> given = rates.read();
    for (std::size_t t = 0; t < n; ++t) {
      EXPECT_EQ(given[t], static_cast<float>(tlr.rate(state, t)) * static_cast<float>(lr_mult[t])) << t;
    }
  }
}

TEST_F(Cuda, TlrsRatesAreTheStateMachines) {
  compare_rates(false, kListPointers / 2 + 100);  // two launches
  compare_rates(true, 2 * kTeam + 1);
}

TEST_F(Cuda, FilledRatesAreTheReferences) {
  for (const auto& each : one_of_each()) {
    const NamedPolicy policy(each.first, each.second);
    if ((*policy).parameters.stepvalue != nullptr) continue;  // its steps would have to lie on the device
    std::vector<double> expected(5000, -1);
    const OnGpu<double> actual(expected);
    lrpolicy_fill_rates_reference(&*policy, 17, 3, 5000, expected.data());
    ASSERT_EQ(lrpolicy_fill_rates_cuda(&*policy, 17, 3, 5000, actual.data, nullptr), cudaSuccess);
    expect_same_bits(expected, actual.read());
  }
}

TEST_F(Cuda, WrongCallsAreRefused) {
  const CudaPlanPointer plan({3});
  DotPair call = {DType::kFloat32, false, nullptr, nullptr, nullptr, nullptr, nullptr};
  EXPECT_EQ(lrpolicy_dot_pair_cuda(plan.plan, &call, nullptr, nullptr), Status::kNullPointer);
  EXPECT_EQ(lrpolicy_dot_pair_cuda(nullptr, &call, nullptr, nullptr), Status::kNullPointer);
  call.dtype = static_cast<DType>(7);
  EXPECT_EQ(lrpolicy_dot_pair_cuda(plan.plan, &call, nullptr, nullptr), Status::kBadDType);
  EXPECT_EQ(lrpolicy_draw_rates_cuda(nullptr, 1, nullptr, nullptr), Status::kNullPointer);
  CudaPlan* none = nullptr;
  const std::int64_t negative[] = {-1};
  EXPECT_EQ(lrpolicy_cuda_plan_make(negative, 1, 0, &none), Status::kBadCount);
}

}  // namespace
}  // namespace lrpolicy
