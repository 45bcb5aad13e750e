  if (this->live_policy_) {
    state.set_lrpolicy_state(this->live_policy_->State());
    for (int i = 0; i < this->live_policy_->buffers().size(); ++i) {
      this->live_policy_->buffers()[i]->ToProto(state.add_lrpolicy_history());
    }
  }
