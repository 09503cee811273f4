"""What a distiller logs: losses by name, and fidelity to the teacher."""

from collections.abc import Mapping

import keras

from keras_kd import backend
from keras_kd.metrics import Fidelity


class DistillationLogs(backend.DistillationTrainer):
    """The metrics of a distiller, and which of them a step has something to say of.

    `keras_kd.Distiller` says by `_is_supervised` whether a teacher has spoken.
    """

    def _build_logs(self, loss_names: list[str], outputs):
        """Creates the metrics.

        Args:
            loss_names: of the distillation losses.
            outputs: the student's symbolic outputs, `None` where not known yet.
        """
        mean = keras.metrics.Mean
        self._student_loss_tracker = mean(name="student_loss")
        self._distillation_loss_tracker = mean(name="distillation_loss")
        self._teacher_loss_tracker = mean(name="teacher_loss")
        self._named_loss_trackers = (
            [mean(name=f"{name}_loss") for name in loss_names]
            if len(loss_names) > 1
            else []
        )
        self._fidelity = Fidelity(name="fidelity")
        self._output_fidelities: list[keras.metrics.Metric] = []
        if outputs is not None:
            self._build_output_fidelities(outputs)

    def _log(self, tracker, value, rows):
        # A loss carries 1 / replicas, so that the replicas' gradients add up to that
        # of the mean. What is logged does not.
        tracker.update_state(value * backend.replica_count(), sample_weight=rows)

    def _build_output_fidelities(self, outputs):
        leaves = keras.tree.flatten(outputs)
        if len(leaves) > 1:
            names = list(outputs) if isinstance(outputs, Mapping) else None
            names = names or getattr(self.student, "output_names", None)
            if names is None or len(names) != len(leaves):
                names = [f"output_{i}" for i in range(len(leaves))]
            if isinstance(outputs, Mapping):
                names = sorted(names)  # as `keras.tree.flatten` orders them
            self._output_fidelities = [Fidelity(f"{n}_fidelity") for n in names]

    def _log_fidelity(self, teacher_logits, student_logits):
        pairs = list(
            zip(
                keras.tree.flatten(teacher_logits),
                keras.tree.flatten(student_logits),
                strict=True,
            )
        )
        for i, (teacher, student) in enumerate(pairs):
            if tuple(teacher.shape[1:]) == tuple(student.shape[1:]):
                self._fidelity.update_state(teacher, student)
                if self._output_fidelities:
                    self._output_fidelities[i].update_state(teacher, student)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The logs: those of the labels only with labels, of the teacher with one."""
        supervised = self._is_supervised()
        left_out = []
        if y is None:
            left_out += [self._compile_metrics, *self._compile_loss_metrics()]
        elif self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred, sample_weight)
        if y is None or self._compile_loss is None:
            left_out.append(self._student_loss_tracker)
        if not supervised:
            left_out += [self._distillation_loss_tracker, self._fidelity]
            left_out += [*self._named_loss_trackers, *self._output_fidelities]
        if not (supervised and self.train_teacher):
            left_out.append(self._teacher_loss_tracker)
        return self._results(left_out)

    def get_metrics_result(self):
        """All logs there are; metrics that no label has reached yet have none."""
        metrics = self._compile_metrics
        return self._results([] if metrics is None or metrics.built else [metrics])

    def _results(self, left_out):
        logs = {}
        for metric in self.metrics:
            if any(metric is m for m in left_out):
                continue
            result = metric.result()
            logs.update(result if isinstance(result, dict) else {metric.name: result})
        return logs

    def _compile_loss_metrics(self):
        return self._compile_loss.metrics if self._compile_loss is not None else []
