  rate = Dtype(NotBelowMinLr(this->param_, rate));
