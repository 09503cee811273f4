"""PReLU: a learned slope for negative inputs."""

from keras import ops

from keras_kd.ntk.rules.site import explicit, summed_to


def prelu(layer, site, inputs):
    below = -ops.relu(-inputs)
    y = ops.relu(inputs) + layer.alpha * below
    place = site.place(layer.alpha)
    shape = tuple(layer.alpha.shape)

    def factors(below, d):
        return explicit(place, summed_to(d * below[None], shape))

    return site.tap(y, below, factors)
