// A TlrState as the tuple that Python knows it by.
#pragma once
#include <lrpolicy/tlr.hpp>
#include <tuple>
#include <vector>

// windows, non_finite_tensor, then one list for each field of TlrAlpha
using Reals = std::vector<double>;
using Wholes = std::vector<std::int64_t>;
using TlrTuple = std::tuple<std::int64_t, std::int64_t, Reals, Reals, Reals, Reals, Wholes, Wholes>;

// Throws InputError for a state that is not one of `tlr`.
lrpolicy::TlrState unpack_tlr(const lrpolicy::Tlr& tlr, const TlrTuple& t);

TlrTuple pack_tlr(const lrpolicy::TlrState& state);
