"""Distiller: a student, a teacher and distillation losses as one `keras.Model`."""

from typing import Any, Literal

import keras
from keras import ops

from keras_kd import backend
from keras_kd.arguments import check_choice, check_fraction
from keras_kd.distiller.arguments import (
    check_labels,
    check_models,
    check_ready,
    check_same_outputs,
    check_trained_teacher,
    for_each_student,
    loss_weights,
    named_losses,
    tapped_paths,
)
from keras_kd.distiller.first_step import FirstStep
from keras_kd.distiller.logs import DistillationLogs, results
from keras_kd.distiller.loss import (
    DistillationTerms,
    Side,
    check_labels_are_there,
)
from keras_kd.distiller.output_kinds import OutputKinds, declared_for
from keras_kd.distiller.saving import arguments_of, config_of
from keras_kd.distiller.step import Step, current_step, running_step
from keras_kd.distiller.supervisor import Supervisor, supervisor_of
from keras_kd.forward import build_on, find_layer, input_spec, output_spec, tapping
from keras_kd.keras_internals import (
    additional_loss,
    another_compiled_loss,
    compiled_loss,
    compiled_metrics,
)
from keras_kd.outputs import (
    FORMS,
    Kind,
    OutputKind,
    check_last_activation,
    check_output_kind,
    name_of,
    output_names,
    to_logits,
)
from keras_kd.teachers.cache import Joined
from keras_kd.teachers.reduced_precision import Agreement


@keras.saving.register_keras_serializable(package="keras_kd")
class Distiller(keras.Model):
    # What Keras calls, and what it sets to None when something else is compiled.
    train_function: Any
    test_function: Any

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
        output_kind: OutputKind = None,
        name: str = "distiller",
    ):
        check_models(teacher, student)
        alpha = check_fraction("alpha", alpha, zero=True, one=True)
        check_choice("teacher_outputs", teacher_outputs, FORMS)
        check_choice("student_outputs", student_outputs, FORMS)
        output_kind = check_output_kind(output_kind)
        check_trained_teacher(teacher, train_teacher, save_teacher, teacher_precision)
        losses = named_losses(distillation_losses)
        weights = loss_weights(distillation_loss_weights, losses)
        supervisor = None
        if teacher is not None:
            supervisor = supervisor_of(
                teacher,
                teacher_outputs,
                list(losses.values()),
                declared_for(teacher, output_kind),
                precision=teacher_precision,
                trained=train_teacher,
            )
        # Inputs reach teacher and student as they are; each casts for itself.
        super().__init__(dtype=student.dtype_policy, autocast=False, name=name)
        if supervisor is not None and not student.built:
            build_on(student, input_spec(supervisor.model))
        check_last_activation(
            student,
            student_outputs,
            "student_outputs",
            declared_for(student, output_kind),
        )
        paths = tapped_paths(losses.values(), "student_layer_name")
        student_layers = {path: find_layer(student, path) for path in paths}

        self.student = student
        self.alpha = alpha
        self.train_teacher = train_teacher
        self.save_teacher = save_teacher
        self.teacher_outputs = teacher_outputs
        self.student_outputs = student_outputs
        self.distillation_loss_names = list(losses)
        self.distillation_losses = list(losses.values())
        self.distillation_loss_weights = weights
        # Plain objects, which Keras does not look into.
        self._terms = DistillationTerms(list(losses.values()), weights, student_layers)
        self._logs = DistillationLogs(list(losses))
        self._kinds = OutputKinds(output_kind)
        self._first_step = FirstStep()
        self._supervisor: Supervisor | None = None
        if supervisor is not None:
            self._learn_from(supervisor)
            if train_teacher:
                # Only here: as a tracked attribute it is trained and saved.
                self._trained_teacher = teacher
        if (outputs := output_spec(student)) is not None:
            self._logs.build(output_names(student, outputs))
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
        """The teacher. Assign to it to distil from another one."""
        return self._supervisor.teacher if self._supervisor else None

    @teacher.setter
    def teacher(self, teacher: Any) -> None:
        check_models(teacher, self.student)
        if teacher is None:
            raise ValueError("`teacher` must be a teacher. Received: teacher=None")
        if self.train_teacher and self._supervisor is not None:
            raise ValueError("A teacher that is trained cannot be replaced.")
        form, losses = self.teacher_outputs, self.distillation_losses
        declared = declared_for(teacher, self._kinds.declared)
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
        teacher, student = supervisor.model, self.student
        losses = self.distillation_losses
        check_same_outputs(output_spec(teacher), output_spec(student), losses)
        for loss in losses:
            loss.validate_model_compatibility(teacher, student)
        self._supervisor = supervisor
        # What was compiled holds the former teacher.
        self.train_function = None
        self.test_function = None
        self._kinds.forget()

    # What the outputs mean

    @property
    def output_kind(self) -> Any:
        """What the outputs mean, declared or found out; `None`: not known yet."""
        known = self._kinds.names or [None]
        # What a teacher that is not saved has told is not to be lost.
        return self._kinds.declared or (None if None in known else known)

    def _find_kinds(self, outputs: Any) -> list[Kind | None]:
        compiled = self.loss if self.compiled else None
        kinds = self._kinds.find(
            self.student, outputs, compiled, self._supervisor, self.distillation_losses
        )
        if outputs is not None:
            self._logs.build(output_names(self.student, outputs))
        return kinds

    # The step: supervision, forward pass, loss, logs

    def train_step(self, *arguments: Any) -> Any:
        """One step of training; the batch is the last argument."""
        return self._step(super().train_step, arguments, training=True)

    def test_step(self, *arguments: Any) -> Any:
        """One step of evaluation; the batch is the last argument."""
        return self._step(super().test_step, arguments, training=False)

    def _step(self, step: Any, arguments: tuple[Any, ...], training: bool) -> Any:
        *state, data = arguments
        teacher_state, batch = backend.split_teacher_state(data)
        supervision = None
        if self._supervisor is not None:
            with backend.without_gradients():
                supervision, batch = self._supervisor.supervise(
                    batch, teacher_state, training
                )
        with running_step(supervision, training):
            return step(*state, batch)

    def build(self, input_shape: Any = None) -> None:
        """Nothing: the student builds itself when it is called."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The student's predictions."""
        if isinstance(inputs, Joined):  # where Keras looks at a batch before `fit`
            inputs = inputs.inputs
        with tapping(self._terms.layers.values()) as taps:
            outputs = self.student(inputs, training=training)
        self._logs.build(output_names(self.student, outputs))
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
        step = current_step() or Step(None, training)
        rows = ops.shape(keras.tree.flatten(x if x is not None else y_pred)[0])[0]
        labels = compiled_loss(self)
        student_loss: Any = None
        if labels is not None and y is not None:
            student_loss = labels(y, y_pred, sample_weight)
        if student_loss is not None:
            self._logs.record(self._logs.student_loss, student_loss, rows)
        terms = []
        if step.supervision is None:
            terms += [] if student_loss is None else [student_loss]
        else:
            if self.alpha < 1.0:
                check_labels_are_there(self, y)
                terms.append((1.0 - self.alpha) * student_loss)
            if self.train_teacher:
                terms.append(self._loss_of_teacher(step, y, sample_weight, rows))
            distillation = self._distillation_loss(step, y, y_pred, sample_weight, rows)
            if self.alpha > 0.0:
                terms.append(self.alpha * distillation)
        terms.extend(additional_loss(self, loss) for loss in self.losses)
        return sum(terms) if terms else ops.zeros(())

    def _loss_of_teacher(
        self, step: Step, y: Any, sample_weight: Any, rows: Any
    ) -> Any:
        check_labels_are_there(self, y)
        assert step.supervision is not None
        names = getattr(self.teacher, "output_names", None)
        compiled = another_compiled_loss(self, names)
        loss = compiled(y, step.supervision.outputs, sample_weight)
        self._logs.record(self._logs.teacher_loss, loss, rows)
        return loss

    def _distillation_loss(
        self, step: Step, y: Any, y_pred: Any, sample_weight: Any, rows: Any
    ) -> Any:
        """The weighted sum of all distillation losses, each logged by its name."""
        supervisor, supervision = self._supervisor, step.supervision
        assert supervisor is not None
        assert supervision is not None
        said = for_each_student(supervision.outputs, y_pred)
        check_same_outputs(said, y_pred, self.distillation_losses)
        kinds = self._find_kinds(y_pred)
        comparable = len(keras.tree.flatten(said)) == len(kinds)
        teacher_logits = to_logits(said, supervisor.form, kinds if comparable else None)
        student_logits = to_logits(y_pred, self.student_outputs, kinds)
        if comparable:
            self._logs.record_fidelity(teacher_logits, student_logits, kinds)
        total = self._terms.total(
            Side(teacher_logits, supervision.taps, supervisor.layers),
            Side(student_logits, step.student_taps, self._terms.layers),
            y,
            sample_weight,
            keras.tree.pack_sequence_as(y_pred, [name_of(k) for k in kinds]),
            lambda i, value: self._logs.record_named(i, value, rows),
        )
        self._logs.record(self._logs.distillation_loss, total, rows)
        return total

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of `compile`, and those of the distillation."""
        return [*super().metrics, *self._logs.metrics]

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """The logs: those of the labels only with labels, of the teacher with one."""
        step, metrics = current_step(), compiled_metrics(self)
        supervised = step is not None and step.supervision is not None
        silent = self._logs.silent(self._kinds.found or [], supervised)
        if y is None:
            silent += [metrics, *getattr(compiled_loss(self), "metrics", [])]
        elif metrics is not None:
            metrics.update_state(y, y_pred, sample_weight)
        if y is None or compiled_loss(self) is None:
            silent.append(self._logs.student_loss)
        if not (supervised and self.train_teacher):
            silent.append(self._logs.teacher_loss)
        return results(self.metrics, silent)

    def get_metrics_result(self) -> dict[str, Any]:
        """All logs there are; metrics that no label has reached yet have none."""
        metrics = compiled_metrics(self)
        silent = self._logs.silent(self._kinds.found or [], supervised=True)
        if metrics is not None and not metrics.built:
            silent.append(metrics)
        return results(self.metrics, silent)

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

        Callbacks that write into the epoch logs (`OnlineTeacher`) run before those
        that read them, wherever they stand in the list.
        """
        arguments = dict(locals())
        del arguments["self"], arguments["__class__"]
        check_labels(class_weight, x, y)
        supervisor = self._check_ready()
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        if isinstance(callbacks, list | tuple):
            arguments["callbacks"] = sorted(
                callbacks, key=lambda c: not getattr(c, "writes_epoch_logs", False)
            )
        arguments = supervisor.prepare_fit(arguments)
        try:
            return super().fit(**arguments)
        except Exception as error:
            cause = supervisor.cause_of(error)
            if cause is error:
                raise
            raise cause from None

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
        if self._supervisor is not None and x is not None:
            x, y, sample_weight = self._supervisor.prepare_evaluate(
                (x, y, sample_weight), batch_size
            )
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def _check_ready(self) -> Supervisor:
        check_ready(self)
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
        super().make_train_function(force=force)
        self.train_function = backend.supervised_train_function(
            self, self.train_function, self._teacher_state, self._first_step.look_at
        )

    def make_test_function(self, force: bool = False) -> Any:
        """Compiles the step of evaluation."""
        if self.test_function is not None and not force:
            return
        self._find_kinds(output_spec(self.student))
        super().make_test_function(force=force)
        self.test_function = backend.supervised_test_function(
            self.test_function, self._teacher_state
        )

    def _teacher_state(self) -> Any:
        return None if self._supervisor is None else self._supervisor.state()

    # Saving

    def get_config(self) -> dict[str, Any]:
        return config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Distiller":
        distiller = cls(**arguments_of(config))
        # In files of version 0.1 all outputs tell classes apart.
        distiller._kinds.of_classes = "output_kind" not in config
        return distiller

    def __dir__(self) -> list[str]:
        # Keras saves what it finds by `dir`; this is how the teacher stays out.
        names = list(super().__dir__())
        return names if self.save_teacher else [n for n in names if n != "teacher"]
