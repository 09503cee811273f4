"""`keras_kd.ntk`, on the backend that KERAS_BACKEND names."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import networks
import psutil
import worker

from keras_kd.ntk import empirical_ntk


class Ours:
    def network(self, request, operations):
        self.model = networks.NETWORKS[request["network"]]()
        self.outputs = "trace" if request["logit"] is None else request["logit"]
        if request["memory"]:
            pretend(request["memory"])
        return networks.trainable_size(self.model)

    def set(self, weights):
        for name, variable in networks.weights_by_name(self.model).items():
            # Keras has another shape for depthwise kernels, of the same order.
            variable.assign(weights[name].reshape(variable.shape))

    def kernel(self, inputs, setting):
        return empirical_ntk(self.model, inputs, outputs=self.outputs, **setting)


def pretend(memory):
    """Has the machine say that it has so much memory, as under the cap it does."""
    real, base = psutil.virtual_memory, psutil.Process().memory_info().rss

    def capped():
        taken = psutil.Process().memory_info().rss - base
        now = real()
        return now._replace(available=max(0, min(now.available, memory - taken)))

    psutil.virtual_memory = capped


def versions():
    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: __import__(backend).__version__}


if __name__ == "__main__":
    worker.serve(Ours(), versions())
