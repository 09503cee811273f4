"""Objects as somebody would write them: for notebooks, logs and errors."""

import inspect
from typing import Any


def as_written(self: Any) -> str:
    """The call that makes an object, from its `get_config`; a class's `__repr__`.

    What has its default is left out, and so is what Keras adds to every config.

    Example:

    >>> from keras_kd.losses import SoftTargets
    >>> SoftTargets(2.0)
    SoftTargets(temperature=2.0)
    """
    config = self.get_config()
    known = inspect.signature(type(self).__init__).parameters
    given = [
        f"{name}={config[name]!r}"
        for name, parameter in known.items()
        if name in config and name != "name" and config[name] != parameter.default
    ]
    return f"{type(self).__name__}({', '.join(given)})"
