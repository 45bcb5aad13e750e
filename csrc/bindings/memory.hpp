// What a type of tensors offers, and the memory behind a tensor, which its framework may free or exchange meanwhile.
#pragma once
#include <pybind11/pybind11.h>

#include <lrpolicy/tensor_view.hpp>

#include "dlpack.hpp"

struct TensorType {
  const dlpack::ExchangeApi* api;  // null where there is none of a known version
  bool is_array;                   // NumPy's
  bool has_data_ptr, has_storage;  // data_ptr() and untyped_storage(): PyTorch's
};

// Asked once for each type of tensor.
TensorType type_of(pybind11::handle tensor);

// Throws InputError, which does not say where, unless the memory is there that `view` speaks of.
void check_memory(pybind11::handle tensor, TensorType type, const lrpolicy::TensorView& view);

// Whether the tensor's memory is still that of `view`; what cannot be asked is believed.
bool is_unmoved(pybind11::handle tensor, TensorType type, const lrpolicy::TensorView& view);
