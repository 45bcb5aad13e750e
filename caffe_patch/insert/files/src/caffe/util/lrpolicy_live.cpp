#include "caffe/util/lrpolicy_live.hpp"

#include <lrpolicy/error.hpp>

namespace caffe {

namespace {

// The last SoftmaxWithLoss of a net that has just run; the total where it has none.
template <typename Dtype>
double LossOf(const Net<Dtype>& net, Dtype total) {
  for (int i = static_cast<int>(net.layers().size()) - 1; i >= 0; --i) {
    if (std::string(net.layers()[i]->type()) == "SoftmaxWithLoss") return net.top_vecs()[i][0]->cpu_data()[0];
  }
  return total;
}

void CheckMadeWith(const std::string& name, const std::string& kept, const std::string& wanted) {
  if (kept == wanted) return;
  throw lrpolicy::InputError("the snapshot was made with " + name + " \"" + kept + "\"", "\"" + wanted + "\"",
                             "resume with that, or start from the weights with --weights=FILE.caffemodel");
}

}  // namespace

template <typename Dtype>
LivePolicy<Dtype>::LivePolicy(const std::string& lr_policy, int average_loss)
    : lr_policy_(lr_policy), average_loss_(average_loss), test_sum_(0), test_batches_(0), heard_(-1) {}

template <typename Dtype>
void LivePolicy<Dtype>::Trained(int iter, Dtype loss) {
  losses_.push_back(loss);
  if (losses_.size() > average_loss_) losses_.pop_front();
  double sum = 0;
  for (const double value : losses_) sum += value;
  HearTrainLoss(iter, sum / losses_.size());
}

template <typename Dtype>
void LivePolicy<Dtype>::TestedBatch(int batch, const Net<Dtype>& net, Dtype total_loss) {
  if (batch == 0) {
    test_sum_ = 0;
    test_batches_ = 0;
  }
  test_sum_ += LossOf(net, total_loss);
  ++test_batches_;
}

template <typename Dtype>
void LivePolicy<Dtype>::TestedAll(int iter) {
  if (iter > 0 && iter != heard_ && test_batches_ > 0) HearTestLoss(test_sum_ / test_batches_);
  test_batches_ = 0;
}

template <typename Dtype>
std::string LivePolicy<Dtype>::State() const {
  StateWriter writer(schedule());
  Save(&writer);
  writer.Open("caffe");
  writer.Text("lr_policy", lr_policy_);
  if (!source().empty()) writer.Text("source", source());
  writer.Reals("window", std::vector<double>(losses_.begin(), losses_.end()));
  writer.Close();
  return writer.Finish();
}

template <typename Dtype>
void LivePolicy<Dtype>::Restore(const std::string& state, int buffer_count, int iter, const std::string& file) {
  try {
    if (state.empty()) {
      throw lrpolicy::InputError("the snapshot has no state of lr_policy \"" + lr_policy_ +
                                     "\": it was made with another policy",
                                 "", "start from its weights with --weights=FILE.caffemodel");
    }
    const StateReader reader(state);
    // lrpolicy's own engine adds its part under "engine". It tests before it saves, Caffe after.
    const bool by_engine = reader.Has("engine");
    const std::string part = by_engine ? "engine." : "caffe.";
    CheckMadeWith("lr_policy", reader.Text(part + "lr_policy"), lr_policy_);
    // Snapshots of before do not keep it.
    if (reader.Has(part + "source")) CheckMadeWith("source", reader.Text(part + "source"), source());
    reader.Expect(schedule());
    Load(reader);
    TakeWindow(reader, part + (by_engine ? "progress.window" : "window"));
    if (buffer_count != static_cast<int>(buffers_.size())) {
      throw lrpolicy::InputError("lr_policy \"" + lr_policy_ + "\" has " + std::to_string(buffers_.size()) +
                                     " blobs of its own for this net",
                                 std::to_string(buffer_count));
    }
    heard_ = by_engine ? iter : -1;
  } catch (const lrpolicy::InputError& error) {
    LOG(FATAL) << file << ": " << error.what();
  }
}

template <typename Dtype>
void LivePolicy<Dtype>::TakeWindow(const StateReader& reader, const std::string& path) {
  const std::vector<double> losses = reader.Reals(path);
  losses_.assign(losses.begin(), losses.end());
  while (losses_.size() > average_loss_) losses_.pop_front();
}

INSTANTIATE_CLASS(LivePolicy);

}  // namespace caffe
