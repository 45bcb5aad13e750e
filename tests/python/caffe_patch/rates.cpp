// The rates that Caffe itself uses, as the bits of float32, one "iteration bits" a line.
//   rates SOLVER train UNTIL [SOLVERSTATE]   trains, from a snapshot where one is given, and leaves a snapshot
//   rates SOLVER at ITERATION...             only asks
#include <caffe/caffe.hpp>
#include <caffe/sgd_solvers.hpp>
#include <caffe/util/upgrade_proto.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

class Probe : public caffe::SGDSolver<float> {
 public:
  explicit Probe(const caffe::SolverParameter& param) : caffe::SGDSolver<float>(param) {}
  void Print() {
    const float rate = this->GetLearningRate();
    std::uint32_t bits = 0;
    std::memcpy(&bits, &rate, sizeof bits);
    std::printf("%d %u\n", this->iter_, bits);
  }
  void PrintAt(int iteration) {
    this->iter_ = iteration;
    this->current_step_ = 0;
    Print();
  }
};

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  google::InitGoogleLogging(argv[0]);
  caffe::SolverParameter param;
  caffe::ReadSolverParamsFromTextFileOrDie(argv[1], &param);
  caffe::Caffe::set_mode(caffe::Caffe::CPU);
  Probe probe(param);
  if (std::string(argv[2]) == "at") {
    for (int i = 3; i < argc; ++i) probe.PrintAt(std::atoi(argv[i]));
    return 0;
  }
  if (argc > 4) probe.Restore(argv[4]);
  while (probe.iter() < std::atoi(argv[3])) {
    probe.Print();
    probe.Step(1);
  }
  probe.Snapshot();
  return 0;
}
