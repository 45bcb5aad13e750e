  CheckLearningRatePolicyIsGiven(param_);
