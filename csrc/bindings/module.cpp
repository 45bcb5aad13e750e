// lrpolicy._core: one binding file per thing; this one lists them.
#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of lrpolicy: see csrc/README.md.";
  bind_errors(module);
  bind_policy_table(module);
  bind_policy(module);
  bind_stateful(module);
  bind_kernels(module);
}
