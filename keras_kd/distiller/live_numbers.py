"""Numbers that every step reads afresh: `alpha`, weights, temperatures.

They are plain attributes, of the distiller and of its losses. Before a step they are
looked at, and what has changed is put into one variable that the compiled step reads,
so that nothing is compiled anew.
"""

import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_kd.arguments import check_fraction, check_number
from keras_kd.distiller.arguments import loss_weights
from keras_kd.losses.leafwise import LeafwiseLoss

_OF_LOSSES = ("temperature", "alpha", "beta", "gamma")


def live_numbers(loss: Any) -> list[str]:
    """The names of a loss's numbers that every step reads afresh."""
    own = getattr(loss, "__dict__", {})
    return [name for name in _OF_LOSSES if _is_number(own.get(name))]


class NumbersOfStep(NamedTuple):
    """The numbers as one step has them.

    Attributes:
        alpha: scalar tensor.
        weights: a scalar tensor for each loss.
        losses: as they are, but with scalar tensors for their numbers.
    """

    alpha: Any
    weights: Sequence[Any]
    losses: Sequence[Any]


class LiveNumbers:
    """The numbers of a distiller that may change while it trains.

    Args:
        alpha: weight of the distillation term, in [0, 1].
        weights: of each loss, >= 0.
        losses: by name; of each, `temperature` and the like are read.
    """

    def __init__(self, alpha: float, weights: Sequence[float], losses: dict[str, Any]):
        self._alpha = alpha
        self._weights = list(weights)
        self._named = losses
        self._places = [
            (loss, name) for loss in losses.values() for name in live_numbers(loss)
        ]
        # That of the labels may become 0, or cease to be.
        self._moves = False
        self._without_labels = False
        self._made = 0
        self._running = ""
        self._held = self._checked()
        # All there is before the first step; held in no file, which hold the numbers.
        self._variable = keras.Variable(
            _in_two_parts(self._held),
            trainable=False,
            dtype="float32",
            name="live_numbers",
        )

    @property
    def alpha(self) -> float:
        """Weight of the distillation term, in [0, 1]."""
        return self._alpha

    @alpha.setter
    def alpha(self, value: Any) -> None:
        self._alpha = check_fraction("alpha", value, zero=True, one=True)
        self._moves = True

    @property
    def distillation_loss_weights(self) -> list[float]:
        """The weight of each loss, >= 0."""
        return self._weights

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, value: Any) -> None:
        self._weights = loss_weights(value, self._named)

    def _checked(self) -> list[float]:
        held = [self._alpha, *loss_weights(self._weights, self._named)]
        for loss, name in self._places:
            above = 0.0 if name == "temperature" else None
            least = 0.0 if isinstance(loss, LeafwiseLoss) else None
            held.append(check_number(name, getattr(loss, name), above, least))
        return held

    def refresh(self) -> None:
        """Takes over what has changed.

        Raises:
            ValueError: a number has left its range.
        """
        if (held := self._checked()) != self._held:
            self._variable.assign(_in_two_parts(held))
            self._held = held

    @property
    def mixture(self) -> str:
        """What a step is made of: `"labels"`, `"teacher"`, or `"both"`.

        An `alpha` that has been set once may be anything later.
        """
        if self._alpha == 1 and (self._without_labels or not self._moves):
            return "teacher"
        return "labels" if self._alpha == 0 and not self._moves else "both"

    def mixes_in(self, student_loss: Any) -> bool:
        """Whether the loss of the labels counts in the step that is being compiled."""
        if student_loss is None and self._alpha == 1:
            self._without_labels = True
        return self.mixture != "teacher"

    def before(
        self, step: Callable[..., Any], model: keras.Model, name: str
    ) -> Callable[..., Any]:
        """A compiled step that has the numbers of the moment.

        Args:
            step: is compiled when it is first called.
            model: makes another one for another mixture.
            name: `"train_function"` or `"test_function"`, which it is of the model's.
        """
        made_of: list[str] = []
        self._made += 1
        this = f"{name}_{self._made}"

        def run(*arguments: Any) -> Any:
            self.refresh()
            self._running = this
            if made_of and made_of[0] != self.mixture:
                getattr(model, f"make_{name}")(force=True)
                return getattr(model, name)(*arguments)
            result = step(*arguments)
            made_of[:] = made_of or [self.mixture]
            return result

        return run

    def state(self) -> Any:
        """What a step is passed where it cannot read a variable."""
        # JAX takes two steps of one model for one function, and would not compile the
        # second: what they are passed is of another structure.
        return {self._running: self._variable.value}

    def of_step(self, state: Any, like: Any) -> NumbersOfStep:
        """The numbers of the step that runs.

        Args:
            state: as it was passed to it, or `None`.
            like: the student's outputs, whose dtype they have, float32 or wider.
        """
        dtype = keras.tree.flatten(like)[0].dtype
        dtype = keras.backend.result_type(
            keras.backend.standardize_dtype(dtype), "float32"
        )
        held = self._variable.value if state is None else next(iter(state.values()))
        parts = ops.cast(held, dtype)
        values = parts[0] + parts[1]
        end = 1 + len(self._weights)
        of_loss: dict[int, dict[str, Any]] = {}
        for i, (loss, name) in enumerate(self._places):
            of_loss.setdefault(id(loss), {})[name] = values[end + i]
        losses = [
            _bound(loss, of_loss[id(loss)]) if id(loss) in of_loss else loss
            for loss in self._named.values()
        ]
        return NumbersOfStep(values[0], [values[i] for i in range(1, end)], losses)


def _in_two_parts(held: Sequence[float]) -> np.ndarray:
    """Numbers as float32 and what that leaves: 48 bits, for models of float64."""
    high = np.array(held, "float32")
    return np.stack([high, np.array(held, "float64") - high]).astype("float32")


def _bound(loss: Any, values: dict[str, Any]) -> Any:
    """A loss that is `loss`, whatever it notes in itself, but for some numbers."""
    kind: Any = type(loss)
    bound: Any = object.__new__(_kind_with(kind, tuple(values)))
    bound.__dict__ = loss.__dict__
    bound._numbers_of_step = values
    return bound


@functools.cache
def _kind_with(kind: Any, names: tuple[str, ...]) -> type:
    def number(name: str) -> property:
        def given(self: Any) -> Any:
            return self._numbers_of_step[name]

        def change(self: Any, value: Any) -> None:
            self.__dict__[name] = value

        return property(given, change)

    # The slot is apart from the dictionary, which is that of the loss.
    members = {"__slots__": ("_numbers_of_step",), "__module__": kind.__module__}
    return type(
        kind.__name__, (kind,), members | {name: number(name) for name in names}
    )


class Forwarded:
    """An attribute that the live numbers of its owner hold."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else getattr(owner._numbers, self._name)

    def __set__(self, owner: Any, value: Any) -> None:
        setattr(owner._numbers, self._name, value)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
