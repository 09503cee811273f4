"""neural-tangents, in its own environment.

Settings: `implementation`, 1 to 3 as it numbers them; `tile`, that of `nt.batch`, 0 for
none; `lower`, whether the tiles above the diagonal are left out, which `nt.batch` does
not do and a user can, with a loop.
"""

import functools

import jax
import jax_network
import jaxlib
import neural_tangents as nt
import numpy as np
import worker


class NeuralTangents:
    def network(self, request, operations):
        self.operations, self.logit = operations, request["logit"]
        with np.load(request["arrays"]) as file:
            arrays = {name: file[name] for name in file.files if name != "inputs"}
        self.statistics = {k: v for k, v in arrays.items() if "/moving_" in k}
        self.functions = {}
        last = [x["filters"] for x in operations if "filters" in x][-1]
        self.logits = last if self.logit is None else 1
        return sum(v.size for k, v in arrays.items() if k not in self.statistics)

    def set(self, weights):
        weights = {k: v for k, v in weights.items() if k not in self.statistics}
        weights = worker.only(self.operations, weights, self.logit)
        self.weights = jax.block_until_ready(jax.device_put(weights))

    def function(self, implementation, tile, lower):
        key = implementation, tile, lower
        if key not in self.functions:
            # Examples do not mix: with the axis named it is much faster.
            kernel = nt.empirical_ntk_fn(
                functools.partial(jax_network.apply, self.operations, self.statistics),
                trace_axes=(-1,),
                vmap_axes=0,
                implementation=implementation,
            )
            if tile and not lower:
                kernel = nt.batch(kernel, batch_size=tile, device_count=0)
            else:
                kernel = jax.jit(kernel)
            self.functions[key] = kernel
        return self.functions[key]

    def kernel(self, inputs, setting):
        tile, lower = setting["tile"], setting["lower"]
        function = self.function(setting["implementation"], tile, lower)
        if not lower:
            kernel = np.asarray(function(inputs, None, self.weights))
            return self.summed(kernel)
        n = len(inputs)
        kernel = np.empty((n, n), "float32")
        for i in range(0, n, tile):
            for j in range(0, i + 1, tile):
                rows, columns = inputs[i : i + tile], inputs[j : j + tile]
                block = np.asarray(
                    function(rows, None if i == j else columns, self.weights)
                )
                kernel[i : i + tile, j : j + tile] = block
                kernel[j : j + tile, i : i + tile] = block.T
        return self.summed(kernel)

    def summed(self, kernel):
        # It calls the mean over outputs their trace.
        return kernel * np.float32(self.logits) if self.logits > 1 else kernel


if __name__ == "__main__":
    worker.serve(
        NeuralTangents(),
        {
            "neural-tangents": nt.__version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
        },
    )
