"""The networks that are timed, and each of them as a list of plain operations.

A peer builds its own network from that list, so that all compute the same function of
the same weights. Arrays are in Keras's layout, channels last; kernels are
`(height, width, inputs / groups, outputs)`.
"""

import json
import math

import keras
import numpy as np
from keras import layers

from keras_kd.models import LeNet5, MobileNetV3, ResNet


def mlp():
    inputs = keras.Input((3072,), name="inputs")
    x = inputs
    for i in range(1, 4):
        x = layers.Dense(1024, activation="relu", name=f"fc{i}")(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name="mlp")


NETWORKS = {
    "lenet5x8": lambda: LeNet5((32, 32, 3), 10, width=8),
    "mlp": mlp,
    "resnet20": lambda: ResNet((32, 32, 3), 10, depth=20),
    "mobilenet_v3_0_35": lambda: MobileNetV3((32, 32, 3), 10, alpha=0.35),
}


def weights_by_name(model):
    return {f"{x.name}/{w.name}": w for x in model.layers for w in x.weights}


def trainable_size(model):
    return sum(math.prod(w.shape) for w in model.trainable_weights)


def draw(model, n, seed):
    """Weights by name and `n` inputs. The statistics of batch normalisation, which have
    no gradient, do not depend on `seed`."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    arrays = {}
    for name, weight in weights_by_name(model).items():
        shape, kind = tuple(weight.shape), name.split("/")[1]
        if kind == "kernel":
            depthwise = isinstance(
                model.get_layer(name.split("/")[0]), layers.DepthwiseConv2D
            )
            fan_in = math.prod(shape[:2] if depthwise else shape[:-1])
            if depthwise:
                shape = (*shape[:2], 1, shape[2] * shape[3])
            value = rng.normal(size=shape) * math.sqrt(2 / fan_in)
        elif kind == "moving_variance":
            value = fixed.uniform(0.5, 1.5, shape)
        elif kind == "moving_mean":
            value = 0.1 * fixed.normal(size=shape)
        else:
            value = (kind == "gamma") + 0.1 * rng.normal(size=shape)
        arrays[name] = value.astype("float32")
    arrays["inputs"] = rng.normal(size=(n, *model.input_shape[1:])).astype("float32")
    return arrays


def operations(model):
    """The model as a list of `{"op", "name", "inputs", ...}`, in order of execution."""
    nodes = []
    layer = {x.name: x for x in model.operations}
    for entry in json.loads(model.to_json())["config"]["layers"]:
        if entry["class_name"] == "InputLayer":
            nodes.append({"op": "input", "name": entry["name"], "inputs": []})
            continue
        (call,) = entry["inbound_nodes"]
        inputs = [_reference(x) for x in _flat(call["args"])]
        nodes += _translated(layer[entry["name"]], entry, inputs)
    # An activation within a layer is an operation of its own, which others refer to.
    last = {n["name"].split(":")[0]: n["name"] for n in nodes}
    for node in nodes:
        inside = node["name"].split(":")[0]
        node["inputs"] = [
            last[x] if x in last and x != inside else x for x in node["inputs"]
        ]
    return nodes


def _flat(arguments):
    for x in arguments:
        if isinstance(x, list):
            yield from _flat(x)
        else:
            yield x


def _reference(x):
    return x["config"]["keras_history"][0] if isinstance(x, dict) else x


def _translated(layer, entry, inputs):
    name, config = entry["name"], entry["config"]

    def node(op, **what):
        return {"op": op, "name": name, "inputs": inputs, **what}

    kind = entry["class_name"]
    if kind in ("Conv2D", "DepthwiseConv2D"):
        depthwise = kind == "DepthwiseConv2D"
        made = node(
            "conv",
            kernel=list(config["kernel_size"]),
            strides=list(config["strides"]),
            padding=_padding(layer, config),
            filters=layer.output.shape[-1],
            groups=layer.input.shape[-1] if depthwise else config["groups"],
            bias=config["use_bias"],
        )
        return _with_activation(made, config["activation"])
    if kind == "Dense":
        made = node("dense", filters=config["units"], bias=config["use_bias"])
        return _with_activation(made, config["activation"])
    if kind == "BatchNormalization":
        return [node("norm", epsilon=config["epsilon"])]
    if kind == "ReLU":
        return [node("relu", top=config["max_value"])]
    if kind == "Activation":
        # A sum of one term is the identity.
        return [node(config["activation"].replace("linear", "add"))]
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        size, strides = config["pool_size"], config["strides"]
        if kind == "AveragePooling2D" and list(size) == [1, 1]:
            return [node("every", strides=list(strides))]
        if kind == "MaxPooling2D" and list(size) == list(strides):
            return [node("max_pool", size=list(size))]
    if kind == "ZeroPadding2D":
        pads = [list(p) for p in config["padding"]]
        first = config["data_format"] == "channels_first"
        return [node("pad", pads=[[0, 0], *pads] if first else [*pads, [0, 0]])]
    if kind == "GlobalAveragePooling2D":
        return [node("mean", keep=config["keepdims"])]
    if kind in ("Add", "Multiply", "Flatten"):
        return [node(kind.lower())]
    if kind == "Dropout":
        return [node("add")]
    raise NotImplementedError(f"{kind} {config}")


def _with_activation(made, activation):
    if activation == "linear":
        return [made]
    name = made["name"]
    return [made, {"op": activation, "name": f"{name}:{activation}", "inputs": [name]}]


def _padding(layer, config):
    pads = []
    for size, kernel, stride in zip(
        layer.input.shape[1:3], config["kernel_size"], config["strides"], strict=True
    ):
        if config["padding"] == "valid":
            pads.append([0, 0])
        else:
            total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
            pads.append([total // 2, total - total // 2])
    return pads


def operation_counts(model, logits):
    r"""Floating point operations that no exact method of this kind goes below.

    A layer with `T` positions, `a` of `i` numbers and `d` of `o`, has features
    $\sum_t a_t d_t^\top$ of `i o` numbers. Symmetric products of two examples then take
    `logits * i * o`, or `T^2 (i + logits * o)` where pairs of positions are multiplied,
    whichever is less. A pass is forward, backward for each logit down to the first
    layer's output, and the features.

    Returns:
        products: operations per pair of examples, a multiply-add as 2 and half of it
            saved by symmetry.
        passes: operations per example.
        widest: the length of the longest vectors that are multiplied.
    """
    products, passes, widest = 0, 0, 0
    first = True
    for layer in model.layers:
        if not layer.trainable_weights:
            continue
        shape = layer.output.shape[1:]
        positions, outputs = math.prod(shape[:-1]), shape[-1]
        size = sum(math.prod(w.shape) for w in layer.trainable_weights)
        if isinstance(layer, layers.BatchNormalization):
            products += logits * size
            passes += 2 * positions * outputs * (1 + 2 * logits)
            widest = max(widest, size)
            continue
        multiplied = positions * math.prod(layer.kernel.shape)
        inputs = multiplied // (positions * outputs)
        explicit = logits * size
        pairs = positions**2 * (inputs + logits * outputs)
        if isinstance(layer, layers.DepthwiseConv2D):
            # Each output has inputs of its own.
            pairs = explicit
        passes += 2 * multiplied * (1 if first else 1 + logits)
        if explicit <= pairs:
            passes += 2 * multiplied * logits
        products += min(explicit, pairs)
        widest = max(widest, size if explicit <= pairs else inputs)
        first = False
    return products, passes, widest
