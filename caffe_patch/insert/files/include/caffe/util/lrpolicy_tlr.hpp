#ifndef CAFFE_UTIL_LRPOLICY_TLR_HPP_
#define CAFFE_UTIL_LRPOLICY_TLR_HPP_

#include <string>
#include <vector>

#include "caffe/util/lrpolicy_live.hpp"
#include "caffe/util/lrpolicy_settings.hpp"

namespace caffe {

/// TLR: a new rate at the end of each window, before the last update of it (gradient) or after (displacement).
///
/// `buffers` holds for each blob that learns (lr_mult above 0) the start of the window, the weights then or the sum of
/// the gradients since, then for each what the window before accumulated. All arithmetic is the host's.
template <typename Dtype>
class LiveTlr : public LivePolicy<Dtype> {
 public:
  LiveTlr(const SolverParameter& param, const shared_ptr<Net<Dtype> >& net);
  virtual Dtype Shown() const;
  virtual Dtype Rate(int iter, int param_id) const { return Dtype(machine_.rate(state_, param_id)); }
  virtual void BeforeUpdate(int iter);
  virtual void AfterUpdate(int iter);

 protected:
  virtual const char* schedule() const { return "tlr"; }
  virtual std::string source() const { return moves_first() ? "displacement" : "gradient"; }
  virtual void Save(StateWriter* writer) const;
  virtual void Load(const StateReader& reader);

 private:
  bool moves_first() const { return machine_.rule.source == lrpolicy::TlrSource::kDisplacement; }
  const Blob<Dtype>& weights(std::size_t place) const { return *net_->learnable_params()[places_[place]]; }
  Dtype* since(std::size_t place) { return this->buffers_[place]->mutable_cpu_data(); }
  Dtype* before(std::size_t place) { return this->buffers_[places_.size() + place]->mutable_cpu_data(); }
  void CloseWindow();
  void BeginWindow();
  void TellNewEvents();
  void Tell(unsigned event, std::size_t tensor) const;

  shared_ptr<Net<Dtype> > net_;
  std::vector<std::size_t> places_;  // of the blobs that learn
  lrpolicy::Tlr machine_;
  lrpolicy::TlrState state_;
  Dtype share_;    // of one pass in an update's gradient
  bool begun_;     // whether the first window's start is known: weights may be loaded up to the first update
  unsigned told_;  // the events that the log has had
};

}  // namespace caffe

#endif  // CAFFE_UTIL_LRPOLICY_TLR_HPP_
