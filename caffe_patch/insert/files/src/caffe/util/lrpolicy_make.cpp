// The policies whose state is a few numbers, and the choice among all that observe the training.
#include "caffe/util/lrpolicy_settings.hpp"

#include <lrpolicy/aslr.hpp>
#include <string>
#include <vector>

#include "caffe/util/lrpolicy_live.hpp"
#include "caffe/util/lrpolicy_tlr.hpp"

namespace caffe {

namespace {

// seq1 to seq4: a new rate after a test pass.
template <typename Dtype>
class LiveSequence : public LivePolicy<Dtype> {
 public:
  explicit LiveSequence(const SolverParameter& param)
      : LivePolicy<Dtype>(param.lr_policy(), param.average_loss()), machine_(SequenceOf(param)), state_() {}
  virtual Dtype Shown() const { return Dtype(machine_.rate(state_)); }

 protected:
  virtual void HearTestLoss(double loss) { state_ = strategy_update(*machine_.strategy, state_, loss); }
  virtual const char* schedule() const { return "sequence"; }
  virtual void Save(StateWriter* writer) const {
    writer->Whole("advances", state_.advances);
    writer->Whole("losses", state_.losses);
    writer->Real("loss", state_.loss);
    writer->Real("cutoff", state_.cutoff);
    writer->Flag("skipped", state_.skipped);
  }
  virtual void Load(const StateReader& reader) {
    state_.advances = reader.Whole("advances");
    state_.losses = reader.Whole("losses");
    state_.loss = reader.Real("loss");
    state_.cutoff = reader.Real("cutoff");
    state_.skipped = reader.Flag("skipped");
    if (state_.advances < 0) throw lrpolicy::InputError("advances must be 0 or more", reader.Text("advances"));
  }

 private:
  lrpolicy::DecaySequence machine_;
  lrpolicy::StrategyState state_;
};

// ASLR: a new centre after a test pass, and a rate drawn around it for every iteration and parameter blob.
template <typename Dtype>
class LiveAslr : public LivePolicy<Dtype> {
 public:
  explicit LiveAslr(const SolverParameter& param)
      : LivePolicy<Dtype>(param.lr_policy(), param.average_loss()),
        seed_(param.lr_policy_param().seed()),
        state_(lrpolicy::aslr_start(param.base_lr())) {
    if (Shown() != Dtype(param.base_lr())) {
      LOG(WARNING) << "base_lr " << param.base_lr() << " is read as " << Shown()
                   << ": ASLR walks along rates of one digit";
    }
  }
  virtual Dtype Shown() const { return Dtype(lrpolicy::value(state_.center)); }
  virtual Dtype Rate(int iter, int param_id) const {
    return Dtype(lrpolicy::aslr_draw(state_.center, seed_, iter, param_id));
  }

 protected:
  virtual void HearTestLoss(double loss) { state_ = aslr_update(state_, loss); }
  virtual const char* schedule() const { return "aslr"; }
  virtual void Save(StateWriter* writer) const {
    writer->Whole("digit", state_.center.digit);
    writer->Whole("exponent", state_.center.exponent);
    writer->Real("min_cost", state_.min_cost);
    writer->Whole("search_direction", state_.search_direction);
    writer->Whole("search_range", state_.search_range);
    writer->Whole("search_steps", state_.search_steps);
  }
  virtual void Load(const StateReader& reader) {
    lrpolicy::AslrState state = state_;
    state.center.digit = static_cast<int>(reader.Whole("digit"));
    state.center.exponent = static_cast<int>(reader.Whole("exponent"));
    state.min_cost = reader.Real("min_cost");
    state.search_direction = static_cast<int>(reader.Whole("search_direction"));
    state.search_range = reader.Whole("search_range");
    state.search_steps = reader.Whole("search_steps");
    const lrpolicy::Decimal center = state.center;
    if (center.digit < 1 || center.digit > 9 || std::abs(center.exponent) > lrpolicy::kLargestDecimalExponent) {
      throw lrpolicy::InputError("a centre has one digit from 1 to 9 and an exponent from -22 to 22",
                                 reader.Text("digit") + " and " + reader.Text("exponent"));
    }
    state_ = state;
  }

 private:
  std::uint64_t seed_;
  lrpolicy::AslrState state_;
};

// plateau: the rate of an iteration may depend on its own smoothed loss.
template <typename Dtype>
class LivePlateau : public LivePolicy<Dtype> {
 public:
  explicit LivePlateau(const SolverParameter& param)
      : LivePolicy<Dtype>(param.lr_policy(), param.average_loss()),
        machine_(PlateauOf(param)),
        state_(machine_.start()) {}
  virtual Dtype Shown() const { return Dtype(machine_.rate(state_)); }

 protected:
  virtual void HearTrainLoss(int iter, double smoothed) { state_ = machine_.update(state_, iter, smoothed); }
  virtual const char* schedule() const { return "plateau"; }
  virtual void Save(StateWriter* writer) const {
    writer->Whole("lowered", state_.lowered);
    writer->Whole("last_event", state_.last_event);
    writer->Real("minimum", state_.minimum);
  }
  virtual void Load(const StateReader& reader) {
    state_.lowered = reader.Whole("lowered");
    state_.last_event = reader.Whole("last_event");
    state_.minimum = reader.Real("minimum");
    if (state_.lowered < 0) throw lrpolicy::InputError("lowered must be 0 or more", reader.Text("lowered"));
  }

 private:
  lrpolicy::Plateau machine_;
  lrpolicy::PlateauState state_;
};

template <typename Dtype>
void CheckTestLoss(const std::vector<shared_ptr<Net<Dtype> > >& test_nets) {
  if (test_nets.empty()) {
    throw lrpolicy::InputError("the policy observes the loss of each test pass, and there is no test net", "",
                               "add for example  test_iter: 100");
  }
  for (const Dtype weight : test_nets[0]->blob_loss_weights()) {
    if (weight != 0) return;
  }
  throw lrpolicy::InputError("the policy observes the loss of each test pass, and the test net has none", "",
                             "include the loss layer in phase TEST too");
}

template <typename Dtype>
LivePolicy<Dtype>* NewLivePolicy(const lrpolicy::AdaptivePolicyRow& row, const SolverParameter& param,
                                 const shared_ptr<Net<Dtype> >& net,
                                 const std::vector<shared_ptr<Net<Dtype> > >& test_nets) {
  if (row.feedback == lrpolicy::Feedback::kGradients) return new LiveTlr<Dtype>(param, net);
  if (row.feedback == lrpolicy::Feedback::kTrainLoss) return new LivePlateau<Dtype>(param);
  CheckTestLoss(test_nets);
  if (row.optional & lrpolicy::kStrategyName) return new LiveSequence<Dtype>(param);
  return new LiveAslr<Dtype>(param);
}

}  // namespace

template <typename Dtype>
shared_ptr<LivePolicy<Dtype> > MakeLivePolicy(const SolverParameter& param, const shared_ptr<Net<Dtype> >& net,
                                              const std::vector<shared_ptr<Net<Dtype> > >& test_nets) {
  const lrpolicy::AdaptivePolicyRow* const row = FindAdaptiveRow(param.lr_policy());
  if (row == NULL) return shared_ptr<LivePolicy<Dtype> >();
  try {
    return shared_ptr<LivePolicy<Dtype> >(NewLivePolicy(*row, param, net, test_nets));
  } catch (const lrpolicy::InputError& error) {
    LOG(FATAL) << "lr_policy \"" << param.lr_policy() << "\": " << error.what();
  }
  return shared_ptr<LivePolicy<Dtype> >();
}

template shared_ptr<LivePolicy<float> > MakeLivePolicy(const SolverParameter&, const shared_ptr<Net<float> >&,
                                                       const std::vector<shared_ptr<Net<float> > >&);
template shared_ptr<LivePolicy<double> > MakeLivePolicy(const SolverParameter&, const shared_ptr<Net<double> >&,
                                                        const std::vector<shared_ptr<Net<double> > >&);

}  // namespace caffe
