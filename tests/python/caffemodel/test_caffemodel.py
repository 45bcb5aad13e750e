"""Snapshot files: what real Caffe wrote (data/), what we write, and files that are damaged or foreign.

data/tiny_iter_3.* were written by real Caffe 1.0 after three updates of one net, once in each format.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from lrpolicy import caffemodel, zoo
from lrpolicy.caffemodel import SolverState
from lrpolicy.errors import InputError, RunError
from lrpolicy.prototxt import messages
from lrpolicy.solver import read
from support.full_disk import full_disk

DATA = Path(__file__).parent / "data"
RANDOM = np.random.default_rng(1)
WEIGHTS = {
    "conv": [RANDOM.normal(size=(3, 2, 2, 2)).astype(np.float32), np.zeros(3, np.float32)],
    "slope": [np.float32(0.25).reshape(())],
    "ip": [RANDOM.normal(size=(2, 12)).astype(np.float32)],
}
BLOBS = tuple(blob for blobs in WEIGHTS.values() for blob in blobs)
STATE = SolverState(7, "a/é.caffemodel", 2, BLOBS, b'{"seed": 1}\0\xff', BLOBS[:2])


def same(first: dict[str, list[np.ndarray]], second: dict[str, list[np.ndarray]]) -> bool:
    return {name: [(b.shape, b.dtype, b.tobytes()) for b in blobs] for name, blobs in first.items()} == {
        name: [(b.shape, b.dtype, b.tobytes()) for b in blobs] for name, blobs in second.items()
    }


def test_real_caffes_two_formats_read_alike() -> None:
    weights = caffemodel.read_weights(DATA / "tiny_iter_3.caffemodel")
    assert {name: [b.shape for b in blobs] for name, blobs in weights.items() if blobs} == {
        "conv": [(3, 2, 2, 2), (3,)],
        "slope": [()],
        "ip": [(2, 12), (2,)],
    }
    with h5py.File(DATA / "tiny_iter_3.caffemodel.h5") as file:
        assert np.array_equal(weights["ip"][0], file["data/ip/0"][...])
    assert same(weights, caffemodel.read_weights(DATA / "tiny_iter_3.caffemodel.h5"))
    states = [caffemodel.read_state(DATA / f"tiny_iter_3.solverstate{suffix}") for suffix in ("", ".h5")]
    assert [(state.iter, state.current_step, state.extra) for state in states] == [(3, 1, b"")] * 2
    assert [state.learned_net for state in states] == ["tiny_iter_3.caffemodel", "tiny_iter_3.caffemodel.h5"]
    assert [blob.shape for blob in states[0].history] == [(3, 2, 2, 2), (3,), (), (2, 12), (2,)]
    assert all(np.array_equal(*pair) for pair in zip(states[0].history, states[1].history, strict=True))


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_what_is_written_is_read_back_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    caffemodel.write_weights(tmp_path / f"w.caffemodel{suffix}", WEIGHTS)
    assert same(caffemodel.read_weights(tmp_path / f"w.caffemodel{suffix}"), WEIGHTS)
    caffemodel.write_state(tmp_path / f"s.solverstate{suffix}", STATE)
    state = caffemodel.read_state(tmp_path / f"s.solverstate{suffix}")
    assert (state.iter, state.learned_net, state.current_step) == (STATE.iter, STATE.learned_net, STATE.current_step)
    assert state.extra == STATE.extra
    assert same({"": list(state.policy_history)}, {"": list(STATE.policy_history)})
    assert same({"": list(state.history)}, {"": list(STATE.history)})


def test_the_layout_is_caffes(tmp_path: Path) -> None:
    caffemodel.write_state(tmp_path / "s.solverstate.h5", STATE)
    with h5py.File(tmp_path / "s.solverstate.h5") as ours, h5py.File(DATA / "tiny_iter_3.solverstate.h5") as real:
        assert set(ours) == {*real, "lrpolicy_state", "lrpolicy_history"}
        assert sorted(ours["lrpolicy_history"]) == ["0", "1"]
        assert ours["lrpolicy_state"][()] == STATE.extra  # a string, as learned_net is
        for name in ("iter", "current_step"):
            assert (ours[name].shape, ours[name].dtype) == (real[name].shape, real[name].dtype)
        assert ours["learned_net"].dtype.itemsize == len(STATE.learned_net.encode()) + 1  # Caffe reads to the zero
        assert ours["learned_net"].dtype.kind == real["learned_net"].dtype.kind
    caffemodel.write_weights(tmp_path / "w.caffemodel.h5", WEIGHTS)
    with h5py.File(tmp_path / "w.caffemodel.h5") as ours:
        assert sorted(ours["data"]) == ["conv", "ip", "slope"] and sorted(ours["data/conv"]) == ["0", "1"]
    caffemodel.write_state(tmp_path / "s.solverstate", STATE)
    # SolverState: iter = 1 (varint), learned_net = 2 (bytes)
    assert (tmp_path / "s.solverstate").read_bytes().startswith(b"\x08\x07\x12\x0fa/\xc3\xa9.caffemodel")


def test_with_its_net_a_caffemodel_describes_every_layer(tmp_path: Path) -> None:
    net = read(zoo.solver_path("digits")).train_parameter()
    caffemodel.write_weights(tmp_path / "w.caffemodel", {"ip2": [np.ones((10, 64)), np.ones(10)]}, net)
    message = messages.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert [layer.type for layer in message.layer] == [layer.type for layer in net.layer]
    assert [len(layer.blobs) for layer in message.layer if layer.name == "ip2"] == [2]
    assert not any(layer.blobs for layer in net.layer)


def test_old_blobs_are_read(tmp_path: Path) -> None:
    old = messages.BlobProto(num=1, channels=1, height=2, width=3, double_data=[0, 1, 2, 3, 4, 5.5])
    net = messages.NetParameter()
    net.layers.add(name="v1").blobs.add().CopyFrom(old)
    (tmp_path / "old.caffemodel").write_bytes(net.SerializeToString())
    blob = caffemodel.read_weights(tmp_path / "old.caffemodel")["v1"][0]
    assert blob.shape == (1, 1, 2, 3) and blob.dtype == np.float32
    fitted = caffemodel.fit(blob, (2, 3), "v1's weights")
    assert fitted.tolist() == [[0, 1, 2], [3, 4, 5.5]]
    for shape in ((3, 2), (6,), (1, 2, 3, 1)):
        with pytest.raises(InputError, match="v1's weights must have the shape"):
            caffemodel.fit(blob, shape, "v1's weights")


def test_mean_images(tmp_path: Path) -> None:
    mean = RANDOM.normal(size=(3, 4, 5)).astype(np.float32)
    caffemodel.write_mean(tmp_path / "mean.binaryproto", mean)
    assert np.array_equal(caffemodel.read_mean(tmp_path / "mean.binaryproto"), mean)
    blob = messages.BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 4, 5)
    with pytest.raises(InputError, match="this is no mean image"):
        caffemodel.write_mean(tmp_path / "two.binaryproto", mean)
        content = messages.BlobProto(shape=messages.BlobShape(dim=[2]), data=[1, 2]).SerializeToString()
        (tmp_path / "two.binaryproto").write_bytes(content)
        caffemodel.read_mean(tmp_path / "two.binaryproto")


READERS = {
    "tiny_iter_3.caffemodel": caffemodel.read_weights,
    "tiny_iter_3.caffemodel.h5": caffemodel.read_weights,
    "tiny_iter_3.solverstate": caffemodel.read_state,
    "tiny_iter_3.solverstate.h5": caffemodel.read_state,
}


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_is_one_error(name: str, tmp_path: Path) -> None:
    content = (DATA / name).read_bytes()
    damaged = tmp_path / name
    whole = []
    for size in range(0, len(content), max(1, len(content) // 60)):
        damaged.write_bytes(content[:size])
        try:
            READERS[name](damaged)
        except InputError as error:
            assert str(error).startswith(str(tmp_path))
        else:
            whole.append(size)
    # BINARYPROTO cut just between two records is a shorter file, which nothing in it can tell.
    assert len(whole) <= (0 if name.endswith(".h5") else 6)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"net: 'a'\n", bytes(range(256)) * 8, b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_a_foreign_file_is_one_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="this is no "):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_and_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read|no such file"):
        READERS[name](tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=r"cannot be read|no such file"):
        READERS[name](tmp_path / name)


def test_an_hdf5_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.solverstate.h5"
    with h5py.File(path, "w") as file:
        file["iter"] = "seven"
    with pytest.raises(InputError, match="this is no HDF5 snapshot of Caffe's"):
        caffemodel.read_state(path)


def test_a_blob_whose_numbers_do_not_fill_its_shape(tmp_path: Path) -> None:
    net = messages.NetParameter()
    net.layer.add(name="x").blobs.add(shape=messages.BlobShape(dim=[2, 3]), data=[1.0])
    (tmp_path / "x.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(InputError, match=r'layer "x", blob 0: a shape of \[2, 3\] needs 6 numbers, got 1'):
        caffemodel.read_weights(tmp_path / "x.caffemodel")


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_a_full_disk_leaves_nothing_half_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.caffemodel{suffix}"
    path.write_bytes(b"old")
    big = {"ip": [np.ones((1000, 1000), np.float32)]}
    with full_disk(1 << 16), pytest.raises(RunError, match="cannot be written"):
        caffemodel.write_weights(path, big)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_slashes_in_layer_names_do_not_fit_into_hdf5(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a slash in its name"):
        caffemodel.write_weights(tmp_path / "w.caffemodel.h5", {"conv/1x1": [np.ones(1)]})
    assert not list(tmp_path.iterdir())


def test_blobs_that_another_layer_owns_may_be_missing_from_hdf5(tmp_path: Path) -> None:
    """Caffe writes a group for every layer, and in it only the blobs that are its own (Net::ToHDF5)."""
    path = tmp_path / "shared.caffemodel.h5"
    caffemodel.write_weights(path, {"a": [np.ones((2, 2), np.float32), np.zeros(2, np.float32)] * 2, "b": [np.ones(1)]})
    with h5py.File(path, "r+") as file:
        del file["data/a/0"], file["data/a/3"], file["data/b/0"]
    found = caffemodel.read_weights(path)
    assert [blob.shape for blob in found["a"]] == [(0,), (2,), (2, 2)]
    assert found["b"] == []
