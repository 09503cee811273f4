"""SupervisionComplexity: how hard targets are for a student while it trains."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from keras_kd.arguments import (
    check_choice,
    check_integer,
    check_integer_or_none,
    check_number,
    check_temperature,
)
from keras_kd.complexity import (
    Complexity,
    KernelFactorization,
    adjusted_supervision_complexity,
    kernel_alignment,
    soft_targets,
)
from keras_kd.complexity.arguments import check_labels, check_outputs
from keras_kd.complexity.ranking.arguments import outputs_of
from keras_kd.complexity.ranking.comparison import RELATIVE_RIDGE
from keras_kd.complexity.ranking.teacher_logits import (
    BATCH,
    Run,
    logits_of_teachers,
    runner_of,
)
from keras_kd.complexity.targets import Kind
from keras_kd.forward import Examples
from keras_kd.ntk import empirical_ntk
from keras_kd.outputs import FORMS, check_last_activation, label_targets
from keras_kd.teachers import TeacherTrajectory

_TEACHER = "teacher"


class SupervisionComplexity(keras.callbacks.Callback):
    r"""Logs how complex targets are under the student's NTK of each epoch.

    For `fit` of a Keras model, which then is the student, or of a `Distiller`. The
    epoch logs get `complexity_<name>` for each set of targets, the adjusted supervision
    complexity $\frac1n\sqrt{Y^\top (K + \lambda I)^{-1} Y\,\mathrm{tr} K}$, and with
    `teacher` the `ntk_similarity` to it. `K` is the trace NTK over the number of
    outputs, of the student's logits at its weights of that moment, summed in float64;
    `Y` are soft targets, centred over the classes. The student trains exactly as it
    would without the callback.

    The value before training, which the theory speaks of, is in `initial`. It is taken
    before the first batch, when all other callbacks have loaded what they load.

    In `fit` of a plain model list it before callbacks that read the epoch logs
    (`CSVLogger`, `TensorBoard`); `Distiller.fit` sees to that itself.

    Args:
        x: the `n` examples, as in `empirical_ntk`. Time grows with `n^2`, and `n^3` for
            the factorisation: hundreds will do.
        targets: `{name: target}`, at least one unless `teacher` is given. A target is
            labels, `(n,)` integers or one-hot `(n, k)`, which have no temperature; an
            array of logits, `(n, k)` (for one output `(n,)` floats); a model, or a
            callable `x -> logits`, which are run at each measurement; `"teacher"`, the
            teacher that the distiller has at that moment, with `OnlineTeacher` the
            checkpoint in use; or a `TeacherTrajectory`, for the average teacher: the
            mean of its checkpoints' soft targets.
        every: measure after every so many epochs. In the other epochs the logs hold
            NaN.
        teacher: model to whose NTK the student's is compared; `"teacher"` for the
            distiller's.
        temperature: of the soft targets, > 0.
        kind: of the targets, `"probabilities"` or `"logits"`, as in `soft_targets`.
        residual: whether to take from the targets the student's own logits of that
            moment, over the temperature: what is left to learn. It needs
            `kind="logits"`, since the kernel is that of the logits.
        relative_ridge: `lambda >= 0` in units of `tr K / n`, because the kernel's scale
            changes during training. If it is too small for a kernel, one that will do
            takes its place, with a warning.
        teacher_outputs: what models among the targets give, `"logits"` or
            `"probabilities"`. Of its own teacher a `Distiller` knows.
        batch_size: examples a pass; `None`: what fits.

    Attributes:
        initial: the logs as they were before the first batch of the last `fit`; `None`
            before.
        complexities: `{epochs completed: {name: Complexity}}`, with the ridge, the
            condition number and the residual of each value.

    Raises:
        ValueError: an argument is not as above. When training begins, and before
            anything has changed: the shapes do not fit the student's outputs, the
            student does not give logits, or there is no teacher. During training: the
            student's outputs, or those of a callable, are not finite.
        TypeError: a target, or `teacher`, is something else.

    Source: Harutyunyan et al., "Supervision Complexity and its Role in Knowledge
    Distillation", ICLR 2023, sections 2 and 4.

    Example:

    >>> import keras, numpy as np
    >>> from keras_kd.callbacks import SupervisionComplexity
    >>> x = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> student.compile("sgd", loss)
    >>> watch = SupervisionComplexity(x, {"labels": y})
    >>> history = student.fit(x, y, epochs=2, verbose=0, callbacks=[watch]).history
    >>> list(watch.initial), len(history["complexity_labels"])
    (['complexity_labels'], 2)
    """

    # `Distiller.fit` runs it before callbacks that read the epoch logs.
    writes_epoch_logs = True

    def __init__(
        self,
        x: Any,
        targets: Mapping[str, Any],
        every: int = 1,
        *,
        teacher: keras.Model | Literal["teacher"] | None = None,
        temperature: float = 1.0,
        kind: Kind = "probabilities",
        residual: bool = False,
        relative_ridge: float = RELATIVE_RIDGE,
        teacher_outputs: Literal["logits", "probabilities"] = "logits",
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.every = check_integer("every", every, at_least=1)
        self.temperature = check_temperature("temperature", temperature)
        check_choice("kind", kind, ("probabilities", "logits"))
        check_choice("teacher_outputs", teacher_outputs, FORMS)
        if residual and kind != "logits":
            raise ValueError(
                "`residual=True` needs `kind='logits'`: the kernel is that of the "
                f"student's logits. Received: kind={kind!r}"
            )
        self.kind: Kind = kind
        self.residual = bool(residual)
        self.relative_ridge = check_number("relative_ridge", relative_ridge, at_least=0)
        self.teacher_outputs = teacher_outputs
        self.batch_size = check_integer_or_none("batch_size", batch_size, at_least=1)
        self.examples = Examples(x, "x")
        self.teacher = _as_teacher(teacher)
        self.targets = _as_targets(
            targets, self.examples.n, teacher_outputs, needed=teacher is None
        )
        self.initial: dict[str, float] | None = None
        self.complexities: dict[int, dict[str, Complexity]] = {}
        self._k = 0
        self._constant: dict[str, NDArray[np.float64]] = {}
        self._runners: dict[int, Run] = {}
        self._teacher_kernel: tuple[bytes, Any] = (b"", None)

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self.targets))
        return f"<SupervisionComplexity of {names}, {self.examples.n:,} examples>"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.initial = None
        self.complexities = {}
        self._k = outputs_of(self._student(), self.examples)
        self._constant = {}
        for name, target in self.targets.items():
            if isinstance(target, TeacherTrajectory):
                self._constant[name] = self._average(name, target)
            elif isinstance(target, np.ndarray):
                self._constant[name] = self._from_array(name, target)
        asked = [f"targets['{n}']" for n, t in self.targets.items() if _is_teacher(t)]
        if _is_teacher(self.teacher):
            asked.append("teacher")
        if asked and getattr(self.model, "teacher", None) is None:
            raise ValueError(
                f"`{asked[0]}='teacher'` is the teacher of a `keras_kd.Distiller`. "
                f"Received: model '{self.model.name}' without a teacher."
            )

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Not when training begins: other callbacks may load weights after this one,
        # and OnlineTeacher its first checkpoint.
        if self.initial is None:
            self.initial = self._measure(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        if (epoch + 1) % self.every == 0:
            logs.update(self._measure(epoch + 1))
        else:
            # Lists in History stay aligned, and CSVLogger, which takes its columns from
            # the first epoch, has them all.
            logs.update(dict.fromkeys(self.initial or (), float("nan")))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._runners = {}
        self._teacher_kernel = (b"", None)

    def _student(self) -> keras.Model:
        # On JAX `fit` holds the weights elsewhere; `self.model` brings them back.
        model = self.model
        return getattr(model, "student", model)

    def _measure(self, epochs: int) -> dict[str, float]:
        student = self._student()
        kernel = self._kernel(student)
        kernel /= self._k
        logs = {}
        if self.targets:
            solver = KernelFactorization(
                kernel,
                self.relative_ridge * float(np.trace(kernel)) / len(kernel),
                # A run is not ended by what only watches it.
                ill_conditioned="warn",
            )
            own = self._own(student) if self.residual else 0.0
            found = {
                name: adjusted_supervision_complexity(
                    solver, self._present(name, target) - own
                )
                for name, target in self.targets.items()
            }
            self.complexities[epochs] = found
            logs = {f"complexity_{name}": float(c) for name, c in found.items()}
        if self.teacher is not None:
            logs["ntk_similarity"] = kernel_alignment(
                kernel, self._kernel_of_teacher(), center=False
            )
        return logs

    def _kernel(self, model: keras.Model) -> NDArray[np.float64]:
        return empirical_ntk(
            model, self.examples, batch_size=self.batch_size, accumulate="float64"
        )

    def _kernel_of_teacher(self) -> NDArray[np.float64]:
        teacher = self.model.teacher if _is_teacher(self.teacher) else self.teacher
        digest = hashlib.sha256()
        for variable in teacher.weights:
            digest.update(keras.ops.convert_to_numpy(variable).tobytes())
        # That of a teacher which has not changed need not be computed again.
        if self._teacher_kernel[0] != digest.digest():
            self._teacher_kernel = (digest.digest(), self._kernel(teacher))
        kernel: NDArray[np.float64] = self._teacher_kernel[1]
        return kernel

    def _own(self, student: keras.Model) -> NDArray[np.float64]:
        return self._soft(self._run(student, "logits"))

    def _present(self, name: str, target: Any) -> NDArray[np.float64]:
        """The target of this moment, `(n, k)`."""
        if name in self._constant:
            return self._constant[name]
        if _is_teacher(target):
            model = self.model
            outputs = getattr(model, "teacher_outputs", self.teacher_outputs)
            logits = self._run(model.teacher, outputs)
        elif isinstance(target, keras.Model):
            logits = self._run(target, self.teacher_outputs)
        else:
            logits = keras.ops.convert_to_numpy(target(self.examples.values))
        return self._soft(self._checked(name, logits))

    def _run(self, model: keras.Model, outputs: str) -> NDArray[Any]:
        if id(model) not in self._runners:
            self._runners[id(model)] = runner_of(model, outputs)
        size = min(self.batch_size or BATCH, self.examples.n)
        return self._runners[id(model)](self.examples, size)

    def _average(self, name: str, trajectory: TeacherTrajectory) -> NDArray[np.float64]:
        stages = logits_of_teachers(
            {name: trajectory},
            self.examples,
            self._k,
            self.teacher_outputs,
            self.batch_size,
            False,
        )
        soft = [self._soft(stage.logits) for stage in stages]
        return np.asarray(np.mean(soft, axis=0))

    def _from_array(self, name: str, array: NDArray[Any]) -> NDArray[np.float64]:
        if not _are_labels(array):
            return self._soft(self._checked(name, array))
        if array.ndim == 2 and array.shape[1] > 1:
            labels = self._checked(name, array).argmax(axis=1)
        else:
            try:
                labels = check_labels(array, len(array), self._k)
            except ValueError as error:
                raise ValueError(f"`targets['{name}']`: {error}") from None
        return np.asarray(label_targets(labels, self._k), np.float64)

    def _soft(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        return soft_targets(logits, self.temperature, self.kind)

    def _checked(self, name: str, logits: NDArray[Any]) -> NDArray[np.float64]:
        return check_outputs(f"targets['{name}']", logits, (self.examples.n, self._k))


def _as_teacher(teacher: Any) -> Any:
    if isinstance(teacher, keras.Model):
        if not teacher.built:
            raise ValueError(
                "`teacher` must be built. Received: model "
                f"'{teacher.name}', which has no weights yet."
            )
    elif teacher is not None and not _is_teacher(teacher):
        raise TypeError(
            "`teacher` must be a `keras.Model`, 'teacher' or None. "
            f"Received: teacher={teacher!r}"
        )
    return teacher


def _as_targets(targets: Any, n: int, outputs: str, needed: bool) -> dict[str, Any]:
    """The targets, arrays as NumPy's, checked as far as can be without a student."""
    if not isinstance(targets, Mapping):
        raise TypeError(
            "`targets` must be a dictionary of names and targets. "
            f"Received: targets of type {type(targets).__name__}"
        )
    if needed and not targets:
        raise ValueError(
            "`targets` must hold at least one target where no `teacher` is given. "
            "Received: targets={}"
        )
    checked: dict[str, Any] = {}
    for name, target in targets.items():
        if not isinstance(name, str) or not name:
            raise ValueError(
                "The names of `targets`, which are those of logs, must be strings. "
                f"Received: {name!r}"
            )
        argument = f"targets['{name}']"
        if isinstance(target, str):
            if not _is_teacher(target):
                raise ValueError(
                    f"`{argument}` can be the string 'teacher', the teacher of the "
                    f"distiller. Received: {target!r}"
                )
        elif isinstance(target, TeacherTrajectory):
            target.check()
        elif isinstance(target, keras.Model):
            check_last_activation(target, outputs, "teacher_outputs")
        elif hasattr(target, "__array__") or isinstance(target, list | tuple):
            target = keras.ops.convert_to_numpy(target)
            rows = check_outputs(argument, target)
            if len(rows) != n:
                raise ValueError(
                    f"`{argument}` must have a row for each of the {n} examples of "
                    f"`x`. Received: shape {target.shape}"
                )
        elif not callable(target):
            raise TypeError(
                f"`{argument}` must be an array, a model, a callable, a "
                "`TeacherTrajectory` or 'teacher'. "
                f"Received: {type(target).__name__}"
            )
        checked[name] = target
    return checked


def _are_labels(array: NDArray[Any]) -> bool:
    """Whether an array is labels, and not logits."""
    columns = array.reshape(len(array), -1)
    if columns.shape[1] == 1:
        return array.dtype.kind in "iub"
    zeros_and_ones = np.isin(columns, (0, 1)).all()
    return bool(zeros_and_ones and (columns.sum(axis=1) == 1).all())


def _is_teacher(value: object) -> bool:
    return isinstance(value, str) and value == _TEACHER
