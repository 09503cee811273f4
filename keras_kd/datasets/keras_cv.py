"""The random numbers of keras-cv's augmentations, which it keeps to itself."""

import keras

from keras_kd.keras_internals import flatten_layers

# What its layers call the `tf.random.Generator` that they draw from. They have no
# public name for it.
_GENERATOR = "_random_generator"


def give_own_generators(augment: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Gives the layers of keras-cv in `augment` random generators of their own.

    By default they draw from the one of the whole process, which is not ours to reset.

    Returns:
        These layers; none, where nothing is keras-cv's.
    """
    layers = []
    for layer in flatten_layers(augment):
        generator = getattr(layer, _GENERATOR, None)
        if generator is not None and hasattr(generator, "reset_from_seed"):
            setattr(layer, _GENERATOR, type(generator).from_seed(0))
            layers.append(layer)
    return layers


def reset_generator(layer: keras.layers.Layer, seed: int) -> None:
    """Starts the generator of a layer that `give_own_generators` returned anew."""
    getattr(layer, _GENERATOR).reset_from_seed(seed)
