#include "list_checks.hpp"

#include <lrpolicy/error.hpp>

using namespace lrpolicy;

namespace {

void check_all(const std::vector<std::int64_t>& counts, const std::vector<const TensorList*>& lists) {
  for (const TensorList* const list : lists) {
    list->check_counts(counts, "tensor of the plan");
    list->check_unmoved();
  }
}

}  // namespace

void check_dot_pair(const std::vector<std::int64_t>& counts, const TensorList& now, const TensorList& previous,
                    const TensorList* start, bool roll) {
  std::vector<const TensorList*> written = {&previous};
  if (start != nullptr) written.push_back(start);
  std::vector<const TensorList*> all = written;
  all.insert(all.begin(), &now);
  check_all(counts, all);
  check_one_device(all);
  if (start != nullptr) start->check_dtype(now.dtype(), ", as each " + now.kind() + " is");
  if (now.size() > 0) {
    previous.check_dtype(start != nullptr ? wide(now.dtype()) : now.dtype(), ", to go with its " + now.kind());
  }
  if (!roll) return;
  for (const TensorList* const list : written) list->check_writable();
  check_apart(written, {&now});
}

void check_accumulate(const std::vector<std::int64_t>& counts, const TensorList& gradients, const TensorList& sums) {
  check_all(counts, {&gradients, &sums});
  check_one_device({&gradients, &sums});
  if (gradients.size() > 0) sums.check_dtype(wide(gradients.dtype()), ", to go with its " + gradients.kind());
  sums.check_writable();
  check_apart({&sums}, {&gradients});
}

void check_momentum_step(const std::vector<std::int64_t>& counts, const TensorList& gradients,
                         const TensorList& weights, const TensorList& history) {
  check_all(counts, {&gradients, &weights, &history});
  for (const TensorList* const list : {&gradients, &weights, &history}) {
    list->check_dtype(DType::kFloat32, ": momentum_step computes as Caffe does");
  }
  check_one_device({&gradients, &weights, &history});
  weights.check_writable();
  history.check_writable();
  check_apart({&weights, &history}, {&gradients});
}

void check_on_cpu(const TensorList& list) {
  check_on(list, {Device::kCpu, 0}, "move it to the CPU, or take lrpolicy.cuda.Plan");
}
