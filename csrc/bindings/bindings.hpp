#pragma once
#include <pybind11/pybind11.h>

void bind_errors(pybind11::module_& module);
void bind_policy_table(pybind11::module_& module);
void bind_policy(pybind11::module_& module);
void bind_stateful(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
