"""The shipped descriptor is proto/caffe.proto's, lives in a pool of its own, and speaks Caffe's wire format."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from lrpolicy.prototxt import messages

PROTO = Path(__file__).parents[3] / "proto"


def test_the_shipped_descriptor_is_that_of_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    fresh = tmp_path / "caffe.desc"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--descriptor_set_out={fresh}", "caffe.proto"]
    subprocess.run(command, check=True)
    shipped = resources.files("lrpolicy.prototxt").joinpath("caffe.desc").read_bytes()
    assert _parsed(shipped) == _parsed(fresh.read_bytes())


def _parsed(content: bytes) -> descriptor_pb2.FileDescriptorSet:
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(content)
    return files


def test_another_caffe_proto_in_the_process_does_not_clash() -> None:
    other = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    other.message_type.add(name="SolverParameter")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(other.SerializeToString())
    assert not pool.FindMessageTypeByName("caffe.SolverParameter").fields
    assert messages.SolverParameter(base_lr=0.5).base_lr == 0.5


def test_the_wire_format_is_caffes() -> None:
    # Field numbers and types from Caffe's schema: base_lr = 5 (float), lr_policy = 8, stepvalue = 34, ours from 1000.
    message = messages.SolverParameter(base_lr=0.5, lr_policy="tri", stepvalue=[7], max_lr=1.0)
    expected = b"\x2d\x00\x00\x00\x3f" + b"\x42\x03tri" + b"\x90\x02\x07" + b"\xc5\x3e\x00\x00\x80\x3f"
    assert message.SerializeToString(deterministic=True) == expected


def test_defaults_are_caffes() -> None:
    solver = messages.SolverParameter()
    assert (solver.type, solver.iter_size, solver.average_loss, solver.test_initialization) == ("SGD", 1, 1, True)
    assert (solver.clip_gradients, solver.random_seed, solver.momentum2) == (-1, -1, pytest.approx(0.999))
    layer = messages.LayerParameter()
    assert (layer.lrn_param.local_size, layer.batch_norm_param.eps) == (5, pytest.approx(1e-5))
    assert messages.enum_name(layer.pooling_param, "round_mode") == "CEIL"
    assert messages.enum_name(layer.loss_param, "normalization") == "VALID"


def test_importing_lrpolicy_does_not_load_protobuf() -> None:
    code = "import sys, lrpolicy; print([m for m in sys.modules if m.startswith('google')])"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "[]"
