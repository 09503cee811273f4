"""What all contenders compute: a network's kernel for so many images."""

import json
from pathlib import Path

import networks
import numpy as np
from processes import Failure, Process

# Network, logit (None: the trace over all), numbers of examples.
WORKLOADS = {
    "lenet5x8": ("lenet5x8", 0, (512, 2048, 8192)),
    "lenet5x8-trace": ("lenet5x8", None, (512,)),
    "mlp": ("mlp", 0, (2048,)),
    "resnet20": ("resnet20", 0, (256,)),
    "mobilenet_v3_0_35": ("mobilenet_v3_0_35", 0, (256,)),
}


class Workload:
    """A network, its draws of weights and inputs, and their files."""

    def __init__(self, name, n, folder, memory, images):
        self.name, self.n, self.folder, self.memory = name, n, Path(folder), memory
        self.network, self.logit, _ = WORKLOADS[name]
        self.model = networks.NETWORKS[self.network]()
        self.parameters = networks.trainable_size(self.model)
        self.operations = self.folder / "operations.json"
        self.operations.write_text(json.dumps(networks.operations(self.model)))
        self.logits = self.model.output_shape[-1] if self.logit is None else 1
        self.images = images
        self.draw(0)

    def draw(self, seed):
        self.arrays = self.folder / "arrays.npz"
        np.savez(self.arrays, **networks.draw(self.model, self.n, seed))

    def start(self, contender):
        environment = contender.environment | contender.exceptions.get(self.network, {})
        process = Process(contender.command, environment, self.memory)
        try:
            parameters = process.ask(
                300,
                do="network",
                network=self.network,
                path=str(self.operations),
                arrays=str(self.arrays),
                logit=self.logit,
                memory=self.memory,
            )["parameters"]
            if parameters != self.parameters:
                raise Failure(f"{parameters} parameters, not {self.parameters}")
        except Failure:
            process.close()
            raise
        return process

    def subset(self, n):
        # From all over the kernel, so that no tile goes unseen.
        return np.linspace(0, n - 1, min(n, self.images)).astype(int).tolist()

    def kernel(self, process, setting, n, limit):
        """The answer, and the kernel of the subset."""
        out = self.folder / "kernel.npy"
        answer = process.ask(
            limit,
            do="kernel",
            arrays=str(self.arrays),
            n=n,
            setting=setting,
            subset=self.subset(n),
            out=str(out),
        )
        return answer, np.load(out)

    def reference(self, process):
        out = self.folder / "reference.npy"
        process.ask(
            1800,
            do="reference",
            arrays=str(self.arrays),
            subset=self.subset(self.n),
            out=str(out),
        )
        return np.load(out)

    def shapes(self):
        """Of the products whose rate counts."""
        widest = networks.operation_counts(self.model, self.logits)[2]
        return [(3072, 3072), (min(self.n, 1024), widest)]

    def counts(self):
        return networks.operation_counts(self.model, self.logits)[:2]
