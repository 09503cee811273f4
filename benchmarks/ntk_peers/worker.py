"""What every contender's process does: read a request a line, answer with a line.

Requests and answers are JSON objects on standard input and output; `do` is one of

- `"network"`, with `network` (its name), `path` (its list of operations), `arrays`
  (weights, for their shapes), `logit` (a number, or null for the trace over all) and
  `memory` (bytes that it may take): build it, answer its `parameters`.
- `"kernel"`, with `arrays`, `n`, `setting`, `subset`, `out`: set the weights, take the
  first `n` inputs, answer the `seconds` that the kernel takes, save the `subset` of its
  rows and columns.
- `"reference"`, with `arrays`, `subset`, `out`: the same kernel in float64.
- `"rate"`, with `shapes`: operations a second of its matrix product.

Memory is the largest resident set so far, less what the imports took.
"""

import gc
import json
import os
import re
import sys
import time
import traceback

import numpy as np


def resident(kind):
    """Bytes, `VmRSS` now or `VmHWM` at most so far."""
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(rf"{kind}:\s+(\d+)", status.read())[1])


def serve(contender, versions):
    """Answers until standard input ends.

    Args:
        contender: has `network(request, operations)`, `set(weights)`,
            `kernel(inputs, setting)` and, if it can, `reference(weights, inputs)` and
            `rate(m, k)`.
        versions: `{library: version}`.
    """
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    base = resident("VmRSS")
    print(json.dumps({"base": base, "versions": versions}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(contender, request)
        except Exception as error:
            traceback.print_exc()
            text = str(error).strip() or "no message"
            answer = {"error": f"{type(error).__name__}: {text.splitlines()[0][:200]}"}
        answer["peak"] = resident("VmHWM") - base
        print(json.dumps(answer), file=answers)


def _answer(contender, request):
    do = request["do"]
    if do == "network":
        with open(request["path"]) as file:
            return {"parameters": contender.network(request, json.load(file))}
    if do == "rate":
        return {"rate": max(contender.rate(m, k) for m, k in request["shapes"])}
    with np.load(request["arrays"]) as file:
        arrays = {name: file[name] for name in file.files}
    subset = np.array(request["subset"])
    if do == "reference":
        inputs = arrays.pop("inputs")[subset]
        np.save(request["out"], contender.reference(arrays, inputs))
        return {}
    inputs = arrays.pop("inputs")[: request["n"]].copy()
    contender.set(arrays)
    del arrays
    gc.collect()
    start = time.perf_counter()
    kernel = contender.kernel(inputs, request["setting"])
    seconds = time.perf_counter() - start
    if kernel.shape != (len(inputs), len(inputs)) or kernel.dtype != np.float32:
        raise TypeError(f"the kernel is {kernel.shape} {kernel.dtype}")
    np.save(request["out"], kernel[np.ix_(subset, subset)])
    return {"seconds": seconds}


def best_rate(product, m, k):
    """Operations a second of `product()`, `(m, k)` times `(k, m)`."""
    product()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * m * m * k / min(seconds)


def only(operations, weights, logit):
    """`weights` with the last kernel and bias cut to one logit.

    The kernel of one logit does not see the others' weights; a peer that is not told
    which logit is meant may spend time on their zeros.
    """
    if logit is None:
        return weights
    last = [x["name"] for x in operations if x["op"] in ("conv", "dense")][-1]
    return {
        name: value[..., logit : logit + 1] if name.startswith(f"{last}/") else value
        for name, value in weights.items()
    }
