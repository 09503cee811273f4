"""nngeometry: layerwise Gram matrices by module hooks.

Settings: `batch`, of its data loader, 0 for one batch; `unfold`, which of its two
gradients of a convolution. The trace is summed over logits, one at a time: its dense
kernel of all pairs of logits would take `logits^2` times the work.
"""

from importlib.metadata import version

import numpy as np
import torch
import torch_network
import worker
from nngeometry import GramMatrix
from nngeometry.backend.torch_hooks.grads_conv import (
    use_conv_impl_for_convs,
    use_unfold_impl_for_convs,
)
from nngeometry.layercollection import LayerCollection
from torch.utils.data import DataLoader, TensorDataset


class NNGeometry:
    def network(self, request, operations):
        self.operations, self.logit = operations, request["logit"]
        with np.load(request["arrays"]) as file:
            arrays = {name: file[name] for name in file.files if name != "inputs"}
        trainable = sum(v.size for k, v in arrays.items() if "/moving_" not in k)
        arrays = worker.only(operations, arrays, self.logit)
        self.net = torch_network.Network(operations, arrays).eval()
        for node in operations:
            if node["op"] == "conv" and node["groups"] > 1:
                raise NotImplementedError("nngeometry has no grouped convolutions")
        self.layers = LayerCollection.from_model(self.net)
        return trainable

    def set(self, weights):
        self.net.set(worker.only(self.operations, weights, self.logit))

    def kernel(self, inputs, setting):
        inputs = torch.from_numpy(inputs)
        n = len(inputs)
        loader = DataLoader(TensorDataset(inputs), batch_size=setting["batch"] or n)
        with torch.no_grad():
            logits = self.net(inputs[:1]).shape[1]
        kernel = torch.zeros(n, n)
        convolutions = (
            use_unfold_impl_for_convs if setting["unfold"] else use_conv_impl_for_convs
        )
        with convolutions():
            for o in range(logits):
                gram = GramMatrix(
                    self.net,
                    loader,
                    function=lambda *d, o=o: self.net(d[0])[:, o : o + 1],
                    layer_collection=self.layers,
                )
                kernel += gram.to_torch().reshape(n, n)
        return kernel.numpy()


if __name__ == "__main__":
    worker.serve(
        NNGeometry(),
        {"nngeometry": version("nngeometry"), "torch": torch.__version__},
    )
