"""PyTorch: the teacher runs eagerly, without recording gradients."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

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
    return torch.cat(states).numpy()


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
def full_precision():
    """A context in which float32 products are float32, also on a GPU."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def trace_scope():
    """Equal in two places if the same trace runs: not inside a vmap."""
    return torch._C._functorch.maybe_current_level()


def local_devices() -> list:
    """Where passes run: PyTorch starts them one after another."""
    return [None]


def put(values, device):
    """A structure of tensors, on a device: where it is."""
    return values


def to_numpy(tensor) -> np.ndarray:
    """Without a copy, where the device's memory is the host's."""
    return tensor.detach().cpu().numpy()


def compile_forward(forward):
    """`forward(trainable_values, non_trainable_values, inputs)`, run eagerly."""
    return torch.no_grad()(forward)


def _detached(values):
    return [value.detach() for value in values]


def compile_gradients(forward):
    """The gradient of `sum(cotangents * outputs)` in the trainable values.

    Args:
        forward: `forward(trainable_values, non_trainable_values, inputs)`, the
            outputs `(m, k)`.

    Returns:
        `(trainable_values, non_trainable_values, inputs, cotangents)` to
        `(outputs, gradients)`.
    """

    @torch.enable_grad()
    def gradients(trainable, non_trainable, inputs, cotangents):
        trainable = [value.requires_grad_() for value in _detached(trainable)]
        outputs = forward(trainable, _detached(non_trainable), inputs)
        cotangents = torch.as_tensor(cotangents).to(outputs)
        return outputs.detach(), _gradients([outputs], trainable, [cotangents], False)

    return gradients


def _gradients(outputs, values, cotangents, retain):
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


def compile_capture(record, factors):
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

    def capture(trainable, non_trainable, inputs, cotangents):
        trainable, non_trainable = _detached(trainable), _detached(non_trainable)
        taps = {}

        def tap(key, tensor):
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


def per_example_gradients(function, values, inputs, cotangents):
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
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        # Not every operation has a batched form, nor may a layer look at values.
        return _looped_gradients(function, values, inputs, cotangents)


def _vectorized_gradients(function, values, inputs, cotangents):
    def one(example, cotangent):
        def run(*values):
            return tuple(function(list(values), [leaf[None] for leaf in example]))

        _, pullback = torch.func.vjp(run, *values)
        return torch.func.vmap(lambda c: pullback(tuple(leaf[None] for leaf in c)))(
            cotangent
        )

    in_dims = ([0] * len(inputs), [1] * len(cotangents))
    with warnings.catch_warnings():
        # Operations without a batched form run one by one, which is no news here.
        warnings.filterwarnings("ignore", "There is a performance drop")
        return list(torch.func.vmap(one, in_dims, 1)(inputs, cotangents))


def _looped_gradients(function, values, inputs, cotangents):
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


def split_teacher_state(data: Any) -> tuple[None, Any]:
    """`(state, batch)`: the teacher's variables are read where they lie."""
    return None, data


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    """A context for what is not differentiated.

    `no_grad` and not `inference_mode`, whose tensors the student's backward pass could
    not keep.
    """
    return torch.no_grad()


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
    step: Callable[[Any], Any], teacher_state: Callable[[], Any]
) -> Callable[[Any], Any]:
    """The compiled step of evaluation, as it is."""
    return step


class WeightAverage:
    """Exponential moving averages of variables' values, all updated in one call.

    Args:
        variables: Keras variables of floating dtype.
        values: the averages to begin with, NumPy arrays, copied.
    """

    def __init__(self, variables, values):
        self._variables = variables
        self._averages = [
            torch.tensor(value, device=variable.value.device)
            for variable, value in zip(variables, values, strict=True)
        ]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """`average = decay * average + (1 - decay) * value`, for every variable."""
        values = [
            variable.value.to(average.dtype)
            for variable, average in zip(self._variables, self._averages, strict=True)
        ]
        torch._foreach_lerp_(self._averages, values, 1.0 - decay)

    def numpy(self) -> list[np.ndarray]:
        """The averages, in the order of the variables."""
        return [average.cpu().numpy().copy() for average in self._averages]
