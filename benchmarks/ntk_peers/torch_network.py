"""A network from its list of operations, as a torch module, channels first inside."""

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Inputs are `(m, ...)` in Keras's layout.

    Args:
        operations: see `networks.operations`.
        weights: NumPy arrays by name, for the shapes.
    """

    def __init__(self, operations, weights):
        super().__init__()
        self.operations = operations
        self.inside = nn.ModuleDict(
            {
                _key(node["name"]): _module(node, weights)
                for node in operations
                if node["op"] in ("conv", "dense", "norm")
            }
        )

    def forward(self, x):
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2).contiguous()
        values = {}
        for node in self.operations:
            arguments = [
                values[a] if isinstance(a, str) else a for a in node["inputs"]
            ] or [x]
            values[node["name"]] = self.operate(node, *arguments)
        return values[self.operations[-1]["name"]]

    def operate(self, node, x, *others):
        op = node["op"]
        if op == "input":
            return x
        if op in ("conv", "dense", "norm"):
            if op == "conv" and not _is_even(node["padding"]):
                (top, bottom), (left, right) = node["padding"]
                x = functional.pad(x, (left, right, top, bottom))
            return self.inside[_key(node["name"])](x)
        if op == "relu":
            top = node.get("top")
            return functional.relu(x) if top is None else x.clamp(0, top)
        if op in ("hard_silu", "hard_sigmoid"):
            silu = op == "hard_silu"
            return functional.hardswish(x) if silu else functional.hardsigmoid(x)
        if op == "max_pool":
            return functional.max_pool2d(x, node["size"])
        if op == "every":
            h, w = node["strides"]
            return x[:, :, ::h, ::w]
        if op == "pad":
            height, width, channels = node["pads"]
            return functional.pad(x, (*width, *height, *channels))
        if op == "mean":
            return x.mean((2, 3), keepdim=node["keep"])
        if op == "flatten":
            return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)
        if op in ("add", "multiply"):
            for other in others:
                x = x + other if op == "add" else x * other
            return x
        raise NotImplementedError(op)

    @torch.no_grad()
    def set(self, weights):
        """Takes NumPy arrays by name."""
        for node in self.operations:
            key, name = _key(node["name"]), node["name"]
            if key not in self.inside:
                continue
            module = self.inside[key]
            for ours, theirs in _NAMES.items():
                if f"{name}/{ours}" in weights:
                    value = torch.from_numpy(weights[f"{name}/{ours}"])
                    if ours == "kernel":
                        value = value.permute(*_OUTPUTS_FIRST[value.ndim])
                    getattr(module, theirs).copy_(value)


_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_OUTPUTS_FIRST = {2: (1, 0), 4: (3, 2, 0, 1)}


def _key(name):
    return name.replace(".", "_")


def _is_even(padding):
    return all(a == b for a, b in padding)


def _module(node, weights):
    name = node["name"]
    if node["op"] == "norm":
        channels = len(weights[f"{name}/gamma"])
        return nn.BatchNorm2d(channels, eps=node["epsilon"]).eval()
    shape = weights[f"{name}/kernel"].shape
    if node["op"] == "dense":
        return nn.Linear(*shape, bias=node["bias"])
    padding = node["padding"]
    return nn.Conv2d(
        shape[2] * node["groups"],
        shape[3],
        shape[:2],
        tuple(node["strides"]),
        tuple(a for a, _ in padding) if _is_even(padding) else 0,
        groups=node["groups"],
        bias=node["bias"],
    )
