"""Distiller: a student, a teacher and distillation losses as one `keras.Model`."""

import contextlib
import contextvars
from typing import Any

import keras
from keras import ops

from keras_kd.arguments import check_choice
from keras_kd.distiller.arguments import (
    check_alpha,
    check_labels,
    check_models,
    check_same_outputs,
    for_each_student,
    loss_weights,
    named_losses,
)
from keras_kd.distiller.logs import DistillationLogs
from keras_kd.distiller.loss import distillation_term
from keras_kd.forward import Taps, find_layer, input_spec, output_spec, tapping
from keras_kd.outputs.form import (
    KINDS,
    at_least_float32,
    check_last_activation,
    to_logits,
)
from keras_kd.teachers.cache import CachedTeacher, Joined
from keras_kd.teachers.cache.joined_data import (
    JoinedData,
    joined_if_known,
    split_validation,
)
from keras_kd.teachers.live import LiveTeacher, Supervision
from keras_kd.teachers.reduced_precision import (
    Agreement,
    agreement,
    cheaper,
    first_batch,
)


class _Step:
    """What one training or test step hands from the forward pass to the loss."""

    def __init__(self, supervision: Supervision | None, training: bool):
        self.supervision = supervision
        self.training = training
        self.student_taps: Taps | None = None


class _Untracked:
    """Keeps a value from Keras's attribute tracking."""

    def __init__(self, value):
        self.value = value


# One step per thread: the replicas of a tf.distribute strategy trace in threads of
# their own.
_current_step: contextvars.ContextVar[_Step | None] = contextvars.ContextVar(
    "distillation_step", default=None
)


@keras.saving.register_keras_serializable(package="keras_kd")
class Distiller(DistillationLogs):
    r"""Trains a student on a teacher's predictions with `compile()` and `fit()`.

    The loss is `alpha * distillation + (1 - alpha) * student_loss`, plus the student's
    own regularisers; `student_loss` is what `compile(loss=...)` says of the labels.
    With `alpha=1`, the default, no labels are needed.

    The teacher is frozen: it runs in inference mode, outside the differentiated part,
    and after `fit` it is bit for bit what it was. It is no sublayer of the distiller;
    `distiller.student` is an ordinary model that saves, exports and serves alone.

    `fit` logs `loss`, `student_loss` (where labels and a compiled loss are given),
    `distillation_loss`, `fidelity` (top-1 agreement with the teacher; for several
    outputs their mean, and `<output>_fidelity` for each), and `<name>_loss` for each
    of several distillation losses.

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
            dict of names to losses. `None` means `keras_kd.losses.SoftTargets()`.
        distillation_loss_weights: a weight >= 0 for each loss, in the same form.
            `None` means 1 for each.
        alpha: weight of the distillation term, in [0, 1].
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
        name: the model's name.

    Raises:
        ValueError: arguments that do not fit together; one message says which.

    Example:

    ```python
    distiller = keras_kd.Distiller(teacher, student, alpha=0.9)
    distiller.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    distiller.fit(x_train, y_train, validation_data=(x_test, y_test), epochs=10)
    distiller.student.save("student.keras")
    ```

    Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
    2015; Harutyunyan et al., ICLR 2023.
    """

    def __init__(
        self,
        teacher,
        student,
        distillation_losses=None,
        distillation_loss_weights=None,
        alpha=1.0,
        teacher_outputs="logits",
        student_outputs="logits",
        train_teacher=False,
        save_teacher=True,
        teacher_precision=None,
        name="distiller",
    ):
        check_models(teacher, student)
        check_alpha(alpha)
        check_choice("teacher_outputs", teacher_outputs, KINDS)
        check_choice("student_outputs", student_outputs, KINDS)
        if train_teacher and not (isinstance(teacher, keras.Model) and save_teacher):
            raise ValueError(
                "`train_teacher=True` needs a teacher that is also saved, or the run "
                f"could not go on. Received: teacher={teacher}, "
                f"save_teacher={save_teacher}"
            )
        full_teacher = None
        if teacher_precision is not None:
            if train_teacher or not isinstance(teacher, keras.Model):
                raise ValueError(
                    "`teacher_precision` is for a frozen teacher that runs. Received: "
                    f"teacher_precision={teacher_precision!r}, teacher={teacher}, "
                    f"train_teacher={train_teacher}"
                )
            full_teacher, teacher = teacher, cheaper(teacher, teacher_precision)
        losses = named_losses(distillation_losses)
        weights = loss_weights(distillation_loss_weights, losses)
        supervisor = (
            None
            if teacher is None
            else _checked_teacher(teacher, teacher_outputs, losses.values())
        )
        # Inputs reach teacher and student as they are; each casts for itself.
        super().__init__(dtype=student.dtype_policy, autocast=False, name=name)
        known = supervisor and supervisor.model
        if not student.built and (inputs := input_spec(known)) is not None:
            student(
                keras.tree.map_structure(
                    lambda t: keras.KerasTensor(t.shape, t.dtype), inputs
                )
            )
        check_last_activation(student, student_outputs, "student_outputs")
        student_layers = _layers(student, losses.values(), "student_layer_name")

        self.student = student
        self.alpha = float(alpha)
        self.train_teacher = train_teacher
        self.save_teacher = save_teacher
        self.teacher_outputs = teacher_outputs
        self.student_outputs = student_outputs
        self.distillation_loss_names = list(losses)
        self.distillation_losses = list(losses.values())
        self.distillation_loss_weights = weights
        self._student_layers = _Untracked(student_layers)
        self._full_teacher = _Untracked(full_teacher)
        self.teacher_agreement: Agreement | None = None
        """How far a teacher of less precision agrees with the full one."""
        self._supervisor: Any = None
        if supervisor is not None:
            self._learn_from(supervisor)
            if train_teacher:
                # Only here: as a tracked attribute it is trained and saved.
                self._trained_teacher = teacher

        self._build_logs(list(losses), output_spec(student))
        self.built = student.built

    # The teacher

    def __setattr__(self, name, value):
        if name == "teacher":
            # To the property, past the tracking of Keras and torch: the teacher is
            # no part of this model.
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def teacher(self):
        """The teacher. Assign to it to distil from another one."""
        return self._supervisor.teacher if self._supervisor else None

    @teacher.setter
    def teacher(self, teacher):
        check_models(teacher, self.student)
        if teacher is None:
            raise ValueError("`teacher` must be a teacher. Received: teacher=None")
        if self.train_teacher and self._supervisor is not None:
            raise ValueError("A teacher that is trained cannot be replaced.")
        self._learn_from(
            _checked_teacher(teacher, self.teacher_outputs, self.distillation_losses)
        )

    def _learn_from(self, supervisor: LiveTeacher | CachedTeacher) -> None:
        teacher, student = supervisor.model, self.student
        losses = self.distillation_losses
        check_same_outputs(output_spec(teacher), output_spec(student), losses)
        for loss in losses:
            loss.validate_model_compatibility(teacher, student)
        self._supervisor = supervisor
        # What was compiled holds the former teacher.
        self.train_function = None
        self.test_function = None

    def teacher_values(self):
        """The state of a frozen teacher, `None` without one."""
        if self._supervisor is None or self.train_teacher:
            return None
        return self._supervisor.values()

    def supervise(self, batch, values=None) -> tuple[Supervision | None, Any]:
        """What the frozen teacher says of a batch `(x, y, sample_weight)`.

        Args:
            batch: as `fit` draws it.
            values: the teacher's state, where it is passed beside the batch.

        Returns:
            The supervision, if there is any, and the batch without it.
        """
        if self._supervisor is None or self.train_teacher:
            return None, batch
        return self._supervisor.supervise_batch(batch, values)

    @contextlib.contextmanager
    def distillation_step(self, supervision, training):
        """Makes `supervision` known to `call` and `compute_loss` inside the block."""
        token = _current_step.set(_Step(supervision, training))
        try:
            yield
        finally:
            _current_step.reset(token)

    # The forward pass and the loss

    def build(self, input_shape=None):
        # The student builds itself when it is called.
        self.built = True

    def call(self, inputs, training=None):
        """The student's predictions."""
        if isinstance(inputs, Joined):  # where Keras looks at a batch before `fit`
            inputs = inputs.inputs
        with tapping(self._student_layers.value.values()) as taps:
            outputs = self.student(inputs, training=training)
        if not self._output_fidelities:
            self._build_output_fidelities(outputs)
        step = _current_step.get()
        if step is not None:
            step.student_taps = taps
            if self.train_teacher:
                step.supervision = self._supervise_training(inputs, training)
        return outputs

    def _supervise_training(self, inputs, training) -> Supervision:
        live = self._supervisor
        with tapping(live.layers.values()) as taps:
            outputs = live.model(inputs, training=training)
        return Supervision(outputs, taps)

    def _is_supervised(self):
        step = _current_step.get()
        return step is not None and step.supervision is not None

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The loss of one step, from the supervision of that step.

        Outside a training or test step there is no supervision, and the loss is that
        of the labels and the regularisers.
        """
        step = _current_step.get() or _Step(None, training)
        supervision = step.supervision
        rows = ops.shape(keras.tree.flatten(x if x is not None else y_pred)[0])[0]
        student_loss = self._hard_label_loss(y, y_pred, sample_weight)
        if student_loss is not None:
            self._log(self._student_loss_tracker, student_loss, rows)

        if supervision is None:
            if step.training and isinstance(self._supervisor, CachedTeacher):
                raise ValueError(
                    "A cached teacher supervises what `fit` draws. Received: a batch "
                    "from elsewhere, as `train_on_batch` takes it. Use `fit`, or a "
                    "teacher that runs."
                )
            terms = [] if student_loss is None else [student_loss]
        else:
            terms = []
            if self.alpha < 1.0:
                if student_loss is None:
                    raise ValueError(
                        f"alpha={self.alpha} mixes in the loss of the labels, which "
                        "needs `compile(loss=...)` and labels in every batch. "
                        f"Received: loss={self.loss}, labels "
                        f"{'missing' if y is None else 'given'}. For distillation "
                        "without labels pass alpha=1."
                    )
                terms.append((1.0 - self.alpha) * student_loss)
            if self.train_teacher:
                terms.append(self._teacher_loss(y, supervision, sample_weight, rows))
                logits = to_logits(supervision.outputs, self.teacher_outputs)
                supervision = supervision._replace(
                    outputs=keras.tree.map_structure(ops.stop_gradient, logits)
                )
            distillation = self._distillation_loss(
                supervision, step.student_taps, y, y_pred, sample_weight, rows
            )
            if self.alpha > 0.0:
                terms.append(self.alpha * distillation)
        terms.extend(self._aggregate_additional_loss(loss) for loss in self.losses)
        return sum(terms) if terms else ops.zeros(())

    def _hard_label_loss(self, y, outputs, sample_weight):
        if self._compile_loss is None or y is None:
            return None
        return self._compile_loss(y, outputs, sample_weight)

    def _teacher_loss(self, y, supervision, sample_weight, rows):
        if self._compile_loss is None or y is None:
            raise ValueError(
                "`train_teacher=True` trains the teacher on labels: it needs "
                "`compile(loss=...)` and labels in every batch. Received: "
                f"loss={self.loss}, labels {'missing' if y is None else 'given'}."
            )
        # A compiled loss of its own: that of the student keeps a record per output.
        teacher_loss = type(self._compile_loss)(
            self.loss,
            self._compile_loss._user_loss_weights,
            output_names=getattr(self.teacher, "output_names", None),
        )
        loss = teacher_loss(y, supervision.outputs, sample_weight)
        self._log(self._teacher_loss_tracker, loss, rows)
        return loss

    def _distillation_loss(self, supervision, taps, y, y_pred, sample_weight, rows):
        """The weighted sum of all distillation losses, each logged by its name."""
        teacher_logits = for_each_student(supervision.outputs, y_pred)
        check_same_outputs(teacher_logits, y_pred, self.distillation_losses)
        student_logits = to_logits(y_pred, self.student_outputs)
        self._log_fidelity(teacher_logits, student_logits)
        values = []
        for i, loss in enumerate(self.distillation_losses):
            teacher_side = _side(
                getattr(loss, "teacher_layer_name", None),
                teacher_logits,
                supervision.taps,
                self._supervisor.layers,
            )
            student_side = _side(
                getattr(loss, "student_layer_name", None),
                student_logits,
                taps,
                self._student_layers.value,
            )
            if self.train_teacher:
                teacher_side = keras.tree.map_structure(ops.stop_gradient, teacher_side)
            value = distillation_term(
                loss, teacher_side, student_side, y, sample_weight
            )
            if self._named_loss_trackers:
                self._log(self._named_loss_trackers[i], value, rows)
            values.append(self.distillation_loss_weights[i] * value)
        total = sum(values)
        self._log(self._distillation_loss_tracker, total, rows)
        return total

    # Training

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        """Trains the student, as `keras.Model.fit`. Labels are optional at `alpha=1`.

        Callbacks that write into the epoch logs (`OnlineTeacher`) run before those
        that read them, wherever they stand in the list.
        """
        check_labels(class_weight, x, y)
        if self._full_teacher.value is not None and self.teacher_agreement is None:
            self._report_agreement(x, verbose)
        if isinstance(callbacks, keras.callbacks.Callback):
            callbacks = [callbacks]
        if isinstance(callbacks, list | tuple):
            callbacks = sorted(
                callbacks, key=lambda c: not getattr(c, "writes_epoch_logs", False)
            )
        arguments: dict[str, Any] = {
            "validation_data": validation_data,
            "validation_batch_size": validation_batch_size,
            "steps_per_epoch": steps_per_epoch,
        }
        data: dict[str, Any] = {
            "y": y,
            "sample_weight": sample_weight,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "class_weight": class_weight,
        }
        cached = isinstance(self._supervisor, CachedTeacher)
        if cached:
            self._supervisor.begin()
            if validation_split and validation_data is None:
                (x, *rest), arguments["validation_data"] = split_validation(
                    (x, y, sample_weight), validation_split
                )
                data["y"], data["sample_weight"] = rest
            x = JoinedData(
                self._supervisor, True, x, steps_per_epoch=steps_per_epoch, **data
            )
            batch_size = validation_batch_size or batch_size
            arguments["validation_batch_size"] = batch_size
            if (known := arguments["validation_data"]) is not None:
                arguments["validation_data"] = joined_if_known(
                    self._supervisor, known, batch_size
                )
        else:
            arguments |= data | {"validation_split": validation_split}
        try:
            return super().fit(
                x=x,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                initial_epoch=initial_epoch,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
                **arguments,
            )
        except Exception as error:
            failure = self._supervisor.failure if cached else None
            if failure is None or failure is error:
                raise
            raise failure from None

    def _report_agreement(self, x, verbose):
        inputs = first_batch(x)
        if inputs is None:
            return
        found = agreement(
            self._full_teacher.value, self.teacher, inputs, self.teacher_outputs
        )
        self.teacher_agreement = found
        # Only now, and once: a trajectory may change the teacher.
        self._full_teacher = _Untracked(None)
        if verbose != 0:
            print(
                f"The cheaper teacher agrees with the full one on {found.top1:.1%} of "
                f"{found.examples} examples; divergence {found.divergence:.2g} nats."
            )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        **kwargs,
    ):
        """Evaluates the student, as `keras.Model.evaluate`."""
        if isinstance(self._supervisor, CachedTeacher) and x is not None:
            data = joined_if_known(self._supervisor, (x, y, sample_weight), batch_size)
            if isinstance(data, JoinedData):
                x, y, sample_weight = data, None, None
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def make_train_function(self, force=False):
        """Compiles the step, after a last look at what `fit` needs."""
        if self._supervisor is None:
            raise ValueError(
                "`fit` needs a teacher. Received: teacher=None (it was not saved with "
                "this distiller). Assign one: `distiller.teacher = teacher`."
            )
        if self._compile_loss is None and (self.alpha < 1.0 or self.train_teacher):
            raise ValueError(
                f"alpha={self.alpha}, train_teacher={self.train_teacher} needs a loss "
                "of the labels. Received: compile(loss=None)."
            )
        self._supervisor.check_finite()
        super().make_train_function(force=force)
        self._first_execution = True

    def check_first_execution(self, logs) -> None:
        """Refuses NaN after the first step of a `fit`, for the cost of one look.

        Raises:
            ValueError: the outputs of the teacher, or of the student, are not finite.
        """
        if not self._first_execution:
            return
        self._first_execution = False
        if not bool(ops.isfinite(ops.convert_to_tensor(logs["distillation_loss"]))):
            culprit = (
                "the teacher's outputs are not finite"
                if not bool(ops.isfinite(ops.convert_to_tensor(logs["fidelity"])))
                else "the student's outputs or a distillation loss are not finite"
            )
            raise ValueError(
                f"The distillation loss is {float(logs['distillation_loss'])} after "
                f"the first step: {culprit}. Check the inputs (scaled as the teacher "
                "was trained?) and the learning rate."
            )

    # Saving

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "teacher": serialize(self.teacher) if self.save_teacher else None,
            "student": serialize(self.student),
            "distillation_losses": {
                name: serialize(loss)
                for name, loss in zip(
                    self.distillation_loss_names, self.distillation_losses, strict=True
                )
            },
            "distillation_loss_weights": self.distillation_loss_weights,
            "alpha": self.alpha,
            "teacher_outputs": self.teacher_outputs,
            "student_outputs": self.student_outputs,
            "train_teacher": self.train_teacher,
            "save_teacher": self.save_teacher,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        deserialize = keras.saving.deserialize_keras_object
        for key in ("teacher", "student"):
            config[key] = deserialize(config[key])
        config["distillation_losses"] = {
            name: deserialize(loss)
            for name, loss in config["distillation_losses"].items()
        }
        weights = config["distillation_loss_weights"]
        config["distillation_loss_weights"] = dict(
            zip(config["distillation_losses"], weights, strict=True)
        )
        return cls(**config)

    def __dir__(self):
        # Keras saves what it finds by `dir`; this is how the teacher stays out.
        names = super().__dir__()
        return names if self.save_teacher else [n for n in names if n != "teacher"]


def _checked_teacher(teacher, outputs: str, losses) -> LiveTeacher | CachedTeacher:
    """A teacher that is ready, once all is checked that can be without a student."""
    if not isinstance(teacher, keras.Model):
        check_choice("teacher_outputs", outputs, ("logits",))
        return CachedTeacher(teacher, _paths(losses, "teacher_layer_name"))
    check_last_activation(teacher, outputs, "teacher_outputs")
    live = LiveTeacher(teacher, outputs, _layers(teacher, losses, "teacher_layer_name"))
    live.check_finite()
    return live


def _paths(losses, attribute: str) -> list[str]:
    """The paths of the layers that `losses` tap."""
    paths = [getattr(loss, attribute, None) for loss in losses]
    return [path for path in dict.fromkeys(paths) if path is not None]


def _layers(model, losses, attribute: str) -> dict[str, keras.layers.Layer]:
    """The layers that `losses` tap in `model`, by their paths."""
    return {path: find_layer(model, path) for path in _paths(losses, attribute)}


def _side(path, logits, taps, layers):
    """What a loss compares: a tapped layer's output, or the final logits."""
    if path is None:
        return logits
    return keras.tree.map_structure(at_least_float32, taps.output(layers[path]))
