"""How each kind of layer is run, tapped, and its gradients taken apart.

A rule is `rule(layer, site, inputs)`: it runs the layer's forward pass, has `site` tap
the output of the part that is linear in the weights, and says what the weights'
gradients are made of.
"""

from keras_kd.ntk.rules.choice import is_opaque, rule_of

__all__ = ["is_opaque", "rule_of"]
