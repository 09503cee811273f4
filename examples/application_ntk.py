"""The neural tangent kernel of a network of `keras.applications`.

    KERAS_BACKEND=tensorflow python examples/application_ntk.py

Says beforehand what the kernel will cost, computes it, compares the kernels of two
initialisations, and multiplies by the kernel without forming it.
"""

import time

import keras
import numpy as np

import keras_kd
from keras_kd.ntk import NTKOperator, empirical_ntk, ntk_similarity, plan

N = 64
SIZE = 32
ALPHA = 0.35

data = keras_kd.datasets.load("digits")
x = np.repeat(keras.ops.image.resize(data.x_train[:N], (SIZE, SIZE)), 3, axis=-1)


def network(seed):
    keras.utils.set_random_seed(seed)
    return keras.applications.MobileNetV2(
        (SIZE, SIZE, 3),
        alpha=ALPHA,
        weights=None,
        classes=data.classes,
        classifier_activation=None,
    )


model = network(0)
print(plan(model, x[:8], n=N))
begin = time.perf_counter()
kernel = empirical_ntk(model, x, outputs=0)
seconds = time.perf_counter() - begin
print(f"NTK of the first logit, {kernel.shape}: {seconds:.1f} s")

similarity = ntk_similarity(model, network(1), x, outputs=0)
print(f"similarity to another initialisation: {similarity.cosine:.3f}")

v = np.random.default_rng(0).normal(size=N)
product = NTKOperator(model, x, outputs=0) @ v
error = np.linalg.norm(product - kernel @ v) / np.linalg.norm(product)
print(f"a product without the kernel, relative difference: {error:.1e}")
