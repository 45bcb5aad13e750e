  if (this->live_policy_) {
    hdf5_save_string(file_hid, "lrpolicy_state", this->live_policy_->State());
    const int lrpolicy_buffers = this->live_policy_->buffers().size();
    if (lrpolicy_buffers > 0) {
      hid_t lrpolicy_hid = H5Gcreate2(file_hid, "lrpolicy_history", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
      CHECK_GE(lrpolicy_hid, 0) << "cannot write lrpolicy_history into " << snapshot_filename;
      for (int i = 0; i < lrpolicy_buffers; ++i) {
        hdf5_save_nd_dataset<Dtype>(lrpolicy_hid, std::to_string(i), *this->live_policy_->buffers()[i]);
      }
      H5Gclose(lrpolicy_hid);
    }
  }
