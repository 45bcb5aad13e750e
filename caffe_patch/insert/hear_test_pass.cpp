        if (live_policy_ && !requested_early_exit_) { live_policy_->TestedAll(iter_); }
