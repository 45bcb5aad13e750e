    if (live_policy_ && test_net_id == 0) { live_policy_->TestedBatch(i, *test_net, iter_loss); }
