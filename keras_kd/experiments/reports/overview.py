"""Overview: online beside offline distillation over several studies."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from keras_kd.arguments import check_instance
from keras_kd.experiments.reports import comparison, figures
from keras_kd.experiments.reports.comparison import CONFIDENCE, Difference
from keras_kd.experiments.reports.report import Report
from keras_kd.experiments.studies.methods import title
from keras_kd.experiments.studies.results import grouped
from keras_kd.files import filling

_VERDICTS = ("wins", "ties", "loses")


class Overview:
    """When online distillation wins, ties and loses.

    Args:
        folders: of `keras_kd.experiments.run`, one for each study.

    Attributes:
        studies: a list of `comparison.Difference` for each study.

    Raises:
        FileNotFoundError: a folder has no results.
        ValueError: two folders are of the same study, or none has an online and an
            offline student of the same seed and temperature.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.studies: dict[str, list[Difference]] = {}
        check_instance("folders", folders, (list, tuple), "a list of folders")
        for folder in folders:
            report = Report(folder)
            if report.name in self.studies:
                raise ValueError(
                    "`folders` must be of different studies. Received: two of "
                    f"'{report.name}'"
                )
            self.studies[report.name] = comparison.online_against_offline(
                report.students
            )
        if not any(self._beside_offline().values()):
            raise ValueError(
                "`folders` must hold online and offline students of the same seed and "
                f"temperature. Received: {', '.join(map(str, folders))}"
            )

    def _beside_offline(self) -> dict[str, list[Difference]]:
        # One baseline: of each online student one difference; and studies may share
        # trainings, which count once.
        seen: set[Difference] = set()
        beside: dict[str, list[Difference]] = {}
        for name, of in self.studies.items():
            beside[name] = [d for d in of if d.baseline == "offline" and d not in seen]
            seen.update(beside[name])
        return beside

    def _tally(self) -> tuple[list[str], list[list[str]], str]:
        """Columns and rows of the table of verdicts, and how to read it."""
        settled = [
            d
            for of in self._beside_offline().values()
            for d in of
            if d.verdict in _VERDICTS
        ]
        rows = []
        for (temperature, name), group in sorted(
            grouped(
                settled, lambda d: (d.temperature, title(d.method, d.spacing))
            ).items()
        ):
            count = Counter(d.verdict for d in group)
            rows.append([f"{temperature:g}", name, *(str(count[v]) for v in _VERDICTS)])
        chance = (1 - CONFIDENCE) * len(settled)
        return (
            ["T", "online", *_VERDICTS],
            rows,
            f"Beside the final teacher. It wins or loses where Student's 95 % interval "
            f"leaves out 0; of {len(settled)} comparisons chance alone would give "
            f"{chance:.1f}." + self._too_few(),
        )

    def _too_few(self) -> str:
        """Of which comparisons nothing is said, in a sentence; empty where of none."""
        beside = [d for of in self._beside_offline().values() for d in of]
        few = [d for d in beside if d.verdict not in _VERDICTS]
        if not few:
            return ""
        most = max(len(d.values) for d in few)
        said = f"{len(few)} of {len(beside)} comparisons have no verdict"
        return (
            f" {said}: that takes 3 seeds, and these have at most {most}. Run the "
            "studies with `--seeds 3` or more."
        )

    def markdown(self, image: Path | None = None) -> str:
        """The tables; `image` is linked by its file name."""
        columns, rows, note = self._tally()
        lines = ["# Online beside offline distillation", "", note, ""]
        lines += ["| " + " | ".join(columns) + " |", "|---:|---|---:|---:|---:|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
        if image is not None:
            lines += [
                "Thick lines are standard errors, thin ones Student's 95 % intervals.",
                "",
                f"![points of test accuracy gained]({image.name})",
                "",
            ]
        for name, of in self.studies.items():
            if of:
                lines += [f"## {name}", "", *comparison.markdown(of), ""]
        return "\n".join(lines)

    def terminal(self) -> Table:
        """The verdicts for a terminal."""
        columns, rows, note = self._tally()
        table = Table(title="online beside offline", caption=note)
        for column in columns:
            table.add_column(column, justify="left" if column == "online" else "right")
        for row in rows:
            table.add_row(*row)
        return table

    def write(self, folder: str | Path) -> list[Path]:
        """Writes `online-and-offline.md` and `.png`.

        Args:
            folder: where.

        Returns:
            The files, the Markdown first.
        """
        with filling(Path(folder)) as part:
            image = part / "online-and-offline.png"
            figures.differences(self._beside_offline()).savefig(image, dpi=150)
            text = image.with_suffix(".md")
            text.write_text(self.markdown(image), encoding="utf-8")
        return [Path(folder, file.name) for file in (text, image)]
