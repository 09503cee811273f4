"""A network from its list of operations, in plain JAX."""

import jax.numpy as jnp
from jax import lax


def apply(operations, statistics, weights, x):
    """`(m, logits)`, of `weights` by name and inputs `(m, ...)`.

    Args:
        operations: see `networks.operations`.
        statistics: means and variances of batch normalisation, by name.
        weights: trainable weights by name.
        x: inputs.
    """
    values = {}
    for node in operations:
        arguments = [
            values[a] if isinstance(a, str) else a for a in node["inputs"]
        ] or [x]
        values[node["name"]] = _apply(node, statistics, weights, *arguments)
    return values[operations[-1]["name"]]


def _apply(node, statistics, weights, x, *others):
    op, name = node["op"], node["name"]
    if op == "input":
        return x
    if op == "conv":
        y = lax.conv_general_dilated(
            x,
            weights[f"{name}/kernel"],
            node["strides"],
            [tuple(p) for p in node["padding"]],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=node["groups"],
        )
        return y + weights[f"{name}/bias"] if node["bias"] else y
    if op == "dense":
        y = x @ weights[f"{name}/kernel"]
        return y + weights[f"{name}/bias"] if node["bias"] else y
    if op == "norm":
        scale = lax.rsqrt(statistics[f"{name}/moving_variance"] + node["epsilon"])
        x = (x - statistics[f"{name}/moving_mean"]) * scale
        return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]
    if op == "relu":
        top = node.get("top")
        return jnp.maximum(x, 0) if top is None else jnp.clip(x, 0, top)
    if op in ("hard_silu", "hard_sigmoid"):
        gate = jnp.clip(x / 6 + 0.5, 0, 1)
        return x * gate if op == "hard_silu" else gate
    if op == "max_pool":
        h, w = node["size"]
        n, height, width, c = x.shape
        x = x[:, : height // h * h, : width // w * w]
        # Faster to differentiate than a window reduction.
        return x.reshape(n, height // h, h, width // w, w, c).max((2, 4))
    if op == "every":
        h, w = node["strides"]
        return x[:, ::h, ::w]
    if op == "pad":
        return jnp.pad(x, [(0, 0), *map(tuple, node["pads"])])
    if op == "mean":
        return x.mean((1, 2), keepdims=node["keep"])
    if op == "flatten":
        return x.reshape(x.shape[0], -1)
    if op in ("add", "multiply"):
        for other in others:
            x = x + other if op == "add" else x * other
        return x
    raise NotImplementedError(op)
