"""The power goes at any moment of a study: no result stands for weights lost."""

import hashlib
import json

import pytest
from small_study import numbers, small
from watched_disk import Disk

from keras_kd.experiments import run
from keras_kd.experiments.studies.repetition import WEIGHTS
from keras_kd.experiments.studies.results import RECIPE, RESULTS

pytestmark = pytest.mark.one_backend


def recorded(image):
    """The cells of students whose line is whole, and which the disk holds."""
    lines = image.get(RESULTS, b"").split(b"\n")[:-1]
    records = [json.loads(line) for line in lines]
    return [r["cell"] for r in records if r["method"] != "teacher"]


def test_a_record_has_its_weights(tmp_path, monkeypatch):
    root, found = tmp_path / "study", []
    root.mkdir()

    def look(image):
        cells = recorded(image)
        for cell in cells:
            weights = image.get(f"{cell}/{WEIGHTS}", b"")
            seal = image.get(f"{cell}/{WEIGHTS}.sha256", b"").decode().strip()
            # What is certain, is as it was sealed; and the study knows its recipe.
            assert seal == hashlib.sha256(weights).hexdigest(), cell
            json.loads(image[RECIPE])
        snapshots = [name for name in image if name.endswith("/snapshot.npz")]
        assert all(image[name].startswith(b"PK") for name in snapshots)
        found.append((tuple(cells), tuple(snapshots)))

    study = small(methods="none,offline")
    with monkeypatch.context() as patch:
        Disk(root, tmp_path / "hoard", look, patch)
        records = run(study, root)
    assert len({cells for cells, _ in found}) == 3  # None, one and both of them.
    assert any(snapshots for _, snapshots in found)
    cells, snapshots = found[-1]
    assert (len(cells), snapshots) == (2, ())
    assert numbers(run(study, root)) == numbers(records)
