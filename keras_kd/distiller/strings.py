"""Strings on their way into a distiller: teacher and student each read them."""

from typing import Any

import keras

from keras_kd.forward import as_numbers


def in_fit(distiller: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fit`, with numbers instead of strings."""
    names = ("x", "y", "sample_weight")
    data = in_data(distiller, tuple(arguments[name] for name in names))
    arguments = {**arguments, **dict(zip(names, data, strict=True))}
    known = arguments["validation_data"]
    if isinstance(known, tuple | list):
        data = in_data(distiller, keras.utils.unpack_x_y_sample_weight(tuple(known)))
        known = keras.utils.pack_x_y_sample_weight(*data)
    elif known is not None:
        known, _, _ = in_data(distiller, (known, None, None))
    return {**arguments, "validation_data": known}


def in_data(distiller: Any, data: tuple[Any, ...]) -> tuple[Any, ...]:
    """`(x, y, sample_weight)` likewise, `x` for both, or `{"teacher", "student"}`."""
    models = {"student": distiller.student}
    if isinstance(distiller.teacher, keras.Model):  # and no predictions in files
        models = {"teacher": distiller.teacher, **models}
    return as_numbers(data, models)


def for_student(distiller: Any, x: Any) -> Any:
    """Inputs of `predict` likewise: the student alone sees them."""
    return as_numbers((x, None, None), {"student": distiller.student})[0]
