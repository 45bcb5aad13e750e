  // A learning-rate policy that observes the training; null for those that are functions of the iteration.
  shared_ptr<LivePolicy<Dtype> > live_policy_;
