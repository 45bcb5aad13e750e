#ifndef CAFFE_UTIL_LRPOLICY_LIVE_HPP_
#define CAFFE_UTIL_LRPOLICY_LIVE_HPP_

#include <deque>
#include <string>
#include <vector>

#include "caffe/net.hpp"
#include "caffe/util/lrpolicy_state.hpp"

namespace caffe {

/// A learning-rate policy at work in one training: it hears what the solver sees, and says the rates.
///
/// The solver calls, in every iteration: after a test pass TestedAll (for each batch of the first test net TestedBatch);
/// after the backward pass Trained and BeforeUpdate; then Rate for each parameter blob; then AfterUpdate. Reading a rate
/// changes nothing. `iter` is the number of the update, from 0.
template <typename Dtype>
class LivePolicy {
 public:
  typedef std::vector<shared_ptr<Blob<Dtype> > > Blobs;

  /// `average_loss` losses are averaged into the smoothed one.
  LivePolicy(const std::string& lr_policy, int average_loss);
  virtual ~LivePolicy() {}

  /// One number for displays: the rate as it stands; what parameter blobs have in the middle.
  virtual Dtype Shown() const = 0;

  /// The rate of one parameter blob, before its lr_mult.
  virtual Dtype Rate(int iter, int param_id) const { return Shown(); }

  /// Hear the training loss of an iteration.
  void Trained(int iter, Dtype loss);

  /// Hear batch number `batch` of a test pass, whose total loss this is. What counts is the net's last SoftmaxWithLoss
  /// (the cross-entropy that lrpolicy's own engine observes), and in nets without one the total loss.
  void TestedBatch(int batch, const Net<Dtype>& net, Dtype total_loss);

  /// Hear that a test pass before iteration `iter` is complete: its loss is the mean of its batches'. A pass before the
  /// first update says nothing of a rate, and is not heard.
  void TestedAll(int iter);

  /// The gradients are there, neither clipped nor divided by iter_size.
  virtual void BeforeUpdate(int iter) {}

  /// The weights have moved.
  virtual void AfterUpdate(int iter) {}

  /// What a snapshot keeps, beside `buffers`, for a resume that goes on bit for bit.
  std::string State() const;

  /// Take over a `State` that comes with so many buffers, after `iter` updates. Aborts, naming the file, for an empty
  /// one, that of another policy or source, or of another net.
  void Restore(const std::string& state, int buffer_count, int iter, const std::string& file);

  /// Blobs that a snapshot keeps; a restore fills them from outside.
  const Blobs& buffers() const { return buffers_; }

 protected:
  /// The smoothed training loss of an iteration, as doubles average it.
  virtual void HearTrainLoss(int iter, double smoothed) {}
  virtual void HearTestLoss(double loss) {}
  virtual const char* schedule() const = 0;
  virtual std::string source() const { return ""; }  // what `buffers` accumulate, where that may be one or another
  virtual void Save(StateWriter* writer) const = 0;
  virtual void Load(const StateReader& reader) = 0;

  Blobs buffers_;

 private:
  void TakeWindow(const StateReader& reader, const std::string& path);

  std::string lr_policy_;
  std::size_t average_loss_;
  std::deque<double> losses_;  // the last average_loss
  double test_sum_;
  int test_batches_;
  int heard_;  // the iteration whose test pass another engine heard before it saved; -1 for none
};

/// The solver's policy at work on its net; null where it is a function of the iteration. Aborts where the policy would
/// hear nothing: no test net, or one without a loss.
template <typename Dtype>
shared_ptr<LivePolicy<Dtype> > MakeLivePolicy(const SolverParameter& param, const shared_ptr<Net<Dtype> >& net,
                                              const std::vector<shared_ptr<Net<Dtype> > >& test_nets);

}  // namespace caffe

#endif  // CAFFE_UTIL_LRPOLICY_LIVE_HPP_
