"""The report of a study: its table and its figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from keras_kd.experiments import comparison, figures, results
from keras_kd.experiments.methods import METHODS, title
from keras_kd.experiments.recipes import RECIPES
from keras_kd.experiments.results import Rates, grouped, mean_and_standard_error

_NAMES = {"none": "no distillation", "teacher": "*teacher*"}
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
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        records = results.read(self.folder / results.RESULTS)
        if not records:
            raise FileNotFoundError(
                f"No results in '{self.folder}': `keras-kd run` writes them there."
            )
        self.name = records[0]["recipe"]
        self.teachers = [r for r in records if r["method"] == "teacher"]
        students = [r for r in records if r["method"] != "teacher"]
        file = self.folder / results.RECIPE
        self.recipe = json.loads(file.read_text()) if file.exists() else {}
        first = {r["learning_rate"] for r in students if r["seed"] == 0}
        self.rates = Rates(
            self.recipe.get("learning_rates", sorted(first)),
            self.recipe.get("higher_learning_rates", ()),
        )
        self.students = results.chosen(students, self.rates)
        """Records at the chosen learning rates."""
        self.unfinished = len({r["setting"] for r in students}) - len(
            {r["setting"] for r in self.students}
        )
        self.seeds = len({r["seed"] for r in records})
        self.seconds = sum(r["seconds"] for r in records)
        self.versions = records[-1]["versions"]

    def _command(self) -> str:
        """The command that gives these results, in Markdown."""
        if self.name not in RECIPES:
            return "`keras_kd.experiments.run`, with a recipe of its own"
        own = json.loads(json.dumps(RECIPES[self.name].identity))
        changes = [
            f"`{key}` = {json.dumps(value)}"
            for key, value in self.recipe.items()
            if value != own.get(key)
        ]
        return f"`keras-kd run {self.name} --seeds {self.seeds}`" + (
            f", with {', '.join(changes)}" if changes else ""
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
            accuracy = _percent([t["test_accuracy"] for t in of_data])
            rate = f"{of_data[0]['learning_rate']:g}"
            name = f"*teacher*, {of_data[0]['student']}"
            rows.append((name, ["", rate, accuracy, "", ""]))
        settings = grouped(records, lambda r: r["setting"])
        best = max(
            mean_and_standard_error([r["test_accuracy"] for r in group])[0]
            for group in settings.values()
        )
        for group in settings.values():
            first = group[0]
            accuracies = [r["test_accuracy"] for r in group]
            text = _percent(accuracies)
            if mean_and_standard_error(accuracies)[0] == best:
                text = f"**{text}**"
            if len(group) < self.seeds:
                text += f" ({len(group)} of {self.seeds} seeds)"
            temperature = first["temperature"]
            method = first["method"]
            name = _NAMES.get(method, title(method, first["spacing"]))
            rows.append(
                (
                    name,
                    [
                        "" if temperature is None else f"{temperature:g}",
                        f"{first['learning_rate']:g}",
                        text,
                        _percent([r["fidelity"] for r in group]),
                        _plain([r["ntk_similarity"] for r in group]),
                    ],
                )
            )
        return rows

    def markdown(self, images: Sequence[Path] = ()) -> str:
        """The whole report; `images` are linked by their file names."""
        versions = self.versions
        backend = versions["backend"]
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
        lines += ["Methods:", ""]
        for name in dict.fromkeys(r["method"] for r in self.students):
            shown = _NAMES.get(name, title(name))
            lines.append(f"- {shown}: {METHODS[name].about}")
        lines.append("")
        differences = comparison.online_against_offline(self.students)
        if differences:
            lines += ["## Online beside offline", "", _PAIRS, ""]
            lines += [*comparison.markdown(differences), ""]
        if self.unfinished:
            lines += [
                f"Settings not finished with the first seed: {self.unfinished}",
                "",
            ]
        for image in images:
            about = image.stem.replace("_", " ").replace("-", ": ")
            lines += [f"![{about}]({image.name})", ""]
        hours = self.seconds / 3600
        spent = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
        lines.append(
            f"{spent} of training on {versions['cores']} "
            f"{versions['machine']} core(s); keras_kd {versions['keras_kd']}"
            + (f" ({versions['commit'][:9]})" if versions["commit"] else "")
            + f", Keras {versions['keras']}, {backend} {versions[backend]}, Python "
            f"{versions['python']}."
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
        return tables

    def write(self, folder: str | Path) -> list[Path]:
        """Writes the report as Markdown, and the figures that the study has.

        Args:
            folder: where; the Markdown file has the study's name.

        Returns:
            The files, the Markdown first.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for name, draw in figures.FIGURES.items():
            figure = draw(self.students)
            if figure is not None:
                image = folder / f"{self.name}-{name}.png"
                figure.savefig(image, dpi=150)
                images.append(image)
        text = folder / f"{self.name}.md"
        text.write_text(self.markdown(images))
        return [text, *images]


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def _percent(values: list[float | None]) -> str:
    return _plain([None if v is None else 100 * v for v in values], 1)


def _plain(values: list[float | None], digits: int = 3) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return ""
    mean, error = mean_and_standard_error(known)
    text = f"{mean:.{digits}f}"
    return text if error is None else f"{text} ± {error:.{digits}f}"


def _rich(text: str) -> str:
    if text.startswith("**"):
        return "[bold]" + text.replace("**", "", 1).replace("**", "[/bold]", 1)
    return text.replace("*", "")
