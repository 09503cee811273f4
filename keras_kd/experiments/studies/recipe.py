"""Recipe: one study as plain data; its cells are the runs that it takes."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Self

from keras_kd.arguments import check_temperature
from keras_kd.experiments.names import NETWORK_NAMES, WIDTHS
from keras_kd.experiments.studies.cell import Architecture, Cell, Data
from keras_kd.experiments.studies.methods import METHODS, Method
from keras_kd.experiments.studies.rates import Rates
from keras_kd.experiments.studies.settings import kinds_of, value_of
from keras_kd.files import is_name

# Of learning rates: its square is still a float32.
_LARGEST = 1e18
# What two runs of one study may differ in.
_NO_IDENTITY = ("seeds", "about", "from_paper", "recalled")
# What no command line changes.
_NOT_SET = ("data", "name", "from_paper", "recalled")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One study: a grid of students' trainings on one teacher.

    Learning rates are chosen by the validation images with the first seed, for each
    student, method and temperature. Where there is one rate nothing is chosen.

    Attributes:
        name: of the study, as the command line has it.
        about: what it is for, a line.
        data: the images; several for a study of sizes or label noise.
        teacher: the teacher.
        students: the students.
        methods: names in `METHODS`.
        temperatures: of the soft targets.
        spacings: epochs between the checkpoints that online methods use.
        epochs: of every student.
        teacher_epochs: of the teacher.
        batch_size: images a step.
        learning_rates: of which each student's is chosen.
        higher_learning_rates: further ones to choose from, ascending, each tried only
            while the highest so far was the best.
        teacher_learning_rate: of the teacher, and of an assistant.
        milestones: shares of every training after which its learning rate is a tenth of
            what it was; empty for a short warm-up and cosine decay.
        ema: decay, per step, of the averaged trajectory.
        assistant: between teacher and student, for `"assistant"`.
        ntk_images: training images on which the final student's NTK is compared with
            the teacher's; 0 for none.
        complexity_images: training images on which the supervision complexity of the
            targets is measured after each epoch of an online student's training; 0
            for none.
        seeds: how many repetitions.
        from_paper: names of the settings that are the paper's, by what is public of it;
            those of the data as `data.n_train`.
        recalled: names of those that are said to be the paper's, which nothing public
            confirms. All others are ours.
    """

    name: str
    about: str
    data: tuple[Data, ...]
    teacher: Architecture
    students: tuple[Architecture, ...]
    methods: tuple[str, ...]
    epochs: int
    teacher_epochs: int
    temperatures: tuple[float, ...] = (1.0, 4.0)
    spacings: tuple[int, ...] = (1,)
    batch_size: int = 128
    learning_rates: tuple[float, ...] = (0.1,)
    higher_learning_rates: tuple[float, ...] = ()
    teacher_learning_rate: float = 0.1
    milestones: tuple[float, ...] = ()
    ema: float = 0.99
    assistant: Architecture | None = None
    ntk_images: int = 0
    complexity_images: int = 0
    seeds: int = 3
    from_paper: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(is_name(self.name), "name", self.name, "a name for a file")
        for name in ("data", "students", "methods", "learning_rates", "spacings"):
            _require(bool(getattr(self, name)), name, getattr(self, name), "not empty")
        for name in ("epochs", "teacher_epochs", "batch_size", "seeds"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for method in self.methods:
            _require(
                method in METHODS, "methods", method, f"names among {list(METHODS)}"
            )
        for network in (self.teacher, self.assistant, *self.students):
            known = network is None or network.network in NETWORK_NAMES
            _require(known, "network", network, f"one of {list(NETWORK_NAMES)}")
        for architecture in (self.teacher, self.assistant, *self.students):
            if architecture is not None and architecture.width is not None:
                _require(
                    architecture.network in WIDTHS,
                    "network",
                    architecture,
                    f"one of {list(WIDTHS)}, to have a width",
                )
        for name in (
            "data",
            "students",
            "methods",
            "temperatures",
            "spacings",
            "learning_rates",
        ):
            # By what cells are called.
            named = [
                f"{value:g}" if isinstance(value, float) else str(value)
                for value in getattr(self, name)
            ]
            different = len(set(named)) == len(named)
            _require(different, name, ", ".join(named), "different from each other")
        _require(
            all(a < b for a, b in itertools.pairwise((0, *self.milestones, 1))),
            "milestones",
            self.milestones,
            "ascending shares between 0 and 1",
        )
        settings = [*kinds_of(type(self)), *_kinds_of_data()]
        for name in ("from_paper", "recalled"):
            _require(
                set(getattr(self, name)) <= set(settings),
                name,
                getattr(self, name),
                f"names among {settings}",
            )
        _require(0 < self.ema < 1, "ema", self.ema, "between 0 and 1")
        _require(
            self.assistant is not None or "assistant" not in self.methods,
            "assistant",
            None,
            "an architecture, for the method 'assistant'",
        )
        before = (
            self.methods[: self.methods.index("born_again")]
            if ("born_again" in self.methods)
            else ("none",)
        )
        _require(
            "none" in before, "methods", self.methods, "'none' before 'born_again'"
        )
        _require(
            bool(self.temperatures) or not any(m.soft for m in self._methods),
            "temperatures",
            self.temperatures,
            "not empty",
        )
        for temperature in self.temperatures:
            check_temperature("temperatures", temperature)
        for values, name in (
            (self.learning_rates, "learning_rates"),
            (self.higher_learning_rates, "higher_learning_rates"),
        ):
            _require(
                all(0 < v <= _LARGEST for v in values),
                name,
                values,
                f"> 0 and at most {_LARGEST:g}",
            )
        for name in ("ntk_images", "complexity_images"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        _require(
            0 < self.teacher_learning_rate <= _LARGEST,
            "teacher_learning_rate",
            self.teacher_learning_rate,
            f"> 0 and at most {_LARGEST:g}",
        )
        # As cells are called.
        higher = [
            float(f"{rate:g}")
            for rate in (max(self.learning_rates), *self.higher_learning_rates)
        ]
        _require(
            len(self.learning_rates) == 1
            or all(a < b for a, b in itertools.pairwise(higher)),
            "higher_learning_rates",
            self.higher_learning_rates,
            f"ascending, and above {higher[0]:g}, the highest of `learning_rates`",
        )
        for spacing in self.spacings:
            _require(
                1 <= spacing <= self.teacher_epochs,
                "spacings",
                self.spacings,
                f"between 1 and teacher_epochs={self.teacher_epochs}",
            )
        for data in self.data:
            _require(data.n_validation >= 0, "n_validation", data.n_validation, ">= 0")
            for name in ("n_train", "n_test"):
                n = getattr(data, name)
                _require(n is None or n >= 1, name, n, "None or >= 1")
            _require(data.passes >= 1, "passes", data.passes, ">= 1")
            _require(
                0 <= data.label_noise <= 1,
                "label_noise",
                data.label_noise,
                "in [0, 1]",
            )
            _require(
                len(self.learning_rates) == 1 or data.n_validation > 0,
                "n_validation",
                data.n_validation,
                "> 0, where `learning_rates` are to be chosen from",
            )

    @property
    def _methods(self) -> list[Method]:
        return [METHODS[name] for name in self.methods]

    def settings(self, data: Data, student: Architecture) -> Iterator[Cell]:
        """One cell for each method, temperature and spacing, at the first rate."""
        for name in self.methods:
            method = METHODS[name]
            for temperature in self.temperatures if method.soft else (None,):
                for spacing in self.spacings if method.spaced else (1,):
                    yield Cell(
                        data,
                        student,
                        name,
                        temperature,
                        spacing,
                        self.learning_rates[0],
                        0,
                    )

    @property
    def rates(self) -> Rates:
        """The learning rates to choose from."""
        return Rates(self.learning_rates, self.higher_learning_rates)

    def __len__(self) -> int:
        """How many students are trained in all, without higher learning rates."""
        settings = sum(
            1
            for data in self.data
            for student in self.students
            for _ in self.settings(data, student)
        )
        return settings * (len(self.learning_rates) + self.seeds - 1)

    @property
    def origins(self) -> dict[str, str]:
        """Of each setting `"paper"`, `"paper, recalled"` or `"ours"`.

        Whether the images are the paper's is said of the data's own settings.
        """
        said = dict.fromkeys(self.from_paper, "paper")
        said |= dict.fromkeys(self.recalled, "paper, recalled")
        names = [n for n in self.identity if n not in ("name", "data")]
        return {n: said.get(n, "ours") for n in (*_kinds_of_data(), *names, "seeds")}

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs must share to be one study: all but the number of seeds."""
        record = dataclasses.asdict(self)
        for name in _NO_IDENTITY:
            del record[name]
        return record

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What `identity` holds where nothing else was said."""
        return {
            field.name: field.default
            for field in dataclasses.fields(cls)
            if field.default is not dataclasses.MISSING
            and field.name not in _NO_IDENTITY
        }

    @classmethod
    def of_identity(cls, identity: Mapping[str, Any]) -> Self:
        """The recipe of which `identity` was read from JSON, with its default seeds."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in identity.items()
        }
        values["data"] = tuple(Data(**one) for one in values["data"])
        values["students"] = tuple(Architecture(**one) for one in values["students"])
        for name in ("teacher", "assistant"):
            if values.get(name) is not None:
                values[name] = Architecture(**values[name])
        return cls(about="", **values)

    def with_settings(self, settings: Mapping[str, str]) -> Self:
        """Another recipe, of values written as on a command line.

        Args:
            settings: `{field: value}`: numbers, names, or several with commas between;
                an architecture is `lenet5` or `lenet5:0.5`, its width after the colon;
                `data.n_train` and the like change all data. What is set here is the
                paper's no longer.

        Raises:
            ValueError: there is no such field, or its value is of another kind.
        """
        kinds = kinds_of(type(self))
        of_data = _kinds_of_data()
        changes: dict[str, Any] = {}
        data = self.data
        for key, text in settings.items():
            if key in _NOT_SET:
                raise ValueError(
                    f"`{key}` cannot be set; parts of `data` can be, such as "
                    f"data.n_train. Received: {key}={text}"
                )
            if key in of_data:
                part = {key.removeprefix("data."): value_of(key, text, of_data[key])}
                data = tuple(dataclasses.replace(one, **part) for one in data)
            elif key in kinds:
                changes[key] = value_of(key, text, kinds[key])
            else:
                raise ValueError(
                    "A recipe must be set by its fields, "
                    f"{', '.join([*kinds, *of_data])}. Received: {key}={text}"
                )
        for name in ("from_paper", "recalled"):
            changes[name] = tuple(n for n in getattr(self, name) if n not in settings)
        return dataclasses.replace(self, data=data, **changes)


def _kinds_of_data() -> dict[str, Any]:
    """The settings of the data as they are named on a command line."""
    return {f"data.{name}": kind for name, kind in kinds_of(Data).items()}


def _require(condition: bool, name: str, received: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={received}")
