"""What the teacher sees of an example, and what the student does."""

from collections.abc import Mapping
from typing import Any, Literal

import keras

from keras_kd.forward.specs import input_spec

ROLES = ("teacher", "student")


def view_of(
    inputs: Any, role: Literal["teacher", "student"], model: keras.Model
) -> Any:
    """The inputs of one of the two: `{"teacher": ..., "student": ...}` has both.

    Args:
        inputs: of a batch; what is no such dictionary is for both.
        role: whose view.
        model: who takes it; one whose own inputs have these names takes them all.
    """
    if not isinstance(inputs, Mapping) or set(inputs) != set(ROLES):
        return inputs
    own = input_spec(model)
    if isinstance(own, Mapping) and set(own) == set(ROLES):
        return inputs
    return inputs[role]
