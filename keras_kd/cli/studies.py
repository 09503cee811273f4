"""`keras-kd recipes`, `run`, `report` and `compare-studies`: whole studies."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from keras_kd.cli.display import console
from keras_kd.cli.options import DataFolder
from keras_kd.cli.study_display import StudyDisplay
from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.recipes import RECIPES
from keras_kd.experiments.studies.settings import written


def _recipe(name: str) -> str:
    if name not in RECIPES:
        raise typer.BadParameter(
            f"'{name}' is none; `keras-kd recipes` lists {len(RECIPES)}"
        )
    return name


def _recipe_or_none(name: str | None) -> str | None:
    return None if name is None else _recipe(name)


def recipes(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Show the settings of this one, and which are the paper's.",
            callback=_recipe_or_none,
        ),
    ] = None,
) -> None:
    """List the studies that `run` knows, or the settings of one."""
    if recipe is not None:
        console.print(_settings(RECIPES[recipe]))
        return
    table = Table()
    # A name is to be pasted: never cut.
    table.add_column("recipe", overflow="fold")
    table.add_column("students", justify="right")
    table.add_column("what it is for")
    for one in RECIPES.values():
        table.add_row(one.name, str(len(one)), one.about)
    console.print(table)


def _settings(recipe: Recipe) -> Table:
    """A line for each setting: its value, and whose it is."""
    table = Table(title=recipe.about)
    for column in ("setting", "value", "whose"):
        table.add_column(column, overflow="fold")
    values = dataclasses.asdict(recipe)
    for name, origin in recipe.origins.items():
        _, of_data, field = name.rpartition("data.")
        holders = values["data"] if of_data else [values]
        # One for all data, or for some another.
        texts = dict.fromkeys(written(holder[field]) for holder in holders)
        table.add_row(name, "; ".join(texts), origin)
    return table


def run(
    recipe: Annotated[
        str, typer.Argument(help="A name of `keras-kd recipes`.", callback=_recipe)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder; by default runs/RECIPE.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Repetitions, in place of the recipe's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value of a field: epochs=5, students=lenet5:2,lenet5:4, "
            "data.n_train=2000; give it several times.",
        ),
    ] = None,
    data_folder: DataFolder = None,
) -> None:
    """Run a study: teachers, then every student of its grid.

    A run that was stopped goes on where it was: give the same command again.
    """
    changes = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set wants KEY=VALUE, not '{setting}'")
        changes[key.strip()] = value.strip()
    if seeds is not None:
        changes["seeds"] = str(seeds)
    chosen = RECIPES[recipe].with_settings(changes)
    folder = Path("runs") / recipe if out is None else out
    from keras_kd.experiments.reports.report import Report
    from keras_kd.experiments.studies import runner

    try:
        with StudyDisplay() as display:
            runner.run(chosen, folder, data_folder=data_folder, watch=display)
    except KeyboardInterrupt:
        console.print(f"stopped; the same command goes on where it was, in {folder}")
        raise
    for table in Report(folder).terminal():
        console.print(table)
    console.print(f"results: {folder}; figures: keras-kd report {folder}")


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of `run`.", metavar="RUN...")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default RUN/report.")
    ] = None,
) -> None:
    """Table and figures of a study: in the terminal, as Markdown, as PNG."""
    from keras_kd.experiments.reports.report import Report

    reports = {folder: Report(folder) for folder in runs}
    if out is not None and len({one.name for one in reports.values()}) < len(reports):
        raise typer.BadParameter(
            "--out takes one report of a recipe; two of these are of the same"
        )
    for folder, one in reports.items():
        for table in one.terminal():
            console.print(table)
        for file in one.write(folder / "report" if out is None else out):
            console.print(f"written: {file}")


def compare_studies(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of `run`.", metavar="RUN...")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("."),
) -> None:
    """When online distillation wins: its gains over offline in several studies."""
    from keras_kd.experiments.reports.overview import Overview

    overview = Overview(runs)
    console.print(overview.terminal())
    for file in overview.write(out):
        console.print(f"written: {file}")
