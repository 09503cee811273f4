"""Runs a recipe: each cell once, resumed where it stopped."""

import contextlib
from pathlib import Path
from typing import Any

from keras_kd.arguments import check_folder, check_instance
from keras_kd.backend import enable_op_determinism
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.folder import alone, check_backend, keep_recipe
from keras_kd.experiments.studies.images import Images
from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.remaining import students_done
from keras_kd.experiments.studies.repetition import Repetition
from keras_kd.experiments.studies.watch import Watch
from keras_kd.files import make_folder


def run(
    recipe: Recipe,
    folder: str | Path,
    *,
    data_folder: str | Path | None = None,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Runs all cells of a recipe that `folder` does not have yet.

    A run that was stopped, at whatever moment, goes on at the epoch where it was, and
    gives the same numbers on the same machine: orders and augmentation are functions of
    seed and epoch, operations are deterministic, and all else is in one file.

    Args:
        recipe: the study.
        folder: for `results.jsonl`, teachers and weights: new, or one of an earlier run
            of the same recipe, which may have had fewer seeds. Of that run,
            `recipe.json` and `results.jsonl` are enough: what else is needed is trained
            again.
        data_folder: where the data set's files are, if not in a usual place.
        watch: is told of the progress.

    Returns:
        The records of all cells; `studies.results` reads them again.

    Raises:
        ValueError: a file in `folder` is damaged, and which; `folder` holds another
            recipe, and which field differs, or results of another backend, whose
            numbers differ; or there are not that many images.
        BlockingIOError: another process runs it there.
    """
    check_instance("recipe", recipe, Recipe, "a `Recipe`, as one of `RECIPES`")
    folder = check_folder("folder", folder)
    file = folder / results.RESULTS
    with contextlib.ExitStack() as stack:
        is_new = not folder.exists()
        if not is_new:
            stack.enter_context(alone(folder))
        # Before anything is written: data may be missing, or smaller than is asked for.
        check_backend(results.read_study(folder), folder)
        loaded = [Images.load(data, data_folder) for data in recipe.data]
        if is_new:
            make_folder(folder)
            stack.enter_context(alone(folder))
        keep_recipe(recipe, folder / results.RECIPE)
        records = results.read_study(folder)
        enable_op_determinism()
        if watch is not None:
            watch.finished(*students_done(recipe, records), None)
        for data, images in zip(recipe.data, loaded, strict=True):
            for seed in range(recipe.seeds):
                place = folder / str(data) / f"seed-{seed}"
                one = Repetition(
                    recipe, data, images, seed, place, records, file, watch
                )
                one.teachers.recall()
                for student in recipe.students:
                    one.run(student)
    return records
