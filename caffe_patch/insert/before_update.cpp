  if (this->live_policy_) { this->live_policy_->BeforeUpdate(this->iter_); }
