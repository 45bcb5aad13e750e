  live_policy_ = MakeLivePolicy<Dtype>(param_, net_, test_nets_);
