"""The paper's recipes, each end to end for one step, on made-up images."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_kd.experiments import RECIPES, run

PAPER = [name for name, recipe in RECIPES.items() if recipe.data[0].crop_and_flip]
ONE_STEP = {
    "data.n_train": "4",
    "data.n_test": "4",
    "batch_size": "4",
    "epochs": "1",
    "teacher_epochs": "1",
    "methods": "online",
    "temperatures": "4",
    "ntk_images": "0",
    "seeds": "1",
}


pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(
        keras.backend.backend() != "torch",
        reason="Recipes are plain data, the same everywhere; torch compiles nothing.",
    ),
]


@pytest.fixture(scope="module")
def tiny_imagenet(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "tiny-imagenet-200"
    pixels = np.random.default_rng(0)
    lines = []
    for wnid in ("n01", "n02", "n03", "n04"):
        for folder, file in (
            (root / "train" / wnid / "images", f"{wnid}_0.JPEG"),
            (root / "val" / "images", f"{wnid}.JPEG"),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            image = pixels.integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(image).save(folder / file)
        lines.append(f"{wnid}.JPEG\t{wnid}\t0\t0\t64\t64\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize("name", PAPER)
def test_one_step(name, tiny_imagenet, tmp_path):
    recipe = RECIPES[name].with_settings(ONE_STEP)
    folder = tiny_imagenet if recipe.data[0].name == "tiny_imagenet" else None
    with tfds.testing.mock_data(num_examples=8):
        teacher, student = run(recipe, tmp_path, data_folder=folder)
    assert teacher["student"] == str(recipe.teacher)
    assert student["student"] == str(recipe.students[0])
    assert teacher["parameters"] != student["parameters"]
    assert np.isfinite(student["history"]["loss"][0])
    assert 0 <= student["test_accuracy"] <= 1
