"""What of a recipe is still to be trained, as far as is known by now."""

from collections.abc import Sequence
from typing import Any

from keras_kd.experiments.studies.cell import Cell
from keras_kd.experiments.studies.recipe import Recipe

Records = Sequence[dict[str, Any]]


def rates_left(
    recipe: Recipe, records: Records, setting: Cell, seed: int
) -> list[float]:
    """The rates with which a seed is still to be trained, as far as is known by now."""
    if seed == 0:
        return recipe.rates.left(records, setting.setting)
    rate = recipe.rates.chosen(records, setting.setting)
    done = any(
        r["setting"] == setting.setting
        and r["seed"] == seed
        and r["learning_rate"] == rate
        for r in records
    )
    return [] if rate is None or done else [rate]


def students_done(recipe: Recipe, records: Records) -> tuple[int, int]:
    """How many students are trained, and how many there will be at the end."""
    done = sum(r["method"] != "teacher" for r in records)
    left = 0
    for data in recipe.data:
        for student in recipe.students:
            for setting in recipe.settings(data, student):
                own = [r for r in records if r["setting"] == setting.setting]
                if recipe.rates.chosen(own, setting.setting) is None:
                    # The other seeds will need one rate each.
                    left += len(recipe.rates.left(own, setting.setting))
                    left += recipe.seeds - 1
                    continue
                for seed in range(recipe.seeds):
                    left += len(rates_left(recipe, own, setting, seed))
    return done, done + left
