    if (live_policy_) { live_policy_->Trained(iter_, loss); }
