#ifndef CAFFE_UTIL_LRPOLICY_SETTINGS_HPP_
#define CAFFE_UTIL_LRPOLICY_SETTINGS_HPP_

// Caffe's SolverParameter read as one of the policies that observe the training. Whatever is wrong is thrown as
// lrpolicy::InputError.
#include "caffe/util/lrpolicy_strict.hpp"

#include <lrpolicy/adaptive_table.hpp>
#include <lrpolicy/strategy.hpp>
#include <lrpolicy/tlr.hpp>
#include <string>
#include <vector>

#include "caffe/proto/caffe.pb.h"

namespace caffe {

/// The row of an lr_policy; null for a policy that observes nothing, or none at all.
const lrpolicy::AdaptivePolicyRow* FindAdaptiveRow(const std::string& lr_policy);

/// Throws for a parameter that is missing or breaks its rule, for a field of lr_policy_param that belongs to another
/// policy, and for what Caffe cannot do: the variant naive, several GPUs, a test pass that never comes.
void CheckAdaptivePolicy(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param);

/// Throws for a field of lr_policy_param that only a policy that observes the training has.
void CheckNoAdaptiveField(const std::string& lr_policy, const SolverParameter& param);

/// The names of the solver's own fields that are set for another policy.
std::vector<std::string> UnusedFields(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param);

/// The machines, with the parameters of the solver, and for TLR the multipliers of the net's parameter blobs.
lrpolicy::Tlr TlrOf(const SolverParameter& param, const std::vector<double>& lr_mult);
lrpolicy::DecaySequence SequenceOf(const SolverParameter& param);
lrpolicy::Plateau PlateauOf(const SolverParameter& param);

}  // namespace caffe

#endif  // CAFFE_UTIL_LRPOLICY_SETTINGS_HPP_
