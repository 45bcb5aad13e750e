# lrpolicy: `make demo` shows what it does, `make test` proves it. Nothing is installed outside .venv, except Debian
# packages that are missing, and those only where this user may install them.

PYTHON ?= python3
CXX ?= g++
# Options for every pip install, for example an index with PyTorch's smaller CPU-only wheels.
PIP_FLAGS ?=

# What builds and runs on a GPU: this project's virtual environment where there is one, else PYTHON itself, which then
# needs PyTorch, NumPy, pytest, pybind11 and scikit-build-core. The GPU targets download nothing.
GPU_PYTHON ?= $(if $(wildcard .venv/.ready-dev),$(BIN)/python,$(PYTHON))
GPU_ARCH ?= native
HAS_GPU ?= nvidia-smi -L 2>/dev/null | grep -q GPU

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(PIP_FLAGS) -c constraints.txt
# The virtual environment's cmake, ninja and clang-format come first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What the compiled core and the installation are made from.
SOURCES := pyproject.toml constraints.txt CMakeLists.txt \
           $(shell find csrc -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name CMakeLists.txt)
CXX_FILES = $(shell find csrc tests/csrc -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h')
BUILD_TOOLS := scikit-build-core pybind11 cmake ninja
# The demo is content with the developers' installation where there is one.
DEMO_READY := $(if $(wildcard .venv/.ready-dev),.venv/.ready-dev,.venv/.ready-all)

# Files of tests run side by side, in their order: most wait, for a server, a signal or a program that starts.
TEST_PROCESSES ?= --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test setup lint format sanitize arm64 cuda cuda-on-host test-gpu sanitize-gpu bench-gpu gpu-build caffe bench readme wheel clean
.DELETE_ON_ERROR:

help:  ## say what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: $(DEMO_READY)  ## rank the 13 policies on real handwritten digits (under a minute on two cores, after set-up)
	$(BIN)/lrpolicy tune digits --policies paper

test: setup build/.tests-built  ## run all tests: C++ and Python
	ctest --preset default --output-on-failure
	$(BIN)/python -m pytest $(TEST_PROCESSES)

setup: .venv/.ready-dev  ## make .venv with everything that development needs

lint: setup  ## check style, types and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

format: setup  ## put Python and C++ into the house's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

sanitize: setup .venv/.has-gtest  ## run the C++ tests under AddressSanitizer and UBSan
	cmake --preset asan
	cmake --build --preset asan
	ctest --preset asan --output-on-failure

arm64: setup .venv/.has-gtest  ## run the C++ tests as programs for arm64, under QEMU
	@sh .ci/need 'a C++ compiler for arm64' g++-aarch64-linux-gnu -- aarch64-linux-gnu-g++ --version
	@sh .ci/need QEMU qemu-user-static -- qemu-aarch64-static --version
	cmake --preset arm64
	cmake --build --preset arm64
	ctest --preset arm64

cuda: setup  ## compile the CUDA sources, where nvcc is installed
	@if command -v nvcc >/dev/null; then cmake --preset cuda && cmake --build --preset cuda; \
	else echo 'make cuda: skipped, there is no nvcc here'; fi

# Only a GPU has graphs, streams and memory of its own.
cuda-on-host: setup  ## run the Python tests of the CUDA kernels on the host (minutes)
	cmake -S . -B build/on_host -DCMAKE_BUILD_TYPE=Release -DLRPOLICY_CUDA=HOST \
	-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir)
	cmake --build build/on_host --parallel --target _cuda
	PYTHONPATH=tests $(BIN)/python -m pytest -p support.cuda_on_host --numprocesses logical --maxprocesses 4 \
	tests/python/gpu -k 'not graph and not stream and not allocates'

test-gpu:  ## build for this machine's GPU and run its tests, C++ and Python (skipped where there is none)
	@if $(HAS_GPU); then $(MAKE) --no-print-directory gpu-build && $(GPU_WORKS) && $(GPU_CTEST) && $(GPU_PYTEST); \
	else echo 'make test-gpu: skipped, nvidia-smi finds no GPU here'; fi

sanitize-gpu:  ## the same kernels under compute-sanitizer: memory, races, barriers
	@if ! $(HAS_GPU); then echo 'make sanitize-gpu: skipped, nvidia-smi finds no GPU here'; exit 0; fi; \
	$(MAKE) --no-print-directory gpu-build || exit 1; \
	for tool in memcheck racecheck synccheck; do echo "== $$tool"; \
	PYTORCH_NO_CUDA_MEMORY_CACHING=1 $(GPU_RUN) compute-sanitizer --tool $$tool --error-exitcode 1 \
	$(GPU_PYTHON) -m pytest $(GPU_PYTEST_OPTIONS) tests/python/gpu/test_kernels_cuda.py -k 'bits or draws' || exit 1; done

bench-gpu:  ## measure the CUDA kernels beside cuBLAS, PyTorch and a copy
	@if $(HAS_GPU); then $(MAKE) --no-print-directory gpu-build && \
	$(GPU_RUN) $(GPU_PYTHON) benchmarks/bench_kernels_gpu.py --output benchmarks/results/kernels_gpu.json; \
	else echo 'make bench-gpu: skipped, nvidia-smi finds no GPU here'; fi

# Beside everything else: a copy of the package in build/gpu/site, and the C++ tests where there is GoogleTest.
GPU_RUN = PYTHONPATH=$(CURDIR)/build/gpu/site
# Fails where the tests would skip themselves in spite of a GPU.
GPU_WORKS = $(GPU_RUN) $(GPU_PYTHON) -c 'from lrpolicy import cuda; print(cuda.devices())'
GPU_CTEST = ctest --test-dir build/gpu/cmake --output-on-failure -R '^Cuda'
# An empty configuration: ours names plug-ins that such a machine may not have.
GPU_PYTEST_OPTIONS = -c /dev/null --rootdir=$(CURDIR) -p no:cacheprovider -q -rs
GPU_PYTEST = $(GPU_RUN) $(GPU_PYTHON) -m pytest $(GPU_PYTEST_OPTIONS) tests/python/gpu

gpu-build:
	$(GPU_PYTHON) -m pip install --quiet --disable-pip-version-check --no-index --no-build-isolation --no-deps --upgrade \
	--target build/gpu/site . -C build-dir=build/gpu/pip -C cmake.define.LRPOLICY_CUDA=ON \
	-C cmake.define.CMAKE_CUDA_ARCHITECTURES=$(GPU_ARCH)
	cmake -S . -B build/gpu/cmake -DCMAKE_BUILD_TYPE=Release -DLRPOLICY_PYTHON=OFF -DLRPOLICY_TESTS=ON \
	-DLRPOLICY_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=$(GPU_ARCH)
	cmake --build build/gpu/cmake --parallel

caffe:  ## build a Caffe that knows every policy (minutes; CAFFE_SRC=DIR: from a copy of that tree)
	@PYTHON=$(PYTHON) sh caffe_patch/build_caffe.sh

# Those of speed, minutes each. The others take hours and are started by hand: benchmarks/README.md.
BENCHMARKS ?= policies schedulers kernels engine database

bench: setup  ## measure speed beside NumPy, PyTorch and Caffe; keep the machine quiet meanwhile
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/bench_$$name.py || exit 1; done

readme: setup  ## bring the tables of the README files up to date
	cd tests/python/house && $(CURDIR)/$(BIN)/python tables.py

wheel: setup  ## build the source distribution and the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean:  ## remove everything that was built, and .venv
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "lrpolicy needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.11"; exit 1; }
	@sh .ci/need 'a C++ compiler' g++ -- $(CXX) --version
	@sh .ci/need 'the venv module' python3-venv -- $(PYTHON) -c 'import ensurepip, venv'
	@sh .ci/need 'the headers of Python' python3-dev -- $(PYTHON) -c \
	'import pathlib, sysconfig; (pathlib.Path(sysconfig.get_path("include")) / "Python.h").read_text()'
	$(PYTHON) -m venv .venv

# .ready-all holds what users need, .ready-dev also what developers need.
.venv/.ready-%: $(SOURCES) | .venv/bin/python
	@echo 'installing into .venv; the first time takes minutes, PyTorch is large'
	$(PIP) --quiet $(BUILD_TOOLS)
	$(PIP) --no-build-isolation -e '.[$*]'
	@touch $@

.venv/.has-gtest: | .venv/.ready-dev
	@sh .ci/need GoogleTest libgtest-dev -- \
	sh -c "echo '#include <gtest/gtest.h>' | $(CXX) -std=c++17 -fsyntax-only -x c++ -"
	@touch $@

build/.tests-built: .venv/.ready-dev .venv/.has-gtest $(SOURCES) $(shell find tests/csrc -type f)
	cmake --preset default
	cmake --build --preset default
	@touch $@
