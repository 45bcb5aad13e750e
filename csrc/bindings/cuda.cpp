// lrpolicy._cuda: the verbs over lists of tensors on an NVIDIA GPU, and what they keep in its memory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <lrpolicy/error.hpp>

#include "bindings.hpp"
#include "cuda/launch.hpp"
#include "list_checks.hpp"
#include "settings.hpp"
#include "tlr_tuple.hpp"

namespace py = pybind11;
using namespace lrpolicy;

namespace {

// What CUDA refuses is nobody's wrong input: lrpolicy.errors.RunError.
void require(Status status) {
  if (status == Status::kOk) return;
  if (status != Status::kCudaFailed) throw InputError(lrpolicy_status_text(status), wrong_setting(status));
  const std::string text = lrpolicy_status_text(status) + std::string(": ") + lrpolicy_cuda_error_text();
  py::set_error(py::module_::import("lrpolicy.errors").attr("RunError"), text.c_str());
  throw py::error_already_set();
}

void require(cudaError_t error) { require(status_of(error)); }

cudaStream_t stream_of(std::uintptr_t handle) { return reinterpret_cast<cudaStream_t>(handle); }

// Throws InputError where LRPOLICY_IMPL names another implementation.
void require_cuda() {
  require(settings().status);
  if (settings().forced && settings().implementation != Implementation::kCuda) require(Status::kNotOnCuda);
}

// A graph would replay copies from and to host memory that is gone by then.
void refuse_capture(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  require(cudaStreamIsCapturing(stream, &status));
  if (status == cudaStreamCaptureStatusNone) return;
  throw InputError("a state cannot be written or read in a stream that is being captured", "",
                   "do it before the capture, or between replays");
}

// An array of T in a device's memory.
template <typename T>
class DeviceArray {
 public:
  DeviceArray(std::size_t size, int device) : size_(size), device_(device) {
    const OnDevice guard(device_);
    require(guard.status());
    void* memory = nullptr;
    require(cudaMalloc(&memory, size * sizeof(T)));
    data_ = static_cast<T*>(memory);
  }
  ~DeviceArray() {
    const OnDevice guard(device_);
    cudaFree(data_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  // In the order of the stream; `from` may go when this returns.
  void write(const T* from, cudaStream_t stream) const {
    const OnDevice guard(device_);
    refuse_capture(stream);
    require(cudaMemcpyAsync(data_, from, size_ * sizeof(T), cudaMemcpyHostToDevice, stream));
  }
  // Waits for the stream.
  void read(T* to, cudaStream_t stream) const {
    const OnDevice guard(device_);
    refuse_capture(stream);
    require(cudaMemcpyAsync(to, data_, size_ * sizeof(T), cudaMemcpyDeviceToHost, stream));
    require(cudaStreamSynchronize(stream));
  }

 private:
  std::size_t size_;
  int device_;
  T* data_;
};

// ASLR's centre, seed and iteration on a device.
struct DrawsCore {
  int device;
  DeviceArray<AslrDraws> memory;

  explicit DrawsCore(int on) : device(on), memory(1, on) {
    const OnDevice guard(device);
    require(guard.status());
    require(load_updates());  // draw_rates needs no plan
  }
  void set(double center, std::uint64_t seed, std::uint64_t iteration, std::uintptr_t stream) const {
    const AslrDraws draws = {nearest_decimal(center), seed, iteration};
    memory.write(&draws, stream_of(stream));
  }
  py::tuple get(std::uintptr_t stream) const {
    AslrDraws draws;
    memory.read(&draws, stream_of(stream));
    return py::make_tuple(value(draws.center), draws.seed, draws.iteration);
  }
};

// A Tlr whose state lies on a device.
struct TlrOnDevice {
  Tlr tlr;
  int device;
  DeviceArray<double> lr_mult;
  DeviceArray<TlrAlpha> alphas;
  DeviceArray<DeviceTlrCounts> counts;
  std::size_t alpha_count;

  TlrOnDevice(const Tlr& machine, int on)
      : tlr(machine),
        device(on),
        lr_mult(machine.lr_mult.size(), on),
        alphas(machine.per_tensor ? machine.lr_mult.size() : 1, on),
        counts(1, on),
        alpha_count(machine.per_tensor ? machine.lr_mult.size() : 1) {}

  void set(const TlrTuple& tuple, std::int64_t updates, std::uintptr_t stream) const {
    const TlrState state = unpack_tlr(tlr, tuple);
    const DeviceTlrCounts numbers = {state.windows, state.non_finite_tensor, static_cast<double>(updates)};
    lr_mult.write(tlr.lr_mult.data(), stream_of(stream));
    alphas.write(state.alphas.data(), stream_of(stream));
    counts.write(&numbers, stream_of(stream));
  }
  TlrTuple get(std::uintptr_t stream) const {
    DeviceTlrCounts numbers;
    TlrState state = {0, 0, std::vector<TlrAlpha>(alpha_count)};
    counts.read(&numbers, stream_of(stream));
    alphas.read(state.alphas.data(), stream_of(stream));
    state.windows = numbers.windows;
    state.non_finite_tensor = numbers.non_finite_tensor;
    return pack_tlr(state);
  }
};

// `list` is one tensor: a number for each of `count` tensors, on the device.
void* numbers_of(const TensorList& list, DType dtype, std::int64_t count, int device) {
  if (list.size() != 1) throw InputError(list.kind() + " must be one tensor", std::to_string(list.size()));
  list.check_counts({count}, "list of tensors");
  list.check_dtype(dtype, "");
  list.check_unmoved();
  check_on(list, {Device::kCuda, device}, "");
  return list.pointers()[0];
}

struct CudaPlanCore {
  CudaPlan* plan = nullptr;

  CudaPlanCore(const std::vector<std::int64_t>& counts, int device) {
    require_cuda();
    require(lrpolicy_cuda_plan_make(counts.data(), static_cast<std::int64_t>(counts.size()), device, &plan));
  }
  ~CudaPlanCore() { lrpolicy_cuda_plan_free(plan); }
  CudaPlanCore(const CudaPlanCore&) = delete;
  CudaPlanCore& operator=(const CudaPlanCore&) = delete;

  std::int64_t size() const { return static_cast<std::int64_t>(plan->counts.size()); }
  void* numbers(const TensorList& list, DType dtype) const { return numbers_of(list, dtype, size(), plan->device); }
  void check_here(const TensorList& list) const {
    check_on(list, {Device::kCuda, plan->device}, "move it there, or make a plan for its device");
  }
  void check_device_of(int device, const char* what) const {
    if (device == plan->device) return;
    throw InputError(std::string(what) + " must be on the plan's device", std::to_string(device));
  }

  void dot_pair(const TensorList& now, const TensorList& previous, const TensorList* start, const TensorList& gg,
                const TensorList& gp, bool roll, const TlrOnDevice* tlr, const TensorList* rates,
                std::uintptr_t stream) const {
    check_dot_pair(plan->counts, now, previous, start, roll);
    check_here(now);
    std::vector<const TensorList*> written = {&gg, &gp}, read = {&now, &previous};
    if (start != nullptr) read.push_back(start);
    const DotPair call = {now.dtype(),
                          roll,
                          const_cast<const void* const*>(now.pointers()),
                          previous.pointers(),
                          start != nullptr ? start->pointers() : nullptr,
                          static_cast<double*>(numbers(gg, DType::kFloat64)),
                          static_cast<double*>(numbers(gp, DType::kFloat64))};
    DeviceTlr learned = {};
    if (tlr != nullptr) {
      check_device_of(tlr->device, "tlr");
      if (static_cast<std::int64_t>(tlr->tlr.lr_mult.size()) != size()) {
        throw InputError("tlr must have an lr_mult for each tensor of the plan",
                         std::to_string(tlr->tlr.lr_mult.size()) + " for " + std::to_string(size()));
      }
      learned = {
          tlr->tlr.rule,       tlr->tlr.per_tensor,
          tlr->lr_mult.data(), tlr->alphas.data(),
          tlr->counts.data(),  rates != nullptr ? static_cast<float*>(numbers(*rates, DType::kFloat32)) : nullptr};
      if (rates != nullptr) written.push_back(rates);
    }
    for (const TensorList* const list : written) list->check_writable();
    check_apart(written, read);
    require(lrpolicy_dot_pair_cuda(plan, &call, tlr != nullptr ? &learned : nullptr, stream_of(stream)));
  }

  void accumulate(const TensorList& gradients, const TensorList& sums, double scale, const TensorList* device_scale,
                  std::uintptr_t stream) const {
    check_accumulate(plan->counts, gradients, sums);
    check_here(gradients);
    const Accumulate call = {gradients.dtype(), scale, const_cast<const void* const*>(gradients.pointers()),
                             sums.pointers()};
    const void* const from =
        device_scale != nullptr ? numbers_of(*device_scale, DType::kFloat64, 1, plan->device) : nullptr;
    require(lrpolicy_accumulate_cuda(plan, &call, static_cast<const double*>(from), stream_of(stream)));
  }

  void momentum_step(const TensorList& gradients, const TensorList& weights, const TensorList& history,
                     const TensorList& rates, const TensorList& decays, float momentum, bool nesterov, bool rate_inside,
                     bool l1, const DrawsCore* draws, std::uintptr_t stream) const {
    check_momentum_step(plan->counts, gradients, weights, history);
    check_here(gradients);
    check_apart({&weights, &history}, {&gradients, &rates, &decays});
    if (draws != nullptr) check_device_of(draws->device, "draws");
    const MomentumStep call = {nesterov,
                               rate_inside,
                               l1 ? Regularization::kL1 : Regularization::kL2,
                               momentum,
                               static_cast<const float*>(numbers(rates, DType::kFloat32)),
                               static_cast<const float*>(numbers(decays, DType::kFloat32)),
                               reinterpret_cast<const float* const*>(gradients.pointers()),
                               reinterpret_cast<float* const*>(weights.pointers()),
                               reinterpret_cast<float* const*>(history.pointers())};
    require(
        lrpolicy_momentum_step_cuda(plan, &call, draws != nullptr ? draws->memory.data() : nullptr, stream_of(stream)));
  }
};

void draw_rates(const DrawsCore& draws, const TensorList& out, std::uintptr_t stream) {
  require_cuda();
  if (out.size() != 1) throw InputError(out.kind() + " must be one tensor", std::to_string(out.size()));
  void* const rates = numbers_of(out, DType::kFloat64, out.counts()[0], draws.device);
  out.check_writable();
  const OnDevice guard(draws.device);
  require(guard.status());
  require(
      lrpolicy_draw_rates_cuda(draws.memory.data(), out.counts()[0], static_cast<double*>(rates), stream_of(stream)));
}

// One name for each GPU; an InputError says why there is none.
std::vector<std::string> devices() {
  int count = 0;
  require(cudaGetDeviceCount(&count));
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    require(cudaGetDeviceProperties(&properties, i));
    names.push_back(std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
                    std::to_string(properties.minor));
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_cuda, module) {
  module.doc() = "The CUDA kernels of lrpolicy: see csrc/README.md.";
  py::module_::import("lrpolicy._core");  // whose TensorList and TlrCore come in here
  bind_errors(module);
  module.def("devices", &devices);
  module.def("draw_rates", &draw_rates, py::arg("draws"), py::arg("out"), py::arg("stream"));
  py::class_<DrawsCore>(module, "DrawsCore")
      .def(py::init<int>(), py::arg("device"))
      .def("set", &DrawsCore::set, py::arg("center"), py::arg("seed"), py::arg("iteration"), py::arg("stream"))
      .def("get", &DrawsCore::get, py::arg("stream"));
  py::class_<TlrOnDevice>(module, "TlrOnDevice")
      .def(py::init<const Tlr&, int>(), py::arg("tlr"), py::arg("device"))
      .def("set", &TlrOnDevice::set, py::arg("state"), py::arg("updates"), py::arg("stream"))
      .def("get", &TlrOnDevice::get, py::arg("stream"));
  py::class_<CudaPlanCore>(module, "PlanCore")
      .def(py::init<const std::vector<std::int64_t>&, int>(), py::arg("counts"), py::arg("device"))
      .def("dot_pair", &CudaPlanCore::dot_pair, py::arg("now"), py::arg("previous"), py::arg("start").none(true),
           py::arg("gg"), py::arg("gp"), py::arg("roll"), py::arg("tlr").none(true), py::arg("rates").none(true),
           py::arg("stream"))
      .def("accumulate", &CudaPlanCore::accumulate, py::arg("gradients"), py::arg("sums"), py::arg("scale"),
           py::arg("device_scale").none(true), py::arg("stream"))
      .def("momentum_step", &CudaPlanCore::momentum_step, py::arg("gradients"), py::arg("weights"), py::arg("history"),
           py::arg("rates"), py::arg("decays"), py::arg("momentum"), py::arg("nesterov"), py::arg("rate_inside"),
           py::arg("l1"), py::arg("draws").none(true), py::arg("stream"));
}
