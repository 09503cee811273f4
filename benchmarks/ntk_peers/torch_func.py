"""`torch.func`: gradients of each example by `vmap`, then a matrix product.

Settings: `chunk`, examples a `vmap`, 0 for a plain loop over examples; `together`,
whether the logits are differentiated in one go (`jacrev`) or one after the other.

The gradients that fit in memory are kept; the lower half of the products is computed,
in strips.
"""

import numpy as np
import torch
import torch_network
import worker
from torch.func import functional_call, grad, jacrev, vmap

_STRIPS = 4


class TorchFunc:
    def network(self, request, operations):
        self.operations, self.logit = operations, request["logit"]
        self.memory = request["memory"] or 8 << 30
        with np.load(request["arrays"]) as file:
            arrays = {name: file[name] for name in file.files if name != "inputs"}
        trainable = sum(v.size for k, v in arrays.items() if "/moving_" not in k)
        arrays = worker.only(operations, arrays, self.logit)
        self.net = torch_network.Network(operations, arrays).eval()
        return trainable

    def set(self, weights):
        self.net.set(worker.only(self.operations, weights, self.logit))
        self.weights = {k: v.detach() for k, v in self.net.named_parameters()}
        self.buffers = dict(self.net.named_buffers())

    def logits(self, weights, example):
        return functional_call(self.net, (weights, self.buffers), (example[None],))[0]

    def rows(self, inputs, logits, chunk):
        """Gradients `(m, len(logits) * parameters)` of the examples, into one array."""
        size = sum(v.numel() for v in self.weights.values())
        rows = torch.empty(len(inputs), len(logits) * size, dtype=inputs.dtype)
        if len(logits) == 1:
            derivative = grad(lambda w, x: self.logits(w, x)[logits[0]])
        else:
            derivative = jacrev(self.logits)
        if chunk:
            derivative = vmap(derivative, (None, 0))
        for i in range(0, len(inputs), chunk or 1):
            x = inputs[i : i + chunk] if chunk else inputs[i]
            start = 0
            for g in derivative(self.weights, x).values():
                g = g.reshape(len(x) if chunk else 1, -1)
                rows[i : i + len(g), start : start + g.shape[1]] = g
                start += g.shape[1]
        return rows

    @torch.no_grad()
    def kernel(self, inputs, setting):
        inputs = torch.from_numpy(inputs)
        n, k = len(inputs), self.net(inputs[:1]).shape[1]
        together = setting.get("together", True)
        groups = [range(k)] if together else [[o] for o in range(k)]
        each = 4 * len(groups[0]) * sum(v.numel() for v in self.weights.values())
        # Two blocks of rows, and room for a pass.
        block = min(n, max(1, int(0.4 * self.memory / each)))
        kernel = torch.zeros(n, n)
        for logits in groups:
            for i in range(0, n, block):
                left = self.rows(inputs[i : i + block], logits, setting["chunk"])
                rows = kernel[i : i + block]
                strip = -(-len(left) // _STRIPS)
                for s in range(0, len(left), strip):
                    part = slice(s, s + strip)
                    stop = i + min(s + strip, len(left))
                    rows[part, i:stop].addmm_(left[part], left[: stop - i].T)
                for j in range(0, i, block):
                    right = self.rows(inputs[j : j + block], logits, setting["chunk"])
                    rows[:, j : j + block].addmm_(left, right.T)
                    del right
                del left
        kernel = kernel.tril_()
        kernel += kernel.tril(-1).T
        return kernel.numpy()

    @torch.no_grad()
    def reference(self, weights, inputs):
        """The kernel in float64."""
        self.net.double()
        try:
            self.set({name: value.astype("float64") for name, value in weights.items()})
            inputs = torch.from_numpy(inputs).double()
            total = torch.zeros(len(inputs), len(inputs), dtype=torch.float64)
            for logit in range(self.net(inputs[:1]).shape[1]):
                rows = self.rows(inputs, [logit], 32)
                total += rows @ rows.T
                del rows
        finally:
            self.net.float()
        return total.numpy()

    def rate(self, m, k):
        a, b = torch.randn(m, k), torch.randn(m, k)
        out = torch.empty(m, m)
        return worker.best_rate(lambda: torch.mm(a, b.T, out=out), m, k)


if __name__ == "__main__":
    worker.serve(TorchFunc(), {"torch": torch.__version__})
