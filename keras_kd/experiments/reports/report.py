"""The report of a study: its table and its figures."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from keras_kd.arguments import check_path
from keras_kd.experiments.mean_and_error import (
    mean_and_standard_error,
    percent,
    with_error,
)
from keras_kd.experiments.reports import comparison, figures
from keras_kd.experiments.studies import results
from keras_kd.experiments.studies.folder import read_held
from keras_kd.experiments.studies.methods import METHODS, title
from keras_kd.experiments.studies.rates import Rates
from keras_kd.experiments.studies.recipe import Recipe
from keras_kd.experiments.studies.recipes import RECIPES
from keras_kd.experiments.studies.results import grouped
from keras_kd.experiments.studies.settings import written
from keras_kd.files import filling

_COLUMNS = (
    "T is the temperature, rate the learning rate. Fidelity is the percentage of test "
    "images of which the student says what its teacher in its final state says; beside "
    "labels alone, what the recipe's teacher says; an assistant, or the student's own "
    "kind, is such a teacher. NTK similarity is the cosine of the student's kernel and "
    "the recipe's teacher's, on training images."
)
_PAIRS = (
    "Test accuracy of the one minus the other's, in points, mean ± standard error over "
    "the seeds, which both share. It wins or loses where Student's 95 % interval "
    "leaves out 0."
)
Rows = list[tuple[str, list[str]]]


class Report:
    """What came of one study.

    Args:
        folder: of `keras_kd.experiments.run`.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: a file is damaged, and which.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = check_path("folder", folder)
        records = results.read_study(self.folder)
        if not records:
            raise FileNotFoundError(
                f"No results in '{self.folder}': `keras-kd run` writes them there."
            )
        self.name = records[0]["recipe"]
        self.teachers = [r for r in records if r["method"] == "teacher"]
        students = [r for r in records if r["method"] != "teacher"]
        file = self.folder / results.RECIPE
        self.recipe = read_held(file) if file.exists() else {}
        first = {r["learning_rate"] for r in students if r["seed"] == 0}
        self.rates = Rates(
            self.recipe.get("learning_rates", sorted(first)),
            self.recipe.get("higher_learning_rates", ()),
        )
        places = list(dict.fromkeys((r["data"], r["student"]) for r in students))
        methods = list(METHODS)
        self.students = sorted(
            self.rates.of_chosen(students),
            key=lambda r: (
                places.index((r["data"], r["student"])),
                methods.index(r["method"]),
                r["temperature"] or 0,
                r["spacing"],
                r["seed"],
            ),
        )
        """Records at the chosen learning rates, in the order of the tables."""
        finished = {r["setting"] for r in self.students}
        settings = dict.fromkeys(r["setting"] for r in students)
        self.unfinished = [name for name in settings if name not in finished]
        """Settings for which no learning rate is chosen yet."""
        self.not_begun = [name for name in self._planned() if name not in settings]
        """Settings of the recipe of which nothing is known."""
        self.seeds = len({r["seed"] for r in records})
        self.seconds = sum(r["seconds"] for r in records)
        self.versions = [r["versions"] for r in records]

    def _planned(self) -> list[str]:
        """The recipe's settings, where the folder has kept the recipe."""
        try:
            recipe = Recipe.of_identity(self.recipe)
        except (KeyError, TypeError, ValueError):
            # There is none, or one of another release: its results can still be told.
            return []
        return [
            cell.setting
            for data in recipe.data
            for student in recipe.students
            for cell in recipe.settings(data, student)
        ]

    def _missing(self) -> str:
        """What is not in the tables, in a line; empty when all is there."""
        parts = []
        if self.unfinished:
            parts.append(f"Not ended: {', '.join(self.unfinished)}.")
        if self.not_begun:
            parts.append(f"Not begun: {', '.join(self.not_begun)}.")
        return " ".join(parts)

    def _command(self) -> str:
        """The command that gives these results, in Markdown."""
        if self.name not in RECIPES:
            return "`keras_kd.experiments.run`, with a recipe of its own"
        backend = self.versions[-1]["backend"]
        command = f"`KERAS_BACKEND={backend} keras-kd run {self.name}"
        own = json.loads(json.dumps(RECIPES[self.name].identity))
        changes = {k: v for k, v in self.recipe.items() if v != own.get(k)}
        # There is no way to say other data on the command line but by parts.
        other = {k: v for k, v in changes.items() if k == "data"}
        for key, value in changes.items():
            if key not in other:
                command += f" --set {key}={written(value)}"
        return f"{command} --seeds {self.seeds}`" + (
            f", with `data` = {json.dumps(other['data'])}" if other else ""
        )

    def _choice_of_rates(self) -> str:
        rates, higher = (_listed(rates) for rates in self.rates)
        if len(self.rates.rates) == 1:
            return f"Learning rate: {rates}."
        return (
            f"Learning rates were chosen from {rates} on validation images with the "
            "first seed."
        ) + (f" Where the highest was the best, {higher} followed." if higher else "")

    def tables(self) -> list[tuple[str, list[str], Rows]]:
        """For each data set and student: title, columns, and the rows."""
        return [
            (
                f"{data}, {student}",
                ["method", "T", "rate", "test accuracy", "fidelity", "NTK similarity"],
                self._rows(data, records),
            )
            for (data, student), records in grouped(
                self.students, lambda r: (r["data"], r["student"])
            ).items()
        ]

    def _rows(self, data: str, records: list[dict[str, Any]]) -> Rows:
        rows: Rows = []
        of_data = [t for t in self.teachers if t["data"] == data]
        if of_data:
            accuracy = percent([t["test_accuracy"] for t in of_data])
            rate = f"{of_data[0]['learning_rate']:g}"
            name = f"*teacher*, {of_data[0]['student']}"
            rows.append((name, ["", rate, accuracy, "", ""]))
        settings = grouped(records, lambda r: r["setting"])
        # Of those that have all seeds, if there are any.
        most = max(map(len, settings.values()))
        best = max(
            mean_and_standard_error([r["test_accuracy"] for r in group])[0]
            for group in settings.values()
            if len(group) == most
        )
        for group in settings.values():
            first = group[0]
            accuracies = [r["test_accuracy"] for r in group]
            text = percent(accuracies)
            mean, _ = mean_and_standard_error(accuracies)
            if mean == best and len(group) == most:
                text = f"**{text}**"
            if len(group) < self.seeds:
                text += f" ({len(group)} of {self.seeds} seeds)"
            temperature = first["temperature"]
            method = first["method"]
            name = title(method, first["spacing"])
            fidelities = _known(r["fidelity"] for r in group)
            similarities = _known(r["ntk_similarity"] for r in group)
            rows.append(
                (
                    name,
                    [
                        "" if temperature is None else f"{temperature:g}",
                        f"{first['learning_rate']:g}",
                        text,
                        percent(fidelities) if fidelities else "",
                        with_error(similarities, 3) if similarities else "",
                    ],
                )
            )
        return rows

    def markdown(self, images: Sequence[Path] = ()) -> str:
        """The whole report; `images` are linked by their file names."""
        spread = ", mean ± standard error over the seeds" if self.seeds > 1 else ""
        lines = [
            f"# {self.name}",
            "",
            self._command(),
            "",
            f"Percent of the test images{spread}; the best in bold. "
            + self._choice_of_rates(),
            "",
        ]
        for heading, columns, rows in self.tables():
            lines += [f"## {heading}", "", "| " + " | ".join(columns) + " |"]
            lines.append("|---|" + "---:|" * (len(columns) - 1))
            lines += ["| " + " | ".join([name, *cells]) + " |" for name, cells in rows]
            lines.append("")
        lines += [_COLUMNS, "", "Methods:", ""]
        for name in dict.fromkeys(r["method"] for r in self.students):
            lines.append(f"- {title(name)}: {METHODS[name].about}")
        lines.append("")
        differences = comparison.online_against_offline(self.students)
        if differences:
            lines += ["## Online beside offline", "", _PAIRS, ""]
            lines += [*comparison.markdown(differences), ""]
        if missing := self._missing():
            lines += [f"Not in the tables: {missing}", ""]
        for image in images:
            about = image.stem.replace("_", " ").replace("-", ": ")
            caption = figures.CAPTIONS[image.stem.removeprefix(f"{self.name}-")]
            lines += [f"![{about}]({image.name})", "", caption, ""]
        hours = self.seconds / 3600
        spent = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
        made_with = "; ".join(dict.fromkeys(map(_made_with, self.versions)))
        commits = dict.fromkeys((v["commit"] or "")[:9] for v in self.versions)
        known = ", ".join(commit for commit in commits if commit)
        lines.append(
            f"{spent} of training with {made_with}."
            + (f" Commits: {known}." if known else "")
        )
        return "\n".join(lines) + "\n"

    def terminal(self) -> list[Table]:
        """The tables for a terminal."""
        tables = []
        for heading, columns, rows in self.tables():
            table = Table(title=f"{self.name}: {heading}")
            for i, column in enumerate(columns):
                table.add_column(column, justify="right" if i else "left")
            for name, cells in rows:
                shown = [_rich(name), *map(_rich, cells)]
                table.add_row(*shown)
            tables.append(table)
        if missing := self._missing():
            if not tables:
                tables.append(Table("student", title=self.name))
            tables[-1].caption = missing
        return tables

    def write(self, folder: str | Path) -> list[Path]:
        """Writes the report as Markdown, and the figures that the study has.

        Args:
            folder: where; the Markdown file has the study's name.

        Returns:
            The files, the Markdown first.
        """
        images = []
        with filling(Path(folder)) as part:
            for name, draw in figures.FIGURES.items():
                figure = draw(self.students)
                if figure is not None:
                    image = part / f"{self.name}-{name}.png"
                    figure.savefig(image, dpi=150)
                    images.append(image)
            text = part / f"{self.name}.md"
            text.write_text(self.markdown(images), encoding="utf-8")
        return [Path(folder, file.name) for file in (text, *images)]


def _made_with(versions: dict[str, Any]) -> str:
    backend = versions["backend"]
    return (
        f"{backend} {versions[backend]}, Keras {versions['keras']}, keras_kd "
        f"{versions['keras_kd']}, Python {versions['python']} on {versions['cores']} "
        f"{versions['machine']} core(s)"
    )


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _rich(text: str) -> str:
    if text.startswith("**"):
        return "[bold]" + text.replace("**", "", 1).replace("**", "[/bold]", 1)
    return text.replace("*", "")
