"""Damaged and forged caches: each is refused, by the file's name and the way out."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from tiny_caches import build, examples, files, network

from keras_kd import SupervisionCache

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
    path = folder / "supervision.json"
    content = json.loads(path.read_text())
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
