"""How logits are stored: in which type, and how many of them."""

import dataclasses
from typing import Any, Literal

import numpy as np

from keras_kd.arguments import check_choice, check_integer_or_none
from keras_kd.outputs import Kind, kind_of_classes

DTYPES = ("float16", "float32")
_LARGEST_HALF = 65504.0


@dataclasses.dataclass(frozen=True)
class Packing:
    """The parts that stand for logits on disk.

    In float16, each row is stored less its largest logit, and that in float32 beside
    it: the precision is then finest where the probability is. With `top_k` the `k`
    largest logits are kept, with their classes, and `log(sum(exp(.)))` of the others,
    which come back as equal shares of it.

    Args:
        dtype: `"float16"` or `"float32"`.
        top_k: how many logits are kept, `None` for all.
    """

    dtype: Literal["float16", "float32"]
    top_k: int | None

    def parts(self, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], str]]:
        """`{part: (shape, dtype)}` of one example's logits, `(..., classes)`."""
        positions, classes = shape[:-1], shape[-1]
        parts: dict[str, tuple[tuple[int, ...], str]]
        parts = {"logits": (shape, self.dtype)}
        if self._is_cut(classes):
            assert self.top_k is not None
            kept = (*positions, self.top_k)
            number = "uint16" if classes <= 2**16 else "uint32"
            parts = {
                "logits": (kept, self.dtype),
                "classes": (kept, number),
                "rest": (positions, "float32"),
            }
        if self.dtype == "float16":
            parts["shift"] = (positions, "float32")
        return parts

    def pack(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        """The parts of logits `(m, ..., classes)`."""
        logits = np.asarray(logits, np.float32)
        parts: dict[str, np.ndarray] = {}
        kept = logits
        if self._is_cut(logits.shape[-1]):
            assert self.top_k is not None
            # Stable: of equal logits the first classes are kept.
            order = np.argsort(-logits, axis=-1, kind="stable")
            kept, others = (
                np.take_along_axis(logits, part, axis=-1)
                for part in (order[..., : self.top_k], order[..., self.top_k :])
            )
            number = "uint16" if logits.shape[-1] <= 2**16 else "uint32"
            parts["classes"] = order[..., : self.top_k].astype(number)
            # In float64: in float32, thousands of terms add up to an error of 1e-4.
            rest = np.logaddexp.reduce(others, axis=-1, dtype=np.float64)
            parts["rest"] = rest.astype(np.float32)
        if self.dtype == "float16":
            shift = logits.max(axis=-1)
            kept = np.maximum(kept - shift[..., None], -_LARGEST_HALF)
            parts["shift"] = shift
        parts["logits"] = kept.astype(self.dtype)
        return parts

    def unpack(self, parts: dict[str, np.ndarray], classes: int) -> np.ndarray:
        """Logits `(m, ..., classes)` in float32."""
        logits = parts["logits"].astype(np.float32)
        if "shift" in parts:
            logits += parts["shift"][..., None]
        if not self._is_cut(classes):
            return logits
        assert self.top_k is not None
        rest = parts["rest"][..., None] - np.float32(np.log(classes - self.top_k))
        whole = np.repeat(rest, classes, axis=-1)
        np.put_along_axis(whole, parts["classes"].astype(np.int64), logits, axis=-1)
        return whole

    def cuts(self, logits: np.ndarray) -> bool:
        """Whether some of these logits, `(..., classes)`, would not be kept."""
        return self._is_cut(logits.shape[-1])

    def _is_cut(self, classes: int) -> bool:
        return self.top_k is not None and self.top_k < classes


def checked_packing(dtype: Any, top_k: Any) -> Packing:
    """`Packing`, once its arguments are checked.

    Raises:
        ValueError: another dtype, or a `top_k` that is no integer > 0.
    """
    check_choice("dtype", dtype, DTYPES)
    top_k = check_integer_or_none("top_k", top_k, above=0)
    return Packing(dtype, top_k)


def divergence(
    logits: np.ndarray,
    approximate: np.ndarray,
    temperature: float,
    kind: Kind | None = None,
) -> float:
    """The mean divergence, in nats, of what packing made of logits from them.

    Args:
        logits: `(m, ..., units)`.
        approximate: what came back.
        temperature: at which they are compared.
        kind: what they mean, `None` for classes; of values it is the mean squared
            error.
    """
    kind = kind or kind_of_classes(logits.shape[-1])
    one, other = logits.astype(np.float64), approximate.astype(np.float64)
    return float(np.mean(kind.divergence(one, other, temperature)))
