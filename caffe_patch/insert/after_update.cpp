  if (this->live_policy_) { this->live_policy_->AfterUpdate(this->iter_); }
