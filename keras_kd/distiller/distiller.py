"""Distiller: a student, a teacher and distillation losses as one `keras.Model`."""

from typing import Any, Literal

import keras

from keras_kd import backend
from keras_kd.arguments import check_choice, check_fraction
from keras_kd.distiller import arguments as checks
from keras_kd.distiller import strings
from keras_kd.distiller.augmentation import (
    augmented,
    build_augment,
    check_augment,
)
from keras_kd.distiller.data_checks import check_data, check_fit
from keras_kd.distiller.first_step import FirstStep
from keras_kd.distiller.live_numbers import Forwarded, LiveNumbers
from keras_kd.distiller.logs import DistillationLogs
from keras_kd.distiller.loss import DistillationTerms
from keras_kd.distiller.mixture import mixed_loss
from keras_kd.distiller.other_names import TranslatesOtherNames
from keras_kd.distiller.output_kinds import OutputKinds
from keras_kd.distiller.random_layers import warn_of_random_layers
from keras_kd.distiller.reported import logs_of_batch, logs_of_epoch
from keras_kd.distiller.saving import arguments_of, config_of
from keras_kd.distiller.step import Running, current_step, running_step
from keras_kd.distiller.supervisor import Supervisor, supervisor_of, telling_cause
from keras_kd.forward import (
    build_on,
    find_layer,
    input_spec,
    output_spec,
    tapping,
    view_of,
)
from keras_kd.outputs import FORMS, Kind, OutputKind, check_last_activation
from keras_kd.teachers.cache import Joined
from keras_kd.teachers.reduced_precision import Agreement


@keras.saving.register_keras_serializable(package="keras_kd")
class Distiller(TranslatesOtherNames):
    r"""Trains a student on a teacher's predictions with `compile()` and `fit()`.

    The loss is `alpha * distillation + (1 - alpha) * student_loss`, plus the student's
    own regularisers; `student_loss` is what `compile(loss=...)` says of the labels.
    With `alpha=1`, the default, no labels are needed.

    The teacher is frozen: it runs in inference mode, outside the differentiated part,
    and after `fit` it is bit for bit what it was. It is no sublayer of the distiller;
    `distiller.student` is an ordinary model that saves, exports and serves alone.

    `fit` logs `loss`, `student_loss` (where labels and a compiled loss are given),
    `distillation_loss`, `fidelity` (top-1 agreement with the teacher; for several
    outputs their mean, and `<output>_fidelity` for each; none for values), and
    `<name>_loss` for each of several distillation losses (`<output>_distillation_loss`
    where they are named after outputs, whose compiled losses are `<output>_loss`).

    Under `tf.distribute.MirroredStrategy` (or `TPUStrategy`, same path) build teacher,
    student and distiller inside `strategy.scope()`. Losses over pairs of examples
    (`RelationalKD`, `DIST`) then see the examples of one replica.

    Args:
        teacher: a built `keras.Model`, or its predictions, a
            `keras_kd.SupervisionCache`; then `fit` joins them to the batches.
            Validation on arrays that the cache holds has all logs, on other data those
            that need labels alone.
            `None` only where there is nothing to distil: `predict` and `evaluate`
            work, `fit` asks for `distiller.teacher`.
        student: the `keras.Model` to train. If it is not built yet, it is built on
            the teacher's inputs, or on the first batch. Several students learn from
            one teacher in one pass over the data as one model of several outputs,
            `keras.Model(x, {"small": small(x), "large": large(x)})`.
        distillation_losses: one `keras.distillation.DistillationLoss`, a list, or a
            dict of names to losses; a loss of Keras (`"mse"`) may stand for one. `None`
            means `SoftTargets()`. Each is for all outputs; in a dict by the names of
            the outputs each is for its own, and one without is not distilled.
        distillation_loss_weights: a weight >= 0 for each loss, in the same form.
            `None` means 1 for each.
        alpha: weight of the distillation term, in [0, 1]. It may be assigned to at any
            time, as may a loss's `temperature`; see `keras_kd.callbacks.Anneal`.
        teacher_outputs: `"logits"` or `"probabilities"`: what the teacher gives. The
            losses always receive logits, which is what a cache holds.
        student_outputs: the same for the student.
        train_teacher: train the teacher in the same run, on
            `compile(loss=...)` alone; its training-mode predictions, held constant,
            are the supervision. One optimizer serves both; for different learning
            rates see `keras.optimizers.MultiOptimizer`.
        save_teacher: whether files made from the distiller (`.keras`,
            `.weights.h5`, backups) hold the teacher.
        teacher_precision: `None`; or `"bfloat16"` or `"int8"` for a copy of the teacher
            that costs less to run, see `keras_kd.teachers.reduced_precision`. `fit`
            begins by saying how far it agrees with the full one, on the first batch;
            `teacher_agreement` keeps that.
        augment: a layer (`keras.layers.RandomFlip()`, a `Sequential` of such) or a
            callable of tensors, without weights to train. In training it changes the
            inputs of each batch once, not the labels, and teacher and student both see
            the result. Random numbers come from a layer, or from a `SeedGenerator`
            that is an attribute of one.
        output_kind: what the outputs mean: `"categorical"` (one class out of several,
            a softmax), `"bernoulli"` (labels that are there or not, sigmoids; one unit
            tells two classes apart) or `"continuous"` (values, without a temperature);
            one for all, or a dict by the names of the student's outputs, or a list in
            their order. `None`: as the compiled loss, the last activation or the
            teacher tell; `fit` asks for it where a loss needs it and nothing tells.
        name: the model's name.

    Raises:
        ValueError: arguments that do not fit together; one message says which.

    Example:

    ```python
    distiller = keras_kd.Distiller(teacher, student, alpha=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss, metrics=["accuracy"])
    distiller.fit(x_train, y_train, validation_data=(x_test, y_test), epochs=10)
    distiller.student.save("student.keras")
    ```

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015;
    Harutyunyan et al., ICLR 2023.
    """

    # What Keras calls, and what it sets to None when something else is compiled.
    train_function: Any
    test_function: Any

    alpha = Forwarded()
    distillation_loss_weights = Forwarded()

    def __init__(
        self,
        teacher: Any,
        student: keras.Model,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        alpha: float = 1.0,
        teacher_outputs: Literal["logits", "probabilities"] = "logits",
        student_outputs: Literal["logits", "probabilities"] = "logits",
        train_teacher: bool = False,
        save_teacher: bool = True,
        teacher_precision: Literal["bfloat16", "int8"] | None = None,
        augment: Any = None,
        output_kind: OutputKind = None,
        name: str = "distiller",
    ):
        checks.check_models(teacher, student)
        check_augment(augment, teacher)
        alpha = check_fraction("alpha", alpha, zero=True, one=True)
        check_choice("teacher_outputs", teacher_outputs, FORMS)
        check_choice("student_outputs", student_outputs, FORMS)
        kinds = OutputKinds(output_kind, student)
        way = (train_teacher, save_teacher, teacher_precision)
        checks.check_trained_teacher(teacher, *way)
        losses = checks.named_losses(distillation_losses)
        weights = checks.loss_weights(distillation_loss_weights, losses)
        supervisor = None
        if teacher is not None:
            supervisor = supervisor_of(
                teacher,
                teacher_outputs,
                list(losses.values()),
                kinds.declared_for(teacher),
                precision=teacher_precision,
                trained=train_teacher,
            )
        # Inputs reach teacher and student as they are; each casts for itself.
        super().__init__(dtype=student.dtype_policy, autocast=False, name=name)
        if supervisor is not None and not student.built:
            build_on(student, input_spec(supervisor.model))
        declared = kinds.declared_for(student)
        check_last_activation(student, student_outputs, "student_outputs", declared)
        taps = checks.tapped_paths(losses.values(), "student_layer_name")
        layers = {path: find_layer(student, path) for path in taps}

        self.student = student
        self.train_teacher = train_teacher
        self.save_teacher = save_teacher
        self.augment = augment
        self.teacher_outputs = teacher_outputs
        self.student_outputs = student_outputs
        self.distillation_loss_names = list(losses)
        self.distillation_losses = list(losses.values())
        # Plain objects, which Keras does not look into.
        self._logs = DistillationLogs(losses)
        self._numbers = LiveNumbers(alpha, weights, losses)
        self._terms = DistillationTerms(layers, student_outputs, self._logs)
        self._kinds = kinds
        self._first_step = FirstStep()
        self._running = Running()
        self._supervisor: Supervisor | None = None
        if supervisor is not None:
            self._learn_from(supervisor)
            if train_teacher:
                # Only here: as a tracked attribute it is trained and saved.
                self._trained_teacher = teacher
        self._logs.build(kinds.names_of(output_spec(student)))
        self.built = student.built

    # The teacher

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "teacher":
            # To the property, past the tracking of Keras and torch: the teacher is
            # no part of this model.
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def teacher(self) -> Any:
        """The teacher. Assign another one to it; a model also during `fit`."""
        return self._supervisor.teacher if self._supervisor else None

    @teacher.setter
    def teacher(self, teacher: Any) -> None:
        checks.check_replacement(self, teacher, self._running.now)
        check_augment(self.augment, teacher)
        form, losses = self.teacher_outputs, self.distillation_losses
        declared = self._kinds.declared_for(teacher)
        self._learn_from(supervisor_of(teacher, form, losses, declared))

    @property
    def supervisor(self) -> Supervisor | None:
        """What stands for the teacher: `keras_kd.distiller.Supervisor`."""
        return self._supervisor

    @property
    def teacher_agreement(self) -> Agreement | None:
        """How far a teacher of less precision agrees with the full one."""
        return getattr(self._supervisor, "agreement", None)

    def _learn_from(self, supervisor: Supervisor) -> None:
        losses = self.distillation_losses
        checks.check_compatible(supervisor.model, self.student, losses)
        self._supervisor = supervisor
        self._kinds.forget()
        # What was compiled holds the former teacher.
        in_use = self.train_function is not None
        self.train_function = self.test_function = None
        if in_use:  # by a `fit` that runs, perhaps, and does not ask again
            self.make_train_function()

    @property
    def output_kind(self) -> Any:
        """What the outputs mean, found out or declared; `None`: not known yet."""
        return self._kinds.names or self._kinds.declared or self._kinds.assumed

    def _find_kinds(self, outputs: Any) -> list[Kind | None]:
        self._logs.build(self._kinds.names_of(outputs))
        compiled = self.loss if self.compiled else None
        losses = self.distillation_loss_names, self.distillation_losses
        named = dict(zip(*losses, strict=True))
        return self._kinds.find(outputs, compiled, self._supervisor, named)

    def train_step(self, *arguments: Any) -> Any:
        """One step of training; the batch is the last argument."""
        return self._step(super().train_step, arguments, training=True)

    def test_step(self, *arguments: Any) -> Any:
        """One step of evaluation; the batch is the last argument."""
        return self._step(super().test_step, arguments, training=False)

    def _step(self, step: Any, arguments: tuple[Any, ...], training: bool) -> Any:
        *state, data = arguments
        beside, batch = backend.split_teacher_state(data)
        if training and self.augment is not None:
            state, batch = augmented(self, state, batch)
        teacher_state, numbers = beside or (None, None)
        supervision = None
        if self._supervisor is not None:
            with backend.without_gradients():
                supervision, batch = self._supervisor.supervise(
                    batch, teacher_state, training
                )
        with running_step(supervision, numbers):
            return step(*state, batch)

    def build(self, input_shape: Any = None) -> None:
        """Nothing: the student builds itself when it is called."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The student's predictions."""
        if isinstance(inputs, Joined):  # where Keras looks at a batch before `fit`
            inputs = inputs.inputs
        with tapping(self._terms.layers.values()) as taps:
            seen = view_of(inputs, "student", self.student)
            outputs = self.student(seen, training=training)
        self._logs.build(self._kinds.names_of(outputs))
        step = current_step()
        if step is not None and self._supervisor is not None:
            step.student_taps = taps
            said = self._supervisor.accompany(inputs, bool(training))
            step.supervision = said or step.supervision
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of one step, from the supervision of that step.

        Outside a training or test step there is no supervision, and the loss is that
        of the labels and the regularisers.
        """
        held = (self._logs, self._numbers, self._terms)
        batch = (x, y, y_pred, sample_weight)
        return mixed_loss(self, *held, self._find_kinds, batch)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of `compile`, and those of the distillation."""
        return [*super().metrics, *self._logs.metrics]

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """The logs: those of the labels only with labels, of the teacher with one."""
        return logs_of_batch(self, self._logs, self._kinds, (y, y_pred, sample_weight))

    def get_metrics_result(self) -> dict[str, Any]:
        """All logs there are; metrics that no label has reached yet have none."""
        return logs_of_epoch(self, self._logs, self._kinds)

    # Training

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: Any = None,
        epochs: Any = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: Any = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: Any = 0,
        steps_per_epoch: Any = None,
        validation_steps: Any = None,
        validation_batch_size: Any = None,
        validation_freq: Any = 1,
    ) -> Any:
        """Trains the student, as `keras.Model.fit`. Labels are optional at `alpha=1`.

        `x={"teacher": ..., "student": ...}` shows them different views of the same
        examples. Strings are for models that have a `preprocessor`.

        Callbacks that write into the epoch logs (`OnlineTeacher`) run before those
        that read them, wherever they stand in the list.
        """
        arguments = dict(locals())
        del arguments["self"], arguments["__class__"]
        check_fit(arguments)
        checks.check_pairs(batch_size, self.distillation_losses)
        arguments = strings.in_fit(self, arguments)
        supervisor = self._check_ready()
        build_augment(self.augment, x)
        arguments["callbacks"] = checks.in_order(callbacks)
        arguments = supervisor.prepare_fit(arguments)
        with telling_cause(supervisor), self._running:
            return super().fit(**arguments)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates the student, as `keras.Model.evaluate`."""
        check_data(x, y, sample_weight, batch_size)
        data = strings.in_data(self, (x, y, sample_weight))
        if self._supervisor is not None and x is not None:
            data = self._supervisor.prepare_evaluate(data, batch_size)
        x, y, sample_weight = data
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The student's predictions, as `keras.Model.predict`."""
        return super().predict(strings.for_student(self, x), *args, **kwargs)

    def _check_ready(self) -> Supervisor:
        checks.check_ready(self)
        assert self._supervisor is not None
        if self.compiled:  # else Keras says so
            # Compiled again, perhaps, with a loss that says something else.
            self._kinds.forget()
            self._find_kinds(output_spec(self.student))
            self._supervisor.check()
        return self._supervisor

    def make_train_function(self, force: bool = False) -> Any:
        """Compiles the step, after a last look at what `fit` needs."""
        self._check_ready()
        self._first_step.begin()
        if self.train_function is not None and not force:
            return
        warn_of_random_layers(self.student, isinstance(self.teacher, keras.Model))
        super().make_train_function(force=force)
        step = backend.supervised_train_function(
            self, self.train_function, self._beside_batch, self._first_step.look_at
        )
        self.train_function = self._numbers.before(step, self, "train_function")

    def make_test_function(self, force: bool = False) -> Any:
        """Compiles the step of evaluation."""
        if self.test_function is not None and not force:
            return
        self._kinds.forget()  # compiled again, perhaps, as above
        self._find_kinds(output_spec(self.student))
        super().make_test_function(force=force)
        step = backend.supervised_test_function(
            self, self.test_function, self._beside_batch
        )
        self.test_function = self._numbers.before(step, self, "test_function")

    def _beside_batch(self) -> Any:
        teacher = None if self._supervisor is None else self._supervisor.state()
        return teacher, self._numbers.state()

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Exports the student, as `keras.Model.export`."""
        self.student.export(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return config_of(self, self._kinds)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Distiller":
        arguments, assumed = arguments_of(config)
        distiller = cls(**arguments)
        distiller._kinds.assumed = assumed
        return distiller

    def __dir__(self) -> list[str]:
        # Keras saves what it finds by `dir`; this is how the teacher stays out.
        names = list(super().__dir__())
        return names if self.save_teacher else [n for n in names if n != "teacher"]
