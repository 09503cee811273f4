"""Who answers for which weights: a rule, an opaque layer, or the whole model."""

from collections.abc import Iterable, Sequence

import keras

from keras_kd import backend
from keras_kd.keras_internals import flatten_layers, own_weights
from keras_kd.ntk.rules import is_opaque, rule_of
from keras_kd.ntk.rules.max_pooling import is_simple, max_pooling
from keras_kd.ntk.rules.site import Rule


class Roles:
    """Assigns every weight that is asked for.

    Args:
        model: a built model.
        variables: indices into `model.trainable_variables` of those asked for.
        rules: whether to use rules; without, the whole model's vector-Jacobian
            products answer for everything.

    Attributes:
        places: `{id(variable): index}` of the weights that layers answer for.
        whole_model: likewise, of those that only the whole model can answer for.
        rules: `{id(layer): rule}`.
        opaque: `id` of the layers that are taken as a whole.
        faster: `{id(layer): rule}` of layers without weights, whose rule saves time.
    """

    def __init__(
        self, model: keras.Model, variables: Iterable[int], rules: bool = True
    ) -> None:
        trainable = model.trainable_variables
        self.places = {id(trainable[i]): i for i in variables}
        self.whole_model: dict[int, int] = {}
        self.layers = flatten_layers(model, include_self=False)
        self.rules: dict[int, Rule] = {}
        self.opaque: set[int] = set()
        self.faster: dict[int, Rule] = {}
        # Which arguments of an opaque call have an axis of examples.
        self.sliced: dict[str, list[bool]] = {}
        if not rules:
            self.take_whole(list(self.places.values()))
            return
        owned = {id(v) for layer in self.layers for v in own_weights(layer)}
        # Held by the model itself: no layer's call says where they are used.
        self.take_whole([p for v, p in self.places.items() if v not in owned])
        for layer in self.layers:
            if is_opaque(layer) and self.wanted(layer.trainable_variables):
                self.opaque.add(id(layer))
            elif self.wanted(own_weights(layer)):
                rule = rule_of(layer)
                if rule is None:
                    self.opaque.add(id(layer))
                else:
                    self.rules[id(layer)] = rule
            elif backend.SLOW_MAX_POOLING_GRADIENT and is_simple(layer):
                self.faster[id(layer)] = max_pooling

    def wanted(self, variables: Iterable[keras.Variable]) -> list[int]:
        """The places of those of `variables` that layers answer for."""
        return [self.places[id(v)] for v in variables if id(v) in self.places]

    def make_opaque(self, layer: keras.layers.Layer) -> None:
        """Takes a layer as a whole, with all that it contains."""
        self.rules.pop(id(layer), None)
        self.opaque.add(id(layer))

    def take_whole(self, places: Sequence[int]) -> None:
        """Has the whole model answer for the variables at `places`."""
        for key, place in list(self.places.items()):
            if place in places:
                self.whole_model[key] = self.places.pop(key)
        for layer in self.layers:
            # Nothing is left that they would have to answer for.
            if not self.wanted(own_weights(layer)):
                self.rules.pop(id(layer), None)
            if not self.wanted(layer.trainable_variables):
                self.opaque.discard(id(layer))

    def ruled_owners(self, place: int) -> list[keras.layers.Layer]:
        """The layers whose rule answers for the variable at `place`."""
        return [
            layer
            for layer in self.layers
            if id(layer) in self.rules and place in self.wanted(own_weights(layer))
        ]

    def owner_names(self, place: int) -> list[str]:
        """The layers that hold the variable at `place`, by their paths."""
        return [
            layer.path or layer.name
            for layer in self.layers
            if place in self.wanted(own_weights(layer))
        ]
