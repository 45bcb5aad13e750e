#ifndef CAFFE_UTIL_LRPOLICY_HPP_
#define CAFFE_UTIL_LRPOLICY_HPP_

#include "caffe/proto/caffe.pb.h"

namespace caffe {

/// Aborts, naming the field and the remedy, if lr_policy is not known or a parameter breaks its rule, and for a policy
/// that Caffe itself does not have, if one is missing. Of Caffe's own, a missing one counts as 0; the log warns of it.
/// A solver without lr_policy passes (some only hold nets): CheckLearningRatePolicyIsGiven is for those that train.
void CheckLearningRatePolicy(const SolverParameter& param);

/// Aborts if there is no lr_policy.
void CheckLearningRatePolicyIsGiven(const SolverParameter& param);

/// Stores the rate after `iter` updates and returns true, if lr_policy is one that Caffe itself does not have.
/// Depends on nothing but its arguments, so there is nothing to save in a snapshot.
bool AddedPolicyRate(const SolverParameter& param, int iter, double* rate);

/// The rate of one of Caffe's own policies, not below min_lr where that is given and the policy takes it.
double NotBelowMinLr(const SolverParameter& param, double rate);

}  // namespace caffe

#endif  // CAFFE_UTIL_LRPOLICY_HPP_
