"""What an output means: a class, a set of labels, or a value; one kind a file."""

from keras_kd.outputs import bernoulli, categorical, continuous
from keras_kd.outputs.activation import check_last_activation, last_activations
from keras_kd.outputs.classes import (
    class_logits,
    class_margin,
    decided_class,
    label_targets,
    number_of_classes,
)
from keras_kd.outputs.form import FORMS, Form, at_least_float32, to_logits
from keras_kd.outputs.kind_inference import (
    check_output_kind,
    declared_kinds,
    function_of_loss,
    inferred_kinds,
    output_names,
)
from keras_kd.outputs.kinds import (
    KINDS,
    Kind,
    KindName,
    OutputKind,
    kind_named,
    kind_of,
    kind_of_classes,
    name_of,
)
from keras_kd.outputs.positions import positional_weights, valid_positions
from keras_kd.outputs.softened import (
    BANNED,
    divergence_after,
    log_sum_exp_change,
    without_banned,
)

__all__ = [
    "BANNED",
    "FORMS",
    "KINDS",
    "Form",
    "Kind",
    "KindName",
    "OutputKind",
    "at_least_float32",
    "bernoulli",
    "categorical",
    "check_last_activation",
    "check_output_kind",
    "class_logits",
    "class_margin",
    "continuous",
    "decided_class",
    "declared_kinds",
    "divergence_after",
    "function_of_loss",
    "inferred_kinds",
    "kind_named",
    "kind_of",
    "kind_of_classes",
    "label_targets",
    "last_activations",
    "log_sum_exp_change",
    "name_of",
    "number_of_classes",
    "output_names",
    "positional_weights",
    "to_logits",
    "valid_positions",
    "without_banned",
]
