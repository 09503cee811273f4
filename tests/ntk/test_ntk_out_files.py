"""Files that kernels are written to: damaged, of something else, held, too large."""

import errno
import json
import os
import warnings

import keras
import numpy as np
import pytest
from jacobian_oracle import jacobian, kernel
from keras import layers
from ntk_small import error, numbers, small

from keras_kd.ntk import block_record, empirical_ntk
from keras_kd.ntk import kernel as kernel_file

pytestmark = pytest.mark.one_backend

N, BLOCK = 9, 3
HEAD = 128  # bytes before the numbers


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(kernel_file, "block_size", lambda *_: BLOCK)


@pytest.fixture
def computed(monkeypatch):
    """The blocks that are computed, one entry each."""
    found, block_of = [], kernel_file.block_of

    def counted(*args):
        found.append(None)
        return block_of(*args)

    monkeypatch.setattr(kernel_file, "block_of", counted)
    return found


@pytest.fixture
def begun(tmp_path):
    """A model, its inputs, the right kernel, and a file that holds it."""
    model, x = small(), numbers(N)
    path = tmp_path / "kernel.npy"
    empirical_ntk(model, x, out=path)
    right = kernel(jacobian(model, x))
    assert error(np.load(path), right) < 1e-6
    return model, x, right, path


def record_of(path):
    return path.with_name(path.name + ".progress.json")


# --- damages -------------------------------------------------------------------------


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def zero(path, start, stop):
    data = bytearray(path.read_bytes())
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)


def swap(path):
    array = np.load(path)
    array[:3], array[3:6] = array[3:6].copy(), array[:3].copy()
    np.save(path, array)


def edit(path, change):
    record = json.loads(record_of(path).read_text())
    change(record)
    record_of(path).write_text(json.dumps(record))


def number_at(i, j):
    return HEAD + 4 * (N * i + j)


DAMAGES = {
    "first bit": lambda p: flip(p, number_at(0, 0)),
    "middle bit": lambda p: flip(p, number_at(4, 4) + 2),
    "last bit": lambda p: flip(p, number_at(8, 8) + 3),
    "bit below the diagonal": lambda p: flip(p, number_at(7, 1)),
    "bit above the diagonal": lambda p: flip(p, number_at(1, 7)),
    "zeroed number": lambda p: zero(p, number_at(2, 5), number_at(2, 6)),
    "zeroed row": lambda p: zero(p, number_at(4, 0), number_at(5, 0)),
    "zeroed numbers": lambda p: zero(p, HEAD, HEAD + 4 * N * N),
    "zeroed file": lambda p: zero(p, 0, p.stat().st_size),
    "cut by a byte": lambda p: os.truncate(p, p.stat().st_size - 1),
    "cut in the middle": lambda p: os.truncate(p, number_at(5, 0)),
    "cut to the head": lambda p: os.truncate(p, HEAD),
    "cut in the head": lambda p: os.truncate(p, 60),
    "emptied": lambda p: os.truncate(p, 0),
    "removed": lambda p: p.unlink(),
    "rows exchanged": swap,
    "magic bit": lambda p: flip(p, 1),
    "version": lambda p: flip(p, 6),
    "bit of the dtype": lambda p: flip(p, p.read_bytes().index(b"f4")),
    "bit of the shape": lambda p: flip(p, p.read_bytes().index(b"(9") + 1),
    "another order": lambda p: np.save(p, np.asfortranarray(np.load(p).T * 2)),
    "another dtype": lambda p: np.save(p, np.load(p).astype("float64")),
    "another shape": lambda p: np.save(p, np.load(p)[:, :-1]),
    "a text": lambda p: p.write_text("no kernel"),
    "record removed": lambda p: record_of(p).unlink(),
    "record emptied": lambda p: record_of(p).write_text(""),
    "record cut": lambda p: os.truncate(record_of(p), 100),
    "record of something else": lambda p: record_of(p).write_text("[]"),
    "record without numbers": lambda p: record_of(p).write_text('{"origin": {}}'),
    "record nested": lambda p: record_of(p).write_text("[" * 100_000),
    "record in bytes": lambda p: record_of(p).write_bytes(b"\xff\xfe\x00"),
    "block of 0": lambda p: edit(p, lambda r: r.update(block=0)),
    "block of 4": lambda p: edit(p, lambda r: r.update(block=4)),
    "block beyond": lambda p: edit(p, lambda r: r.update(block=10**12)),
    "blocks elsewhere": lambda p: edit(p, lambda r: r["blocks"].append([99, 0, "0"])),
    "blocks beyond": lambda p: edit(
        p, lambda r: r["blocks"].append([900, 0, "0" * 64])
    ),
    "another checksum": lambda p: edit(
        p, lambda r: r["blocks"][0].__setitem__(2, "0" * 64)
    ),
    "a diagonal of text": lambda p: edit(p, lambda r: r["origin"].update(diagonal="x")),
}


@pytest.mark.damage
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_is_taken_for_a_kernel(damage, begun):
    model, x, right, path = begun
    DAMAGES[damage](path)
    with warnings.catch_warnings():
        # That blocks are computed again is asked for below.
        warnings.simplefilter("ignore")
        try:
            found = empirical_ntk(model, x, out=path)
        except ValueError as error_:
            refused = str(error_)
        else:
            refused = ""
    if refused:
        assert refused.startswith("`out`")
        assert path.name in refused
        return
    assert error(found, right) < 1e-6
    assert error(np.load(path), right) < 1e-6


def test_only_damaged_blocks_are_computed_again(begun, computed):
    model, x, right, path = begun
    flip(path, number_at(7, 1))
    with pytest.warns(UserWarning, match=r"1 of 6 blocks .*kernel\.npy"):
        found = empirical_ntk(model, x, out=path)
    assert len(computed) == 1
    assert error(found, right) < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        empirical_ntk(model, x, out=path)
    assert len(computed) == 1


# --- something else ------------------------------------------------------------------


def with_activation(activation):
    model = small()
    other = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation=activation, name="hidden"),
            layers.Dense(3, name="logits"),
        ]
    )
    other.set_weights(model.get_weights())
    return other


def residual():
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    hidden = layers.Add()([hidden, hidden])
    model = keras.Model(inputs, layers.Dense(3, name="logits")(hidden))
    model.set_weights(small().get_weights())
    return model


def frozen():
    model = small()
    model.layers[0].trainable = False
    return model


CHANGES = {
    "weights": lambda: ("weights", small(seed=1), numbers(N), {}),
    "relu": lambda: ("model", with_activation("relu"), numbers(N), {}),
    "sigmoid": lambda: ("model", with_activation("sigmoid"), numbers(N), {}),
    "architecture": lambda: ("architecture", residual(), numbers(N), {}),
    "one input": lambda: (
        "examples",
        small(),
        np.where(np.eye(N, 4, dtype=bool)[::-1] & (np.arange(4) == 3), 0, numbers(N)),
        {},
    ),
    "order": lambda: ("examples", small(), numbers(N)[::-1].copy(), {}),
    "two sides": lambda: ("examples", small(), numbers(N), {"x2": numbers(N)}),
    "an output": lambda: ("options", small(), numbers(N), {"outputs": 1}),
    "fewer weights": lambda: ("options", frozen(), numbers(N), {}),
    "precision": lambda: (
        "options",
        small(),
        numbers(N),
        {"accumulate": "float64"},
    ),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("name", CHANGES)
def test_what_was_begun_with_something_else_is_refused(name, begun):
    *_, path = begun
    what, model, x, options = CHANGES[name]()
    before = path.read_bytes(), record_of(path).read_bytes()
    with pytest.raises(ValueError, match=f"`out` was begun with another {what}"):
        empirical_ntk(model, x, out=path, **options)
    assert before == (path.read_bytes(), record_of(path).read_bytes())


def test_another_version_is_refused(begun, monkeypatch):
    model, x, _, path = begun
    monkeypatch.setattr(block_record, "__version__", "99.0")
    with pytest.raises(ValueError, match="another version"):
        empirical_ntk(model, x, out=path)


def test_the_same_model_made_again_goes_on(begun, computed):
    _, x, right, path = begun
    assert error(empirical_ntk(small(), x, out=str(path)), right) < 1e-6
    assert not computed


# --- arrays --------------------------------------------------------------------------


def test_a_map_that_a_script_makes_anew_is_filled_anew(tmp_path):
    model, x = small(), numbers(N)
    right = kernel(jacobian(model, x))
    path = tmp_path / "kernel.npy"
    for again in (False, True):
        out = np.lib.format.open_memmap(path, "w+", "float32", (N, N))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            empirical_ntk(model, x, out=out)
        said = [str(w.message) for w in caught if "made anew" in str(w.message)]
        assert len(said) == again
        assert error(np.load(path), right) < 1e-6


def test_a_map_goes_on_where_it_was(tmp_path, computed):
    model, x = small(), numbers(N)
    path = tmp_path / "kernel.npy"
    out = np.lib.format.open_memmap(path, "w+", "float32", (N, N))
    empirical_ntk(model, x, out=out)
    assert len(computed) == 6
    found = empirical_ntk(model, x, out=np.lib.format.open_memmap(path, "r+"))
    assert len(computed) == 6
    assert error(found, kernel(jacobian(model, x))) < 1e-6


@pytest.mark.parametrize("raw", [False, True])
def test_slices_of_a_stacked_map(raw, tmp_path):
    path = tmp_path / "kernels"
    if raw:
        big = np.memmap(path, "float32", "w+", shape=(3, N, N))
    else:
        big = np.lib.format.open_memmap(path, "w+", "float32", (3, N, N))
    models = [small(seed=seed) for seed in range(3)]
    x = numbers(N)
    for _ in range(2):
        for model, out in zip(models, big, strict=True):
            empirical_ntk(model, x, out=out)
        for model, found in zip(models, big, strict=True):
            assert error(np.array(found), kernel(jacobian(model, x))) < 1e-6
        big[:] = 0
    assert os.listdir(tmp_path) == ["kernels"]


@pytest.mark.parametrize("mode", ["c", "r"])
def test_maps_that_do_not_reach_the_file(mode, tmp_path):
    model, x = small(), numbers(N)
    np.save(tmp_path / "kernel.npy", np.zeros((N, N), "float32"))
    out = np.lib.format.open_memmap(tmp_path / "kernel.npy", mode)
    if mode == "r":
        with pytest.raises(ValueError, match=r"`out` .*read-only"):
            empirical_ntk(model, x, out=out)
    else:
        empirical_ntk(model, x, out=out)
        assert error(np.array(out), kernel(jacobian(model, x))) < 1e-6
    assert os.listdir(tmp_path) == ["kernel.npy"]


# --- places --------------------------------------------------------------------------


@pytest.mark.wrong_input
def test_places_that_nothing_can_be_written_to(tmp_path, monkeypatch):
    model, x = small(), numbers(N)
    text = tmp_path / "notes.txt"
    text.write_text("mine")
    array = tmp_path / "mine.npy"
    np.save(array, np.ones((N, N), "float32"))
    for out, match in (
        (tmp_path, "a folder"),
        (tmp_path / "nowhere" / "kernel.npy", "folder that is there"),
        (text, "without a record"),
        (array, "without a record"),
        (os.devnull, "no plain file"),
        (3, "type int"),
        ([1.0], "type list"),
    ):
        with pytest.raises(ValueError, match=f"`out` must be .*{match}"):
            empirical_ntk(model, x, out=out)
    assert text.read_text() == "mine"
    assert np.all(np.load(array) == 1)
    # Root may write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="read-only"):
        empirical_ntk(model, x, out=tmp_path / "kernel.npy")
    assert sorted(os.listdir(tmp_path)) == ["mine.npy", "notes.txt"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
@pytest.mark.parametrize("given", ["path", "map", "cut"])
def test_a_full_disk_is_named_before_any_work(given, begun, monkeypatch, computed):
    model, x, right, path = begun

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = path
    if given == "cut":
        os.truncate(path, HEAD)
    else:
        path.unlink()
        record_of(path).unlink()
    if given == "map":
        out = np.lib.format.open_memmap(path, "w+", "float32", (N, N))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match=r"disk of .* is too small") as caught:
            empirical_ntk(model, x, out=out)
    assert caught.value.errno == errno.ENOSPC
    assert not computed
    # Once there is room, the same call goes on.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert error(empirical_ntk(model, x, out=out), right) < 1e-6


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
def test_a_file_that_may_not_grow_is_named(tmp_path, computed):
    resource = pytest.importorskip("resource")
    model, x = small(), numbers(100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011
            empirical_ntk(model, x, out=tmp_path / "kernel.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert not computed
    assert (tmp_path / "kernel.npy").stat().st_size == 0


def test_one_writer_a_file(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    model, x = small(), numbers(N)
    path = tmp_path / "kernel.npy"
    block_of, told = kernel_file.block_of, []

    def meanwhile(*args):
        # What another process would do while this one is at work.
        monkeypatch.setattr(kernel_file, "block_of", block_of)
        with pytest.raises(BlockingIOError, match=r"Another process .*kernel\.npy"):
            empirical_ntk(model, x, out=path)
        told.append(None)
        return block_of(*args)

    monkeypatch.setattr(kernel_file, "block_of", meanwhile)
    found = empirical_ntk(model, x, out=path)
    assert told
    assert error(found, kernel(jacobian(model, x))) < 1e-6
    # It is free again, also after a failure.
    empirical_ntk(model, x, out=path)
