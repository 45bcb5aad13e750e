  CheckLearningRatePolicy(param_);
