template <typename Dtype>
class LivePolicy;
