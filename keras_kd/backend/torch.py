"""PyTorch: the teacher runs eagerly, without recording gradients."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

try:
    # There is no public way to ask whether a vmap is running.
    from torch._C._functorch import maybe_current_level as _vmap_level
except ImportError as error:
    raise ImportError(
        "keras_kd works with PyTorch 2.4 to 2.13. Received: PyTorch "
        f"{torch.__version__}, which lacks something that it builds on: {error}"
    ) from error

SLOW_MAX_POOLING_GRADIENT = False


def enable_op_determinism() -> None:
    """Makes every operation of this process give the same bits each time."""
    # Those that cannot, on a GPU, warn.
    torch.use_deterministic_algorithms(True, warn_only=True)


def random_state() -> np.ndarray:
    """The state of the generator from which Keras draws where no seed is given."""
    # Dropout without a seed takes no notice of its layer's seed generator.
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state().cpu())
    state: np.ndarray = torch.cat(states).numpy()
    return state


def set_random_state(state: np.ndarray) -> None:
    """Goes on from a state that `random_state` gave."""
    split = len(torch.get_rng_state())
    torch.set_rng_state(torch.tensor(state[:split]))
    if torch.cuda.is_available() and len(state) > split:
        torch.cuda.set_rng_state(torch.tensor(state[split:]))


def replica_count() -> int:
    """The number of replicas whose losses and gradients are summed."""
    return 1


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """A context in which float32 products are float32, also on a GPU."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def trace_scope() -> object:
    """Equal in two places if the same trace runs: not inside a vmap."""
    level: object = _vmap_level()
    return level


def local_devices() -> list[Any]:
    """Where passes run: PyTorch starts them one after another."""
    return [None]


def put(values: Any, device: Any) -> Any:
    """A structure of tensors, on a device: where it is."""
    return values


def to_numpy(tensor: Any) -> np.ndarray:
    """Without a copy, where the device's memory is the host's."""
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def compile_forward(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any], Any]:
    """`forward(trainable_values, non_trainable_values, inputs)`, run eagerly."""
    compiled: Callable[[Any, Any, Any], Any] = torch.no_grad()(forward)
    return compiled


def leaves_tensors(forward: Callable[[list[Any]], Any], values: Sequence[Any]) -> bool:
    """Whether a function takes numbers out of tensors, where no gradient follows.

    It also is where PyTorch cannot tell.

    Args:
        forward: of tensors like `values`.
        values: list of tensors.
    """
    try:
        # In it a tensor has no memory that could be read.
        torch.func.vjp(forward, _detached(values))
    except RuntimeError:
        return True
    return False


def _detached(values: Sequence[Any]) -> list[Any]:
    return [value.detach() for value in values]


def compile_gradients(
    forward: Callable[[Any, Any, Any], Any],
) -> Callable[[Any, Any, Any, Any], tuple[Any, list[Any]]]:
    """The gradient of `sum(cotangents * outputs)` in the trainable values.

    Args:
        forward: `forward(trainable_values, non_trainable_values, inputs)`, the
            outputs `(m, k)`.

    Returns:
        `(trainable_values, non_trainable_values, inputs, cotangents)` to
        `(outputs, gradients)`.
    """

    def gradients(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        trainable = [value.requires_grad_() for value in _detached(trainable)]
        with torch.enable_grad():
            outputs = forward(trainable, _detached(non_trainable), inputs)
        cotangents = torch.as_tensor(cotangents).to(outputs)
        return outputs.detach(), _gradients([outputs], trainable, [cotangents], False)

    return gradients


def _gradients(
    outputs: Sequence[Any],
    values: Sequence[Any],
    cotangents: Sequence[Any],
    retain: bool,
) -> list[Any]:
    if not any(output.requires_grad for output in outputs):
        return [torch.zeros_like(value) for value in values]
    pairs = [
        (o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad
    ]
    found = torch.autograd.grad(
        [output for output, _ in pairs],
        values,
        [cotangent for _, cotangent in pairs],
        retain_graph=retain,
        allow_unused=True,
    )
    return [
        torch.zeros_like(value) if gradient is None else gradient
        for value, gradient in zip(values, found, strict=True)
    ]


def compile_capture(
    record: Callable[..., tuple[Any, Any]], factors: Callable[..., list[Any]]
) -> Callable[[Any, Any, Any, Any], tuple[Any, list[Any]]]:
    """One forward pass and, for each cotangent, one backward pass to the taps.

    Args:
        record: `record(trainable_values, non_trainable_values, inputs, tap)`, which
            runs the model with `tap(key, tensor)` in force and returns its outputs
            `(m, k)` and a structure of recorded arrays.
        factors: `factors(trainable_values, non_trainable_values, inputs, recorded,
            cotangents, tapped)` with `tapped` `{key: (q, ...)}`, the gradients of each
            output's sum at the taps; a list of tensors.

    Returns:
        `(trainable_values, non_trainable_values, inputs, cotangents)`, cotangents
        `(q, m, k)`, to `(outputs, list of tensors)`.
    """

    def capture(
        trainable: Any, non_trainable: Any, inputs: Any, cotangents: Any
    ) -> tuple[Any, list[Any]]:
        trainable, non_trainable = _detached(trainable), _detached(non_trainable)
        taps: dict[str, Any] = {}

        def tap(key: str, tensor: Any) -> Any:
            # A copy: another tap may lie downstream of the original alone.
            if tensor.requires_grad:
                tensor = tensor.view_as(tensor)
            else:
                tensor = tensor.detach().requires_grad_()
            taps[key] = tensor
            return tensor

        with torch.enable_grad():
            outputs, recorded = record(trainable, non_trainable, inputs, tap)
        cotangents = torch.as_tensor(cotangents).to(outputs)
        # Unused taps alone leave outputs that no gradient reaches.
        rows = [
            _gradients([outputs], list(taps.values()), [c], o + 1 < len(cotangents))
            for o, c in enumerate(cotangents)
        ]
        tapped = {
            key: torch.stack([row[i] for row in rows]) for i, key in enumerate(taps)
        }
        with torch.no_grad():
            tensors = factors(
                trainable, non_trainable, inputs, recorded, cotangents, tapped
            )
        return outputs.detach(), tensors

    return capture


def per_example_gradients(
    function: Callable[[Any, Any], Sequence[Any]],
    values: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
) -> list[Any]:
    """Each example's own gradients, one vector-Jacobian product an output.

    Args:
        function: `function(values, inputs)`, a list of tensors with a leading 1, for
            inputs with a leading 1.
        values: list of tensors to differentiate with respect to.
        inputs: list of tensors `(m, ...)`.
        cotangents: list of tensors `(q, m, ...)`, like the outputs.

    Returns:
        List of tensors `(q, m, *shape)`, like the values.
    """
    values, inputs = _detached(values), _detached(inputs)
    try:
        return _vectorized_gradients(function, values, inputs, cotangents)
    except RuntimeError as error:
        # All that vmap raises of itself. What a layer raises otherwise is its own.
        reason = str(error)
    # One by one, a layer that is wrong fails with its own words, which go on their way.
    gradients = _looped_gradients(function, values, inputs, cotangents)
    if not _LIMITS_OF_VMAP.search(reason):
        warnings.warn(
            "PyTorch did not vectorise the gradients of a layer, and they were taken "
            f"example by example, exact but slower. Its reason: {reason}",
            stacklevel=2,
        )
    return gradients


# As PyTorch words it that an operation has no batched form, that a layer looks at
# values (`if`, `item`, `numpy`, shapes that depend on them), changes tensors in place,
# draws random numbers, or takes gradients itself.
_LIMITS_OF_VMAP = re.compile(
    r"vmap|functorch|torch\.func\.|Batching rule not implemented"
    r"|During a grad \(vjp, jvp, grad, etc\) transform"
    r"|Cannot access (data pointer|storage) of Tensor"
    r"|doesn't match the broadcast shape"
    r"|stack expects each tensor to be equal size"
)


def _vectorized_gradients(
    function: Callable[[Any, Any], Sequence[Any]],
    values: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
) -> list[Any]:
    def one(example: Sequence[Any], cotangent: Sequence[Any]) -> Any:
        def run(*values: Any) -> tuple[Any, ...]:
            return tuple(function(list(values), [leaf[None] for leaf in example]))

        _, pullback = torch.func.vjp(run, *values)
        return torch.func.vmap(lambda c: pullback(tuple(leaf[None] for leaf in c)))(
            cotangent
        )

    in_dims = ([0] * len(inputs), [1] * len(cotangents))
    with warnings.catch_warnings():
        # Operations without a batched form run one by one, which is no news here.
        warnings.filterwarnings("ignore", "There is a performance drop")
        found = torch.func.vmap(one, in_dims)(inputs, cotangents)
    # With another `out_dims` PyTorch fails on gradients that no example has a part in.
    return [gradient.movedim(0, 1) for gradient in found]


def _looped_gradients(
    function: Callable[[Any, Any], Sequence[Any]],
    values: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Any],
) -> list[Any]:
    values = [value.requires_grad_() for value in values]
    examples = []
    q, m = cotangents[0].shape[:2]
    for i in range(m):
        with torch.enable_grad():
            outputs = function(values, [leaf[i : i + 1] for leaf in inputs])
        rows = [
            _gradients(
                outputs, values, [c[o, i : i + 1] for c in cotangents], o + 1 < q
            )
            for o in range(q)
        ]
        examples.append([torch.stack(same) for same in zip(*rows, strict=True)])
    return [torch.stack(same, dim=1) for same in zip(*examples, strict=True)]


def call_with_state(
    model: keras.Model, function: Callable[[Any], Any], inputs: Any, state: list[Any]
) -> tuple[Any, list[Any]]:
    """`function(inputs)` in a step; its state is in its variables.

    Args:
        model: whose step it is.
        function: a layer that the model tracks, or a callable.
        inputs: structure of tensors.
        state: is passed to no step here.

    Returns:
        The outputs, and `state`.
    """
    return function(inputs), state


def split_teacher_state(data: Any) -> tuple[None, Any]:
    """`(state, batch)`: the teacher's variables are read where they lie."""
    return None, data


def without_gradients() -> AbstractContextManager[Any]:
    """A context for what is not differentiated.

    `no_grad` and not `inference_mode`, whose tensors the student's backward pass could
    not keep.
    """
    context: AbstractContextManager[Any] = torch.no_grad()
    return context


def supervised_train_function(
    model: keras.Model,
    step: Callable[[Any], Any],
    teacher_state: Callable[[], Any],
    look_at: Callable[[Any], None],
) -> Callable[[Any], Any]:
    """The compiled step of training, whose logs are looked at.

    Args:
        model: the one that trains.
        step: as Keras compiled it.
        teacher_state: gives what is passed beside each batch: here nothing.
        look_at: is called with the logs of each execution.
    """

    def train_function(iterator: Any) -> Any:
        logs = step(iterator)
        look_at(logs)
        return logs

    return train_function


def supervised_test_function(
    model: keras.Model,
    step: Callable[[Any], Any],
    teacher_state: Callable[[], Any],
) -> Callable[[Any], Any]:
    """The compiled step of evaluation, as it is."""
    return step


class WeightAverage:
    """Exponential moving averages of variables' values, all updated in one call.

    Args:
        variables: Keras variables of floating dtype.
        values: the averages to begin with, NumPy arrays, copied.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]
    ):
        self._variables = variables
        self._averages = [
            torch.tensor(value, device=variable.value.device)
            for variable, value in zip(variables, values, strict=True)
        ]

    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        if self._averages:
            values = [
                variable.value.detach().to(average.dtype)
                for variable, average in zip(
                    self._variables, self._averages, strict=True
                )
            ]
            get_ema_multi_avg_fn(decay)(self._averages, values, None)

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.cpu().numpy().copy() for average in self._averages]
