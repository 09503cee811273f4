"""How a distiller is written into a config, and read from one."""

from typing import Any

import keras

from keras_kd.distiller.output_kinds import OF_CLASSES, OutputKinds


def config_of(distiller: Any, kinds: OutputKinds) -> dict[str, Any]:
    """What a file holds of a distiller: the arguments of its constructor, and more.

    Args:
        distiller: the model.
        kinds: what is known of its outputs.
    """
    serialize = keras.saving.serialize_keras_object
    names, augment = distiller.distillation_loss_names, distiller.augment
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
        "augment": augment if augment is None else serialize(augment),
        "output_kind": kinds.declared,
        # What a teacher that is not saved has told is not to be lost.
        "assumed_kinds": kinds.names or kinds.assumed,
        "name": distiller.name,
    }


def arguments_of(config: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The arguments of the constructor, and what is assumed of the outputs.

    In files of version 0.1, which do not say it, all outputs tell classes apart.
    """
    arguments = dict(config)
    deserialize = keras.saving.deserialize_keras_object
    for key in ("teacher", "student"):
        arguments[key] = deserialize(arguments[key])
    if arguments.get("augment") is not None:
        arguments["augment"] = deserialize(arguments["augment"])
    losses = arguments["distillation_losses"]
    arguments["distillation_losses"] = {
        name: deserialize(loss) for name, loss in losses.items()
    }
    weights = arguments["distillation_loss_weights"]
    arguments["distillation_loss_weights"] = dict(zip(losses, weights, strict=True))
    assumed = arguments.pop("assumed_kinds", None)
    return arguments, assumed if "output_kind" in config else OF_CLASSES
