"""Building a cache: what it holds, and what it refuses."""

import errno
import os
import shutil
from collections import namedtuple

import keras
import numpy as np
import pytest
from tiny_caches import BATCH, CLASSES, build, examples, files, network

from keras_kd import SupervisionCache, TeacherTrajectory, TrajectoryRecorder
from keras_kd.datasets import Batches
from keras_kd.teachers.cache import files as cache_files

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def teacher():
    return network(12, "teacher")


def said(teacher, x):
    return teacher.predict(x, batch_size=BATCH, verbose=0)


def test_what_it_holds(teacher, tmp_path):
    x, y = examples()
    cache = build(teacher, (x, y), tmp_path, taps=["hidden"])
    assert (cache.n, len(cache), cache.views) == (44, 1, None)
    assert (cache.dtype, cache.top_k, cache.has_labels) == ("float32", None, True)
    assert cache.teacher_name == "teacher"
    assert cache.size == sum(path.stat().st_size for path in tmp_path.glob("*.npy"))
    np.testing.assert_allclose(cache.predict(x), said(teacher, x), atol=1e-6)
    _, taps = cache.look_up(cache.rows(x[::-1]), 0)
    hidden = keras.Model(teacher.inputs, teacher.get_layer("hidden").output)
    np.testing.assert_allclose(taps["hidden"], said(hidden, x)[::-1], atol=1e-6)
    np.testing.assert_array_equal(cache.labels(cache.rows(x)), y)
    cache.verify()


def test_duplicates_are_held_once(teacher, tmp_path):
    x, y = examples()
    twice = np.concatenate([x, x[::-1], x[:3]])
    cache = build(teacher, (twice, np.concatenate([y, y[::-1], y[:3]])), tmp_path)
    assert cache.n == 44
    np.testing.assert_allclose(cache.predict(twice), said(teacher, twice), atol=1e-6)
    np.testing.assert_array_equal(cache.labels(cache.rows(x)), y)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_checkpoint_of_a_trajectory(tmp_path, dtype):
    teacher = network(12)
    x, y = examples()
    teacher.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    recorder = TrajectoryRecorder(tmp_path / "teacher")
    teacher.fit(x, y, BATCH, 3, verbose=0, callbacks=[recorder])
    trajectory = TeacherTrajectory(tmp_path / "teacher")
    cache = build(trajectory, (x, y), tmp_path / "cache", dtype)
    assert [s.step for s in cache] == [c.step for c in trajectory] == [6, 12, 18]
    assert [s.epoch for s in cache] == [1, 2, 3]
    assert [s.metrics for s in cache] == [c.metrics for c in trajectory]
    assert cache.total_steps == trajectory.total_steps
    for i in range(3):
        logits = said(trajectory.load(i), x)
        tolerance = 1e-6 if dtype == "float32" else 5e-4 * np.ptp(logits) + 1e-6
        np.testing.assert_allclose(cache.predict(x, i), logits, 0, tolerance)
        accuracy = np.mean(logits.argmax(axis=1) == y)
        assert cache[i].accuracy == pytest.approx(accuracy)
    cache.check_teacher(trajectory)
    cache.check_teacher(SupervisionCache(tmp_path / "cache"))


def test_probabilities_of_the_teacher_are_held_as_logits(tmp_path):
    teacher = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(CLASSES, activation="softmax")]
    )
    x, _ = examples()
    cache = build(teacher, x, tmp_path, teacher_outputs="probabilities")
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(cache.predict(x)))
    np.testing.assert_allclose(probabilities, said(teacher, x), atol=1e-6)


def test_built_again_it_is_the_same_and_untouched(teacher, tmp_path, monkeypatch):
    x, y = examples()
    build(teacher, (x, y), tmp_path)
    before = files(tmp_path)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    build(teacher, (x, y), tmp_path)
    assert files(tmp_path) == before
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times


# What is refused.


@pytest.mark.wrong_input
def test_another_cache_in_the_same_folder(teacher, tmp_path):
    x, y = examples()
    build(teacher, (x, y), tmp_path)
    before = files(tmp_path)
    keras.utils.set_random_seed(1)  # whatever the teacher was made after
    other = network(12)
    for what, arguments, kwargs in (
        ("teacher", (other, (x, y)), {}),
        ("data", (teacher, (x[:-1], y[:-1])), {}),
        ("data", (teacher, (x + 1, y)), {}),
        ("dtype", (teacher, (x, y)), {"dtype": "float16"}),
        ("top_k", (teacher, (x, y)), {"top_k": 2}),
        ("taps", (teacher, (x, y)), {"taps": ["hidden"]}),
        ("labels", (teacher, x), {}),
        ("labels", (teacher, (x, (y + 1) % 3)), {}),
        ("teacher, data", (other, (x[:5], y[:5])), {}),
    ):
        with pytest.raises(ValueError, match=f"holds one of another {what}. Choose"):
            build(*arguments, tmp_path, **kwargs)
        assert files(tmp_path) == before


def test_another_cache_is_replaced_on_demand(teacher, tmp_path):
    x, y = examples()
    other = network(12)
    expected = files(build(other, (x, y), tmp_path / "alone").folder)
    folder = tmp_path / "cache"
    build(teacher, (x[:-1], y[:-1]), folder)
    assert files(build(other, (x, y), folder, overwrite=True).folder) == expected
    # The same is kept, and one that cannot be read is as good as none.
    times = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    build(other, (x, y), folder, overwrite=True)
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == times
    (folder / "supervision.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        build(other, (x, y), folder)
    assert files(build(other, (x, y), folder, overwrite=True).folder) == expected
    # So is one with a file that is damaged.
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    ):
        damage(folder / "checkpoint-0000.output-0.logits.npy")
        with pytest.raises((ValueError, FileNotFoundError), match="overwrite=True"):
            build(other, (x, y), folder).verify()
        assert files(build(other, (x, y), folder, overwrite=True).folder) == expected
    # What no cache wrote is never removed, and a wrong argument removes nothing.
    with pytest.raises(ValueError, match="`top_k` must be"):
        build(teacher, x, folder, overwrite=True, top_k=0)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="in which there is 'notes"):
        build(teacher, (x, y), folder, overwrite=True)
    assert files(folder) == {**expected, "notes.txt": b"mine"}


@pytest.mark.attack
def test_files_of_somebody_else(teacher, tmp_path):
    """Names that a cache uses too."""
    x, _ = examples()
    for name in ("labels.npy", "keys.npy", "checkpoint-0000.tap-0.npy"):
        path = tmp_path / name
        path.write_bytes(b"mine")
        with pytest.raises(ValueError, match=f"there is '{name}'.*overwrite=True"):
            build(teacher, x, tmp_path)
        assert files(tmp_path) == {name: b"mine"}
        path.unlink()
    build(teacher, x, tmp_path)
    # No cache has such a file, and nothing replaces it.
    notes = tmp_path / "checkpoint-0001.notes.npy"
    for make in (notes.mkdir, lambda: notes.write_bytes(b"mine")):
        make()
        for overwrite in (False, True):
            with pytest.raises(ValueError, match=r"there is 'checkpoint-0001\.notes"):
                build(teacher, x + 1, tmp_path, overwrite=overwrite)
        notes.rmdir() if notes.is_dir() else notes.unlink()
    SupervisionCache(tmp_path).verify()


def test_one_builder_at_a_time(teacher, tmp_path):
    x, _ = examples()
    other = network(12)

    class Building(keras.utils.PyDataset):
        """While the cache is being written, another build begins."""

        refusals = 0

        def __len__(self):
            return 1

        def __getitem__(self, index):
            if (tmp_path / "building.json").exists():
                with pytest.raises(BlockingIOError, match="is being built in"):
                    build(other, x, tmp_path, overwrite=True)
                self.refusals += 1
            return (x,)

    data = Building()
    cache = build(teacher, data, tmp_path, overwrite=True)
    assert data.refusals > 0
    cache.verify()
    cache.check_teacher(teacher)
    # It lets go of the folder.
    build(other, x, tmp_path, overwrite=True).check_teacher(other)


@pytest.mark.wrong_input
def test_data_that_never_ends(teacher, tmp_path):
    class Endless(keras.utils.PyDataset):
        @property
        def num_batches(self):
            return None

        def __getitem__(self, index):
            return (examples()[0],)

    with pytest.raises(ValueError, match=r"must end.*`PyDataset` without a length"):
        build(teacher, Endless(), tmp_path)


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1e6, "float16 cannot hold.*'hidden' gives values up to"),
        (1e-6, "float16 cannot hold.*'hidden' gives values up to"),
        (np.nan, "must be finite"),
        (np.inf, "must be finite"),
    ],
)
def test_taps_that_cannot_be_held(scale, message, tmp_path):
    x, _ = examples()
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Rescaling(scale, name="hidden"),
            keras.layers.Rescaling(0.0),
            keras.layers.Lambda(lambda t: keras.ops.where(t == 0, t, 0.0)),
        ]
    )
    with pytest.raises(ValueError, match=message):
        build(model, x, tmp_path, dtype="float16", taps=["hidden"])
    assert files(tmp_path) == {}
    if np.isfinite(scale):
        cache = build(model, x, tmp_path, taps=["hidden"])
        _, taps = cache.look_up(cache.rows(x), 0)
        np.testing.assert_allclose(taps["hidden"], x * scale, rtol=1e-6)


@pytest.mark.wrong_input
def test_arguments(teacher, tmp_path):
    x, _ = examples()
    for message, kwargs in (
        ("`dtype` must be one of .*Received: dtype='float64'", {"dtype": "float64"}),
        ("`top_k` must be .*Received: top_k=0", {"top_k": 0}),
        ("`top_k` must be at most .*Received: top_k=99", {"top_k": 99}),
        ("`taps` must be a list of .*taps='ab'", {"taps": "ab"}),
        ("`batch_size` must be .*Received: batch_size=0", {"batch_size": 0}),
        ("`teacher_outputs` must be one of", {"teacher_outputs": "labels"}),
        ("nowhere", {"taps": ["nowhere"]}),
        ("`views` needs data that has views", {"views": 2}),
        ("`views` must be .*Received: views=0", {"views": 0}),
    ):
        with pytest.raises(ValueError, match=message):
            build(teacher, x, tmp_path / "cache", **kwargs)
    for wrong in (keras.Sequential([keras.layers.Dense(2)]), "teacher", None):
        with pytest.raises(ValueError, match="`teacher` must be a built"):
            build(wrong, x, tmp_path / "cache")
    with pytest.raises(ValueError, match="`data` must hold examples"):
        build(teacher, x[:0], tmp_path / "cache")
    with pytest.raises(ValueError, match="ends after one pass"):
        build(teacher, iter([(x,)]), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.wrong_input
def test_a_folder_of_something_else(teacher, tmp_path):
    x, _ = examples()
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"in which there is 'thesis\.tex'"):
        build(teacher, x, tmp_path)
    assert files(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(ValueError, match=r"`folder` must be a folder.*a file"):
        build(teacher, x, tmp_path / "thesis.tex")


@pytest.mark.wrong_input
def test_a_teacher_that_is_not_finite(tmp_path):
    x, _ = examples()
    teacher = network()
    teacher.layers[0].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match="teacher's weights must be finite"):
        build(teacher, x, tmp_path / "cache")
    x[30] = np.inf  # not in the first batch
    linear = keras.Sequential([keras.Input((6,)), keras.layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="teacher's outputs must be finite"):
        build(linear, x, tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="no finished supervision cache"):
        SupervisionCache(tmp_path / "cache")


class Passing(keras.utils.PyDataset):
    """What a pass gives is chosen by its number."""

    def __init__(self, passes):
        super().__init__()
        self.passes, self.number = passes, 0

    def __len__(self):
        return 3

    def on_epoch_end(self):
        self.number += 1

    def __getitem__(self, i):
        chosen = self.passes[min(self.number, len(self.passes) - 1)]
        return (chosen[i * BATCH : (i + 1) * BATCH],)


@pytest.mark.wrong_input
def test_data_that_augments(teacher, tmp_path):
    x, y = examples(24)
    noisy = x.copy()
    noisy[13, 2] += 1e-3
    with pytest.raises(ValueError, match=r"same examples in every pass.*1 of 8.*augme"):
        build(teacher, Passing([x, noisy]), tmp_path / "cache")
    images = np.random.default_rng(0).normal(size=(24, 4, 4, 3))
    batches = Batches(images, y, augment=keras.layers.RandomFlip("horizontal"))
    flat = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=r"augments its images anew.*views=8"):
        build(flat, batches, tmp_path / "images")
    for folder in tmp_path.iterdir():
        with pytest.raises(FileNotFoundError):
            SupervisionCache(folder)


@pytest.mark.wrong_input
def test_data_that_leaves_examples_out_in_a_later_pass(teacher, tmp_path):
    """Sampled with replacement, say: no example must be left without supervision."""
    x, _ = examples(24)
    again = np.concatenate([x[:20], x[:4]])
    with pytest.raises(ValueError, match=r"same examples in every pass.*4 of 24"):
        build(teacher, Passing([x, again]), tmp_path)
    with pytest.raises(FileNotFoundError):
        SupervisionCache(tmp_path)


# The disk.


def assert_invalid(folder):
    with pytest.raises(FileNotFoundError, match="no finished supervision cache"):
        SupervisionCache(folder)


def failure(call):
    try:
        call()
    except OSError as error:
        return error
    return None


def test_a_disk_that_is_too_small(teacher, tmp_path, monkeypatch):
    x, _ = examples()
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 500, 500)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OSError, match=r"too small.*are needed, and 0.0005 MB") as e:
            build(teacher, x, tmp_path / "cache")
    assert e.value.errno == errno.ENOSPC
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
def test_a_disk_that_fills_up_while_files_are_made(teacher, tmp_path, monkeypatch):
    x, _ = examples()
    full = 0
    for at in range(1, 10):
        folder, calls = tmp_path / f"{at}", []

        def fallocate(descriptor, offset, size, at=at, calls=calls):
            calls.append(size)
            if len(calls) == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", fallocate)
            error = failure(lambda f=folder: build(teacher, x, f, taps=["hidden"]))
        if error is None:
            break
        assert error.errno == errno.ENOSPC
        assert "too small for the supervision cache" in str(error)
        full += 1
        assert_invalid(folder)
        # Once there is room, the same call goes on.
        cache = build(teacher, x, folder, taps=["hidden"])
        np.testing.assert_allclose(cache.predict(x), said(teacher, x), atol=1e-6)
    assert full == 2  # logits and the tapped layer


def test_a_disk_that_fills_up_at_a_small_file(teacher, tmp_path, monkeypatch):
    x, y = examples()
    save, full = np.save, 0
    for at in range(1, 10):
        folder, calls = tmp_path / f"{at}", []

        def saved(file, array, at=at, calls=calls):
            calls.append(file)
            if len(calls) == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            save(file, array)

        with monkeypatch.context() as patch:
            patch.setattr(cache_files.np, "save", saved)
            error = failure(lambda f=folder: build(teacher, (x, y), f))
        if error is None:
            break
        assert error.errno == errno.ENOSPC
        assert "too small for the supervision cache" in str(error)
        full += 1
        assert_invalid(folder)
        build(teacher, (x, y), folder).verify()
    assert full == 4  # keys, labels, what has been done, and the checksums


# A cache that is not what it was.


@pytest.mark.damage
def test_a_file_that_is_not_what_it_was(teacher, tmp_path):
    x, y = examples()
    cache = build(teacher, (x, y), tmp_path / "whole")
    names = [path.name for path in cache.folder.glob("*.npy")]
    assert len(names) == 4
    for name in names:
        folder = shutil.copytree(cache.folder, tmp_path / name)
        path = folder / name
        content = path.read_bytes()

        path.write_bytes(content[:-1])
        with pytest.raises(ValueError, match=f"{name} was truncated"):
            SupervisionCache(folder)
        path.write_bytes(content + b"\0")
        with pytest.raises(ValueError, match=f"{name} was altered"):
            SupervisionCache(folder)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
            SupervisionCache(folder)

        altered = bytearray(content)
        altered[-1] ^= 1
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=f"{name} was altered: "):
            SupervisionCache(folder).verify()
        path.write_bytes(content)
        SupervisionCache(folder).verify()


@pytest.mark.attack
def test_a_manifest_that_is_none(teacher, tmp_path):
    x, _ = examples()
    build(teacher, x, tmp_path)
    path = tmp_path / "supervision.json"
    content = path.read_text()
    for broken, message in (
        (content[:-20], "not valid JSON"),
        ("[]", "does not say 'format'"),
        (content.replace('"version": 1', '"version": 99'), "has version 99"),
        (content.replace('"stages"', '"phases"'), "cannot be read: it was altered"),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=message):
            SupervisionCache(tmp_path)
    path.unlink()
    assert_invalid(tmp_path)
    assert_invalid(tmp_path / "nowhere")
