  if (this->live_policy_) {
    const bool lrpolicy_there = H5LTfind_dataset(file_hid, "lrpolicy_state");
    const bool lrpolicy_buffered = H5LTfind_dataset(file_hid, "lrpolicy_history");
    hid_t lrpolicy_hid = lrpolicy_buffered ? H5Gopen2(file_hid, "lrpolicy_history", H5P_DEFAULT) : 0;
    const int lrpolicy_buffers = lrpolicy_buffered ? hdf5_get_num_links(lrpolicy_hid) : 0;
    this->live_policy_->Restore(lrpolicy_there ? hdf5_load_string(file_hid, "lrpolicy_state") : string(),
                                lrpolicy_buffers, this->iter_, state_file);
    for (int i = 0; i < lrpolicy_buffers; ++i) {
      hdf5_load_nd_dataset<Dtype>(lrpolicy_hid, std::to_string(i).c_str(), 0, kMaxBlobAxes,
                                  this->live_policy_->buffers()[i].get());
    }
    if (lrpolicy_buffered) { H5Gclose(lrpolicy_hid); }
  }
