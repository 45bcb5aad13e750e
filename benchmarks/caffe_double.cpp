// A training by Caffe in double precision: caffe_double SOLVER WEIGHTS FINAL [SEED]. Caffe's solvers and layers are
// templates that its library has for float and double; its own program knows float alone.
//   stdout   a line "ITERATION LOSS RATE" for each update, with all digits
//   FINAL    gets the learnable blobs at the end, in the net's order, as raw doubles
//   SEED     moves every first weight by one unit in the last place, up or down by chance
#include <caffe/caffe.hpp>
#include <caffe/sgd_solvers.hpp>
#include <caffe/util/upgrade_proto.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

// A solver that prints what it has when the first blob's update is due.
template <typename Base>
class Probe : public Base {
 public:
  explicit Probe(const caffe::SolverParameter& param) : Base(param) {}

 protected:
  virtual void ComputeUpdateValue(int blob, double rate) {
    if (blob == 0) std::printf("%d %.17g %.17g\n", this->iter_, this->smoothed_loss_, this->GetLearningRate());
    Base::ComputeUpdateValue(blob, rate);
  }
};

static void MoveByOneUlp(const std::vector<caffe::Blob<double>*>& blobs, unsigned seed) {
  std::mt19937 random(seed);
  for (caffe::Blob<double>* const blob : blobs) {
    double* const values = blob->mutable_cpu_data();
    for (int i = 0; i < blob->count(); ++i) {
      const double end = random() % 2 ? HUGE_VAL : -HUGE_VAL;
      if (values[i] != 0) values[i] = std::nextafter(values[i], end);
    }
  }
}

template <typename Base>
static int Run(const caffe::SolverParameter& param, char** files, const char* seed) {
  Probe<Base> solver(param);
  const std::vector<caffe::Blob<double>*>& blobs = solver.net()->learnable_params();
  solver.net()->CopyTrainedLayersFrom(std::string(files[0]));
  if (seed) MoveByOneUlp(blobs, std::strtoul(seed, NULL, 10));
  // One at a time: within a call of Step Caffe's smoothed loss gathers rounding errors.
  while (solver.iter() < param.max_iter()) solver.Step(1);
  std::FILE* const final = std::fopen(files[1], "wb");
  if (final == NULL) return 1;
  for (const caffe::Blob<double>* const blob : blobs) {
    std::fwrite(blob->cpu_data(), sizeof(double), blob->count(), final);
  }
  return std::fclose(final) == 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  google::InitGoogleLogging(argv[0]);
  caffe::SolverParameter param;
  caffe::ReadSolverParamsFromTextFileOrDie(argv[1], &param);
  caffe::Caffe::set_mode(caffe::Caffe::CPU);
  if (param.has_random_seed()) caffe::Caffe::set_random_seed(param.random_seed());
  const char* const seed = argc > 4 ? argv[4] : NULL;
  const std::string type = param.type();
  if (type == "Nesterov") return Run<caffe::NesterovSolver<double>>(param, argv + 2, seed);
  if (type == "AdaGrad") return Run<caffe::AdaGradSolver<double>>(param, argv + 2, seed);
  if (type == "RMSProp") return Run<caffe::RMSPropSolver<double>>(param, argv + 2, seed);
  if (type == "AdaDelta") return Run<caffe::AdaDeltaSolver<double>>(param, argv + 2, seed);
  if (type == "Adam") return Run<caffe::AdamSolver<double>>(param, argv + 2, seed);
  return Run<caffe::SGDSolver<double>>(param, argv + 2, seed);
}
