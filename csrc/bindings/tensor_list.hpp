// A list of a framework's tensors, checked once and borrowed for as long as the list lives.
#pragma once
#include <pybind11/pybind11.h>

#include <functional>
#include <lrpolicy/tensor_view.hpp>
#include <memory>
#include <string>
#include <vector>

#include "memory.hpp"

// A borrowed tensor: the view, and what gives it back; a NumPy array's memory lives as long as the array.
struct Borrowed {
  lrpolicy::TensorView view;
  bool read_only;
  std::shared_ptr<void> owner;
};

// From anything with __dlpack__ or __cuda_array_interface__. Throws InputError, which does not say where.
Borrowed borrow(pybind11::handle tensor, TensorType type);

class TensorList {
 public:
  // `kind` and `names` serve errors: "gradient 12 (conv3.weight)". `names` may be empty. Throws InputError.
  TensorList(const pybind11::sequence& tensors, std::string kind, std::vector<std::string> names);

  std::size_t size() const { return tensors_.size(); }
  const std::vector<std::int64_t>& counts() const { return counts_; }
  lrpolicy::DType dtype() const { return dtype_; }
  const std::string& kind() const { return kind_; }
  void* const* pointers() const { return pointers_.data(); }
  const lrpolicy::TensorView& view(std::size_t i) const { return tensors_[i].view; }
  lrpolicy::Device device() const { return tensors_.front().view.device; }  // of a list that is not empty
  std::string where(std::size_t i) const;
  bool is_current() const;  // each tensor, as far as it can be asked, has the memory that it was borrowed with

  // Throw InputError, naming the tensor: its memory was freed or exchanged since, not of these sizes, not of this type,
  // not to be written to.
  void check_unmoved() const;
  void check_counts(const std::vector<std::int64_t>& counts, const std::string& of) const;
  void check_dtype(lrpolicy::DType dtype, const std::string& because) const;
  void check_writable() const;

 private:
  void add(const pybind11::object& tensor);

  std::string kind_;
  std::vector<std::string> names_;
  std::vector<Borrowed> tensors_;
  std::vector<pybind11::object> objects_;  // the tensors as Python has them
  std::vector<TensorType> types_;
  std::vector<std::int64_t> counts_;
  std::vector<void*> pointers_;
  lrpolicy::DType dtype_ = lrpolicy::DType::kFloat32;
};

// Throws InputError if a tensor of `written` shares memory with another tensor of any of the lists.
void check_apart(const std::vector<const TensorList*>& written, const std::vector<const TensorList*>& read);

// Throws InputError unless all lie on one device.
void check_one_device(const std::vector<const TensorList*>& lists);

// Throws InputError unless the list lies on this device.
void check_on(const TensorList& list, lrpolicy::Device device, const std::string& remedy);
