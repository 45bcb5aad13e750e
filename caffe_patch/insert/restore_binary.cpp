  if (this->live_policy_) {
    this->live_policy_->Restore(state.lrpolicy_state(), state.lrpolicy_history_size(), this->iter_, state_file);
    for (int i = 0; i < state.lrpolicy_history_size(); ++i) {
      this->live_policy_->buffers()[i]->FromProto(state.lrpolicy_history(i), false);
    }
  }
