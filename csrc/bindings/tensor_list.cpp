#include "tensor_list.hpp"

#include <algorithm>
#include <lrpolicy/error.hpp>

namespace py = pybind11;
using namespace lrpolicy;

namespace {

std::string name_of(DType dtype) { return kDTypeNames[static_cast<int>(dtype)]; }

std::string name_of(Device device) {
  return device.kind == Device::kCpu ? "the CPU" : "cuda:" + std::to_string(device.index);
}

}  // namespace

TensorList::TensorList(const py::sequence& tensors, std::string kind, std::vector<std::string> names)
    : kind_(std::move(kind)), names_(std::move(names)) {
  if (!names_.empty() && names_.size() != tensors.size()) {
    throw InputError("there must be a name for each " + kind_,
                     std::to_string(names_.size()) + " names for " + std::to_string(tensors.size()) + " tensors");
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    try {
      add(tensors[i]);
    } catch (const InputError& error) {
      throw InputError(error.rule(), error.got(), error.remedy(), where(i));
    }
  }
}

void TensorList::add(const py::object& tensor) {
  if (tensor.is_none()) throw InputError("is None", "", "leave out tensors without one");
  types_.push_back(type_of(tensor));
  tensors_.push_back(borrow(tensor, types_.back()));
  const TensorView& view = tensors_.back().view;
  objects_.push_back(tensor);
  check_memory(tensor, types_.back(), view);
  if (view.count > 0 &&
      reinterpret_cast<std::uintptr_t>(view.data) % static_cast<std::uintptr_t>(size_of(view.dtype))) {
    throw InputError("its address does not suit its dtype", "", "pass a copy");
  }
  if (size() == 1) dtype_ = view.dtype;
  if (view.dtype != dtype_) {
    throw InputError("is " + name_of(view.dtype) + " and the first is " + name_of(dtype_), "",
                     "all tensors of a list have one dtype");
  }
  if (!(view.device == device())) {
    throw InputError("is on " + name_of(view.device) + " and the first on " + name_of(device()), "",
                     "all tensors of a list lie on one device");
  }
  counts_.push_back(view.count);
  pointers_.push_back(view.data);
}

std::string TensorList::where(std::size_t i) const {
  return kind_ + " " + std::to_string(i) + (names_.empty() ? "" : " (" + names_[i] + ")");
}

bool TensorList::is_current() const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (!is_unmoved(objects_[i], types_[i], view(i))) return false;
  }
  return true;
}

void TensorList::check_unmoved() const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (is_unmoved(objects_[i], types_[i], view(i))) continue;
    throw InputError("its memory was freed or exchanged since this list was made", "", "make the TensorList anew",
                     where(i));
  }
}

void TensorList::check_counts(const std::vector<std::int64_t>& counts, const std::string& of) const {
  if (counts.size() != size()) {
    throw InputError("there must be a " + kind_ + " for each " + of,
                     std::to_string(size()) + " for " + std::to_string(counts.size()));
  }
  for (std::size_t i = 0; i < size(); ++i) {
    if (counts_[i] == counts[i]) continue;
    throw InputError("must have as many elements as its " + of + ", " + std::to_string(counts[i]),
                     std::to_string(counts_[i]), "", where(i));
  }
}

void TensorList::check_dtype(DType dtype, const std::string& because) const {
  if (size() == 0 || dtype_ == dtype) return;
  throw InputError("must be " + name_of(dtype) + because, name_of(dtype_), "", where(0));
}

void TensorList::check_writable() const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (tensors_[i].read_only) throw InputError("is read-only and would be written to", "", "pass a copy", where(i));
  }
}

void check_one_device(const std::vector<const TensorList*>& lists) {
  const TensorList* first = nullptr;
  for (const TensorList* const list : lists) {
    if (list->size() == 0) continue;
    if (first == nullptr) first = list;
    if (list->device() == first->device()) continue;
    throw InputError(
        "is on " + name_of(list->device()) + " and its " + first->kind() + " on " + name_of(first->device()), "",
        "all tensors of a call lie on one device", list->where(0));
  }
}

void check_on(const TensorList& list, Device device, const std::string& remedy) {
  if (list.size() == 0 || list.device() == device) return;
  throw InputError("is on " + name_of(list.device()) + ", and this plan computes on " + name_of(device), "", remedy,
                   list.where(0));
}

void check_apart(const std::vector<const TensorList*>& written, const std::vector<const TensorList*>& read) {
  struct Extent {
    const char *begin, *end;
    const TensorList* list;
    std::size_t index;
    bool is_written;
  };
  std::vector<Extent> extents;
  const auto add = [&](const std::vector<const TensorList*>& lists, bool is_written) {
    for (const TensorList* const list : lists) {
      for (std::size_t i = 0; i < list->size(); ++i) {
        const TensorView& view = list->view(i);
        const char* const begin = static_cast<const char*>(view.data);
        if (view.count > 0) extents.push_back({begin, begin + view.count * size_of(view.dtype), list, i, is_written});
      }
    }
  };
  add(written, true);
  add(read, false);
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  // The extents seen so far that reach furthest, of all and of those that are written.
  const Extent *furthest = nullptr, *furthest_written = nullptr;
  for (const Extent& extent : extents) {
    const Extent* const before = extent.is_written ? furthest : furthest_written;
    if (before != nullptr && before->end > extent.begin) {
      throw InputError("shares memory with " + before->list->where(before->index), "",
                       "what is written must lie apart from all else", extent.list->where(extent.index));
    }
    if (furthest == nullptr || extent.end > furthest->end) furthest = &extent;
    if (extent.is_written && (furthest_written == nullptr || extent.end > furthest_written->end)) {
      furthest_written = &extent;
    }
  }
}
