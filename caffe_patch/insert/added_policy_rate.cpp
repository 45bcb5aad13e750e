  if (this->live_policy_) { return this->live_policy_->Shown(); }
  double added_policy_rate;
  if (AddedPolicyRate(this->param_, this->iter_, &added_policy_rate)) {
    return Dtype(added_policy_rate);
  }
