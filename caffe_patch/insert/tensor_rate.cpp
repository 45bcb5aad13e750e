    if (this->live_policy_) { rate = this->live_policy_->Rate(this->iter_, param_id); }
