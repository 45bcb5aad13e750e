#include "caffe/util/lrpolicy_tlr.hpp"

#include <algorithm>
#include <lrpolicy/block_sum.hpp>

namespace caffe {

namespace {

// <a, a> and <a, b>, in double, in the order that block_sum.hpp lays down.
template <typename Dtype>
lrpolicy::TlrDots DotPair(const Dtype* a, const Dtype* b, int count) {
  const int blocks = static_cast<int>(lrpolicy::block_count(count));
  std::vector<double> own(blocks), other(blocks);
  for (int block = 0; block < blocks; ++block) {
    double own_lanes[lrpolicy::kLanes] = {}, other_lanes[lrpolicy::kLanes] = {};
    const int first = block * lrpolicy::kBlock, last = std::min(count, first + lrpolicy::kBlock);
    for (int i = first; i < last; ++i) {
      const int lane = i % lrpolicy::kLanes;
      own_lanes[lane] = lrpolicy::add_product(own_lanes[lane], a[i], a[i]);
      other_lanes[lane] = lrpolicy::add_product(other_lanes[lane], a[i], b[i]);
    }
    own[block] = lrpolicy::fold_lanes(own_lanes);
    other[block] = lrpolicy::fold_lanes(other_lanes);
  }
  lrpolicy::TlrDots dots = {lrpolicy::fold_blocks(own.data(), blocks), lrpolicy::fold_blocks(other.data(), blocks)};
  return dots;
}

// Of one number for every tensor, which a state's alphas hold.
std::vector<double> Column(const std::vector<lrpolicy::TlrAlpha>& alphas, double lrpolicy::TlrAlpha::* field) {
  std::vector<double> values;
  for (const lrpolicy::TlrAlpha& alpha : alphas) values.push_back(alpha.*field);
  return values;
}

void TakeColumn(const StateReader& reader, const std::string& name, double lrpolicy::TlrAlpha::* field,
                std::vector<lrpolicy::TlrAlpha>* alphas) {
  const std::vector<double> values = reader.Reals(name);
  if (values.size() != alphas->size()) {
    throw lrpolicy::InputError("this state belongs to another list of tensors",
                               std::to_string(values.size()) + " " + name + " for " + std::to_string(alphas->size()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] >= 0)) throw lrpolicy::InputError(name + " must be numbers from 0", lrpolicy::to_text(values[i]));
    (*alphas)[i].*field = values[i];
  }
}

// How often each rate was restarted. A state that was written before restarts were counted has none.
void TakeRestarts(const StateReader& reader, std::vector<lrpolicy::TlrAlpha>* alphas) {
  if (!reader.Has("restarts")) return;
  const std::vector<std::int64_t> restarts = reader.Wholes("restarts");
  for (std::size_t i = 0; i < std::min(restarts.size(), alphas->size()); ++i) (*alphas)[i].restarts = restarts[i];
}

}  // namespace

template <typename Dtype>
LiveTlr<Dtype>::LiveTlr(const SolverParameter& param, const shared_ptr<Net<Dtype>>& net)
    : LivePolicy<Dtype>(param.lr_policy(), param.average_loss()),
      net_(net),
      machine_(TlrOf(param, std::vector<double>(net->params_lr().begin(), net->params_lr().end()))),
      state_(machine_.start()),
      share_(Dtype(1) / param.iter_size()),
      begun_(false),
      told_(0) {
  for (std::size_t i = 0; i < machine_.lr_mult.size(); ++i) {
    if (machine_.lr_mult[i] != 0) places_.push_back(i);
  }
  for (std::size_t i = 0; i < 2 * places_.size(); ++i) {
    const std::vector<int>& shape = weights(i % places_.size()).shape();
    this->buffers_.push_back(shared_ptr<Blob<Dtype>>(new Blob<Dtype>(shape)));
  }
}

template <typename Dtype>
Dtype LiveTlr<Dtype>::Shown() const {
  double sum = 0;
  for (const std::size_t place : places_) sum += machine_.rate(state_, place);
  return Dtype(sum / places_.size());
}

template <typename Dtype>
void LiveTlr<Dtype>::BeforeUpdate(int iter) {
  if (!begun_) BeginWindow();
  begun_ = true;
  if (moves_first()) return;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Dtype* const gradient = weights(i).cpu_diff();
    Dtype* const sum = since(i);
    for (int k = 0; k < weights(i).count(); ++k) sum[k] += share_ * gradient[k];
  }
  if (machine_.is_due(iter)) CloseWindow();
}

template <typename Dtype>
void LiveTlr<Dtype>::AfterUpdate(int iter) {
  if (!moves_first() || !machine_.is_due(iter)) return;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Dtype* const now = weights(i).cpu_data();
    Dtype* const start = since(i);
    for (int k = 0; k < weights(i).count(); ++k) start[k] -= now[k];
  }
  CloseWindow();
}

// `since` holds what the whole window accumulated.
template <typename Dtype>
void LiveTlr<Dtype>::CloseWindow() {
  std::vector<double> gg(machine_.lr_mult.size()), gp(machine_.lr_mult.size());
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const lrpolicy::TlrDots dots = DotPair(since(i), before(i), weights(i).count());
    gg[places_[i]] = dots.gg;
    gp[places_[i]] = dots.gp;
  }
  state_ = machine_.update(state_, gg.data(), gp.data(), machine_.window);
  TellNewEvents();
  BeginWindow();
}

template <typename Dtype>
void LiveTlr<Dtype>::BeginWindow() {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const int count = weights(i).count();
    std::copy(since(i), since(i) + count, before(i));
    if (moves_first()) {
      std::copy(weights(i).cpu_data(), weights(i).cpu_data() + count, since(i));
    } else {
      std::fill(since(i), since(i) + count, Dtype(0));
    }
  }
}

// The first of each kind; later ones say nothing new.
template <typename Dtype>
void LiveTlr<Dtype>::TellNewEvents() {
  for (std::size_t i = 0; i < state_.alphas.size(); ++i) {
    const unsigned news = state_.alphas[i].events & ~told_;
    for (unsigned event = 1; event <= news; event *= 2) {
      if (news & event) Tell(event, i);
    }
    told_ |= news;
  }
}

template <typename Dtype>
void LiveTlr<Dtype>::Tell(unsigned event, std::size_t tensor) const {
  const lrpolicy::TlrAlpha& alpha = state_.alphas[tensor];
  std::string whose = "tlr, window " + std::to_string(state_.windows) + ": ";
  if (machine_.per_tensor) whose += "parameter blob " + std::to_string(tensor) + ": ";
  if (event == lrpolicy::kTlrNonFinite) {
    // Where all are finite, their sum or a quotient is not.
    const bool named = !machine_.per_tensor && state_.non_finite_tensor >= 0;
    const std::string culprit = named ? " of parameter blob " + std::to_string(state_.non_finite_tensor) : "";
    LOG(WARNING) << whose << "the dot products" << culprit << " are not finite; the rate stays " << alpha.rate;
  } else if (event == lrpolicy::kTlrAtLimit) {
    LOG(WARNING) << whose << "the rate was stopped at " << alpha.rate;
  } else if (event == lrpolicy::kTlrRestarted) {
    LOG(WARNING) << whose << "the rate fell below " << machine_.rule.restart_below << " and starts again from "
                 << alpha.rate;
  } else {
    LOG(WARNING) << whose << "the squared gradient is over " << machine_.rule.divergence << " times the first window's";
  }
}

template <typename Dtype>
void LiveTlr<Dtype>::Save(StateWriter* writer) const {
  std::vector<std::int64_t> events, restarts;
  for (const lrpolicy::TlrAlpha& alpha : state_.alphas) {
    events.push_back(alpha.events);
    restarts.push_back(alpha.restarts);
  }
  writer->Whole("windows", state_.windows);
  writer->Whole("non_finite_tensor", state_.non_finite_tensor);
  writer->Reals("rates", Column(state_.alphas, &lrpolicy::TlrAlpha::rate));
  writer->Reals("scales", Column(state_.alphas, &lrpolicy::TlrAlpha::scale));
  writer->Reals("squared", Column(state_.alphas, &lrpolicy::TlrAlpha::squared));
  writer->Reals("first", Column(state_.alphas, &lrpolicy::TlrAlpha::first));
  writer->Wholes("events", events);
  writer->Wholes("restarts", restarts);
}

template <typename Dtype>
void LiveTlr<Dtype>::Load(const StateReader& reader) {
  lrpolicy::TlrState state = machine_.start();
  state.windows = reader.Whole("windows");
  state.non_finite_tensor = reader.Whole("non_finite_tensor");
  TakeColumn(reader, "rates", &lrpolicy::TlrAlpha::rate, &state.alphas);
  TakeColumn(reader, "scales", &lrpolicy::TlrAlpha::scale, &state.alphas);
  TakeColumn(reader, "squared", &lrpolicy::TlrAlpha::squared, &state.alphas);
  TakeColumn(reader, "first", &lrpolicy::TlrAlpha::first, &state.alphas);
  const std::vector<std::int64_t> events = reader.Wholes("events");
  for (std::size_t i = 0; i < std::min(events.size(), state.alphas.size()); ++i) {
    state.alphas[i].events = static_cast<unsigned>(events[i]);
  }
  TakeRestarts(reader, &state.alphas);
  state_ = state;
  begun_ = true;
}

INSTANTIATE_CLASS(LiveTlr);

}  // namespace caffe
