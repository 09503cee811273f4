"""Damaged and forged caches: each is refused, by the file's name and the way out."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from tiny_caches import build, examples, files, network, sparse_loss

from keras_kd import Distiller, SupervisionCache
from keras_kd.complexity import compare_teachers
from keras_kd.teachers.cache import build as building
from keras_kd.teachers.cache import stage_writer

LOGITS = "checkpoint-0000.output-0.logits.npy"
SHIFT = "checkpoint-0000.output-0.shift.npy"
TAP = "checkpoint-0000.tap-0.npy"
ARRAYS = [LOGITS, SHIFT, TAP, "keys.npy", "labels.npy"]
X, Y = examples()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    build(network(12), (X, Y), folder, dtype="float16", taps=["hidden"])
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "cache")


def refused(folder, name, *reasons):
    """By one message, before a number is read."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        SupervisionCache(folder).verify()
    message = str(caught.value)
    for part in (name, "SupervisionCache.build", *reasons):
        assert part in message, message
    assert len(message) < 700


def flipped(content):
    return content[:-3] + bytes([content[-3] ^ 16]) + content[-2:]


DAMAGES = {
    "flipped": (flipped, "was altered"),
    "zeroed": (lambda c: c[:-32] + bytes(32), "was altered"),
    "truncated": (lambda c: c[:-5], "was truncated"),
    "longer": (lambda c: c + b"0", "was altered"),
    "empty": (lambda c: b"", "was truncated"),
    "missing": (None, "is missing"),
}


@pytest.mark.damage
@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_arrays(folder, name, damage):
    change, reason = DAMAGES[damage]
    path = folder / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    refused(folder, str(path), reason)


def edited(folder, change):
    """By somebody who leaves the seal out, as the first releases do."""
    path = folder / "supervision.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    path.write_text(json.dumps(content))


def renamed(content, name):
    content["files"][name] = content["files"].pop(LOGITS)


MANIFESTS = {
    "dtype": lambda c: c["packing"].update(dtype="float32"),
    "top_k": lambda c: c["packing"].update(top_k=2),
    "more examples": lambda c: c.update(n=10**11),
    "no examples": lambda c: c.update(n=0),
    "fewer examples": lambda c: c.update(n=3),
    "negative": lambda c: c.update(n=-1),
    "huge logits": lambda c: c["spec"].update(logits=[[10**12]]),
    "huge taps": lambda c: c["spec"]["taps"].update(hidden=[10**9, 10**9]),
    "other tap": lambda c: c["spec"].update(taps={}),
    "no labels": lambda c: c.update(labels=None),
    "stage index": lambda c: c["stages"][0].update(index=1),
    "no stages": lambda c: c.update(stages=[]),
    "no files": lambda c: c.update(files={}),
    "parent": lambda c: renamed(c, "../secret.npy"),
    "absolute": lambda c: renamed(c, "/etc/passwd"),
    "device": lambda c: renamed(c, "/dev/zero"),
    "size": lambda c: c["files"][TAP].update(size=7),
    "text size": lambda c: c["files"][TAP].update(size="7"),
    "no size": lambda c: c["files"][TAP].pop("size"),
    "files list": lambda c: c.update(files=[TAP]),
    "stage": lambda c: c["stages"][0].update(extra=1),
    "missing entry": lambda c: c.pop("spec"),
    "text": lambda c: c.update(n="many"),
    "outputs": lambda c: c["spec"].update(logits=3),
    "key bits": lambda c: c.update(key_bits=16),
}


@pytest.mark.attack
@pytest.mark.parametrize("change", MANIFESTS)
def test_forged_manifests(folder, change):
    edited(folder, MANIFESTS[change])
    refused(folder, str(folder))


TEXTS = {
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "NaN": '{"format": "keras_kd.supervision", "version": 1, "n": NaN}',
    "infinite": '{"format": "keras_kd.supervision", "version": 1, "n": 1e999}',
    "twice": '{"format": "keras_kd.supervision", "version": 1, "n": 1, "n": 2}',
    "empty": "",
    "list": "[]",
    "another version": '{"format": "keras_kd.supervision", "version": 99}',
}


@pytest.mark.attack
@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_are_no_manifest(folder, text):
    path = folder / "supervision.json"
    path.write_text(TEXTS[text])
    refused(folder, str(path), "cannot be read")


# Nothing but the seal tells that these were not written so.
EDITS = {
    "dtype": ('"dtype": "float16"', '"dtype": "float32"'),
    "step": ('"step": 0', '"step": 5'),
    "views": ('"views": null', '"views": 2'),
    "outputs": ('"teacher_outputs": "logits"', '"teacher_outputs": "probabilities"'),
}


@pytest.mark.attack
@pytest.mark.parametrize("edit", EDITS)
def test_edited_manifests(folder, edit):
    path = folder / "supervision.json"
    before, after = EDITS[edit]
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    refused(folder, str(path), "cannot be read: it was altered")


@pytest.mark.damage
@pytest.mark.parametrize("name", [LOGITS, SHIFT, TAP, "labels.npy"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed"])
def test_damages_are_noticed_in_use(folder, name, damage):
    path, (change, reason) = folder / name, DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    cache = SupervisionCache(folder)

    def use():
        rows = cache.rows(X[::-1])
        return cache.labels(rows) if name == "labels.npy" else cache.look_up(rows, 0)

    # Both times: it is not forgotten.
    for _ in range(2):
        with pytest.raises(ValueError, match=reason) as caught:
            use()
        for part in (str(path), "SupervisionCache.build"):
            assert part in str(caught.value)


@pytest.mark.damage
def test_damages_end_training_and_comparing(folder):
    path = folder / LOGITS
    path.write_bytes(flipped(path.read_bytes()))
    cache, student = SupervisionCache(folder), network()
    distiller = Distiller(cache, student)
    distiller.compile("sgd", sparse_loss())
    before = student.get_weights()
    for use in (
        lambda: distiller.fit(X, Y, batch_size=44, verbose=0),
        lambda: compare_teachers(student, {"cache": cache}, X, Y),
    ):
        with pytest.raises(ValueError, match=f"{re.escape(LOGITS)} was altered"):
            use()
    for ours, theirs in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_only_what_is_read_is_compared(tmp_path, monkeypatch):
    """Four examples a block, the second of which is damaged."""
    monkeypatch.setattr(building, "BLOCK_BYTES", 4 * 4 * 4)
    expected = build(network(12), X, tmp_path).predict(X)
    path = tmp_path / LOGITS
    content = bytearray(path.read_bytes())
    content[-44 * 16 + 5 * 16] ^= 1
    path.write_bytes(content)
    cache = SupervisionCache(tmp_path)
    for rows in (slice(4), slice(8, 44), [2, 9, 43, 2]):
        np.testing.assert_array_equal(cache.predict(X[rows]), expected[rows])
    with pytest.raises(ValueError, match="altered: examples 4 to 7 are not what was"):
        cache.predict(X[[3, 7]])


@pytest.mark.damage
def test_checkpoints_in_each_others_place(tmp_path):
    """As whole as before, and of the same size."""
    teacher, other = network(12), tmp_path / "other"
    build(teacher, (X, Y), tmp_path / "cache")
    teacher.set_weights([-w for w in teacher.get_weights()])
    build(teacher, (X, Y), other)
    shutil.copy(other / LOGITS, tmp_path / "cache" / LOGITS)
    with pytest.raises(ValueError, match=f"{re.escape(LOGITS)} was altered"):
        SupervisionCache(tmp_path / "cache").predict(X)


@pytest.mark.damage
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checksums(folder, damage):
    path, (change, reason) = folder / "blocks.npy", DAMAGES[damage]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises((ValueError, FileNotFoundError), match=reason) as caught:
        SupervisionCache(folder)
    assert str(path) in str(caught.value)


def test_caches_without_checksums_are_read(folder):
    """As the first releases wrote them."""
    expected = SupervisionCache(folder).predict(X)

    def forget(content):
        del content["files"]["blocks.npy"], content["block_bytes"]

    edited(folder, forget)
    (folder / "blocks.npy").unlink()
    cache = SupervisionCache(folder)
    cache.verify()
    np.testing.assert_array_equal(cache.predict(X), expected)


def header(shape, dtype="<u8", rest=b""):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + rest


FORGED = {
    "a claim": header((10**11,)),
    "another claim": header((10**18, 10**18)),
    "objects": header((44,), "|O", b"cos\nsystem\n(S'true'\ntR."),
    "another type": header((44,), "<f8"),
    "a pickle": b"cos\nsystem\n(S'true'\ntR.",
    "a zip": b"PK\x03\x04",
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
}


@pytest.mark.attack
@pytest.mark.parametrize("name", [LOGITS, "keys.npy"])
@pytest.mark.parametrize("content", FORGED)
def test_forged_arrays(folder, name, content):
    """Of the size that the manifest says, and no more is allocated."""
    path = folder / name
    path.write_bytes(FORGED[content].ljust(path.stat().st_size, b"\0"))
    size = path.stat().st_size
    edited(folder, lambda c: c["files"][name].update(size=size))
    refused(folder, str(path), "was altered")


@pytest.mark.attack
@pytest.mark.parametrize("name", ARRAYS)
def test_links_in_a_finished_cache(folder, name, tmp_path):
    secret = (folder / name).rename(tmp_path / "secret.npy")
    (folder / name).symlink_to(secret)
    refused(folder, str(folder / name), "a link")


@pytest.mark.attack
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "supervision.json",
        "supervision.json.tmp",
        "building.json",
        "building.json.tmp",
        "keys.npy",
        "keys.npy.tmp",
        "labels.npy",
        LOGITS,
        "checkpoint-0000.done.npy",
        "checkpoint-0000.done.npy.tmp",
    ],
)
def test_planted_links_are_not_followed(name, overwrite, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / name).symlink_to(secret)
    with pytest.raises(ValueError, match=f"there is '{re.escape(name)}'"):
        build(network(12), (X, Y), folder, overwrite=overwrite)
    assert secret.read_text() == "mine"
    assert os.readlink(folder / name) == str(secret)


def test_a_cache_that_is_replaced_while_it_is_in_use(tmp_path):
    """What is open goes on saying what it said, of every stage."""
    cache = build(network(12), (X, Y), tmp_path)
    before = SupervisionCache(tmp_path).predict(X)
    build(network(12), (X[::-1], Y[::-1]), tmp_path, overwrite=True)
    np.testing.assert_array_equal(cache.predict(X), before)
    assert not np.array_equal(SupervisionCache(tmp_path).predict(X), before)


@pytest.mark.damage
@pytest.mark.parametrize("name", ["keys.npy", "labels.npy"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_begun_build_trusts_nothing(name, damage, tmp_path):
    """Its keys and labels are the data's, or it begins anew."""
    teacher = network(12)
    expected = files(build(teacher, (X, Y), tmp_path / "alone").folder)
    folder = shutil.copytree(tmp_path / "alone", tmp_path / "begun")
    (folder / "supervision.json").rename(folder / "building.json")
    change, _ = DAMAGES[damage]
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
    build(teacher, (X, Y), folder).verify()
    assert files(folder) == expected


def changed_first(content):
    return content[:-300] + bytes([content[-300] ^ 16]) + content[-299:]


BEGUN = {
    "a flipped bit": {LOGITS: flipped},
    "another": {SHIFT: changed_first},
    "zeros": {LOGITS: lambda c: c[:128] + bytes(len(c) - 128)},
    "sums": {"checkpoint-0000.done.npy": changed_first},
    "all done, it says": {
        "checkpoint-0000.done.npy": lambda c: c[:128] + b"\1" * (len(c) - 128)
    },
    "sums of another release": {
        "checkpoint-0000.done.npy": lambda c: header((44,), "|b1", b"\1" * 44)
    },
    "keys in another order": {
        "keys.npy": lambda c: c[:128] + c[136:144] + c[128:136] + c[144:]
    },
    "truncated": {TAP: lambda c: c[:-5]},
    "missing": {TAP: None},
    "no header": {LOGITS: lambda c: bytes(len(c))},
}


@pytest.mark.damage
@pytest.mark.parametrize("damage", BEGUN)
def test_a_begun_build_compares_what_is_done(damage, tmp_path, monkeypatch):
    """What was damaged gets no valid checksum: it is made again."""
    teacher, folder = network(12), tmp_path / "begun"

    def build_it(folder):
        return build(teacher, (X, Y), folder, "float16", taps=["hidden"])

    expected = files(build_it(tmp_path / "alone").folder)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage_writer.StageWriter, "check_finished", stop)
        with pytest.raises(KeyboardInterrupt):
            build_it(folder)
    for name, change in BEGUN[damage].items():
        path = folder / name
        if change is None:
            path.unlink()
        else:
            before = path.read_bytes()
            path.write_bytes(change(before))
            assert path.read_bytes() != before
    build_it(folder).verify()
    if "order" in damage:  # which is then that of the files
        cache = SupervisionCache(folder)
        whole = SupervisionCache(tmp_path / "alone")
        np.testing.assert_allclose(cache.predict(X), whole.predict(X), atol=1e-6)
    else:
        assert files(folder) == expected
