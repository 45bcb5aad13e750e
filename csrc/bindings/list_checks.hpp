// What every verb asks of its lists, on whatever device: sizes, types, who may be written to. All throw InputError,
// naming the tensor.
#pragma once
#include "tensor_list.hpp"

// `counts` are the plan's; `start` is null where the gradients are given.
void check_dot_pair(const std::vector<std::int64_t>& counts, const TensorList& now, const TensorList& previous,
                    const TensorList* start, bool roll);

void check_accumulate(const std::vector<std::int64_t>& counts, const TensorList& gradients, const TensorList& sums);

void check_momentum_step(const std::vector<std::int64_t>& counts, const TensorList& gradients,
                         const TensorList& weights, const TensorList& history);

void check_on_cpu(const TensorList& list);
