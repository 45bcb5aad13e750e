// What one training in Caffe does: updates SOLVER UNTIL [SOLVERSTATE]. Lines on stdout:
//   test ITERATION LOSS               the mean loss of the test net's batches before this iteration, computed here
//   train ITERATION LOSS              the training loss of this iteration
//   shown ITERATION BITS              GetLearningRate in this iteration, the bits of a float
//   rate ITERATION BLOB BITS          the rate that the solver multiplies this parameter blob's lr_mult by
// The file `values` gets, for each update and blob, the weights before it and its gradient, as raw floats.
#include <caffe/caffe.hpp>
#include <caffe/sgd_solvers.hpp>
#include <caffe/util/upgrade_proto.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

static std::uint32_t BitsOf(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

template <typename Base>
class Probe : public Base {
 public:
  explicit Probe(const caffe::SolverParameter& param) : Base(param), values_(std::fopen("values", "wb")) {}
  virtual ~Probe() { std::fclose(values_); }

  void TestHere() {
    caffe::Net<float>& net = *this->test_nets()[0];
    net.ShareTrainedLayersWith(this->net().get());
    double sum = 0;
    for (int i = 0; i < this->param_.test_iter(0); ++i) {
      float loss = 0;
      net.Forward(&loss);
      sum += loss;
    }
    std::printf("test %d %.17g\n", this->iter_, sum / this->param_.test_iter(0));
  }

 protected:
  virtual void ComputeUpdateValue(int blob, float rate) {
    if (blob == 0) {
      std::printf("train %d %.17g\n", this->iter_, this->net_->output_blobs()[0]->cpu_data()[0]);
      std::printf("shown %d %u\n", this->iter_, BitsOf(this->GetLearningRate()));
    }
    std::printf("rate %d %d %u\n", this->iter_, blob, BitsOf(rate));
    const caffe::Blob<float>& weights = *this->net_->learnable_params()[blob];
    std::fwrite(weights.cpu_data(), sizeof(float), weights.count(), values_);
    std::fwrite(weights.cpu_diff(), sizeof(float), weights.count(), values_);
    Base::ComputeUpdateValue(blob, rate);
  }

 private:
  std::FILE* values_;
};

template <typename Base>
static int Run(const caffe::SolverParameter& param, int until, const char* state) {
  Probe<Base> probe(param);
  if (state) probe.Restore(state);
  while (probe.iter() < until) {
    if (param.test_interval() && probe.iter() % param.test_interval() == 0) probe.TestHere();
    probe.Step(1);
  }
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  google::InitGoogleLogging(argv[0]);
  caffe::SolverParameter param;
  caffe::ReadSolverParamsFromTextFileOrDie(argv[1], &param);
  caffe::Caffe::set_mode(caffe::Caffe::CPU);
  const int until = std::atoi(argv[2]);
  const char* const state = argc > 3 ? argv[3] : NULL;
  const std::string type = param.type();
  if (type == "Nesterov") return Run<caffe::NesterovSolver<float> >(param, until, state);
  if (type == "AdaGrad") return Run<caffe::AdaGradSolver<float> >(param, until, state);
  if (type == "RMSProp") return Run<caffe::RMSPropSolver<float> >(param, until, state);
  if (type == "AdaDelta") return Run<caffe::AdaDeltaSolver<float> >(param, until, state);
  if (type == "Adam") return Run<caffe::AdamSolver<float> >(param, until, state);
  return Run<caffe::SGDSolver<float> >(param, until, state);
}
