"""How a distiller is written into a config, and read from one."""

from typing import Any

import keras


def config_of(distiller: Any) -> dict[str, Any]:
    """The arguments of a distiller's constructor, as a file holds them."""
    serialize = keras.saving.serialize_keras_object
    names = distiller.distillation_loss_names
    return {
        "teacher": serialize(distiller.teacher) if distiller.save_teacher else None,
        "student": serialize(distiller.student),
        "distillation_losses": {
            name: serialize(loss)
            for name, loss in zip(names, distiller.distillation_losses, strict=True)
        },
        "distillation_loss_weights": distiller.distillation_loss_weights,
        "alpha": distiller.alpha,
        "teacher_outputs": distiller.teacher_outputs,
        "student_outputs": distiller.student_outputs,
        "train_teacher": distiller.train_teacher,
        "save_teacher": distiller.save_teacher,
        "output_kind": distiller.output_kind,
        "name": distiller.name,
    }


def arguments_of(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor, from a config."""
    arguments = dict(config)
    deserialize = keras.saving.deserialize_keras_object
    for key in ("teacher", "student"):
        arguments[key] = deserialize(arguments[key])
    losses = arguments["distillation_losses"]
    arguments["distillation_losses"] = {
        name: deserialize(loss) for name, loss in losses.items()
    }
    weights = arguments["distillation_loss_weights"]
    arguments["distillation_loss_weights"] = dict(zip(losses, weights, strict=True))
    return arguments
