"""Names of other distillers, and how they are told."""

import keras
import numpy as np
import pytest
from networks import plain, sparse_loss

from keras_kd import Distiller
from keras_kd.losses import SoftTargets

pytestmark = pytest.mark.one_backend


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("named", "way"),
    [
        ({"student_loss_weight": 0.3}, "write alpha=1 - student_loss_weight"),
        ({"temperature": 3}, r"SoftTargets\(temperature\)"),
        ({"losses": ["mse"]}, "`losses` write distillation_losses"),
        ({"student_loss_fn": None}, r"`student_loss_fn` write compile\(loss="),
        (
            {"temperature": 3, "student_loss_weight": 0.3},
            "Received: temperature, student_loss_weight$",
        ),
    ],
)
def test_of_the_constructor(named, way):
    with pytest.raises(TypeError, match=f"`Distiller` has other names .*{way}"):
        Distiller(teacher=None, student=None, **named)


class Hotter(Distiller):
    """Its own argument has the name that the tutorial's has."""

    def __init__(self, teacher, student, temperature, **kwargs):
        super().__init__(teacher, student, SoftTargets(temperature), **kwargs)


def test_a_subclass_has_names_of_its_own():
    assert Hotter(plain(), plain(), temperature=3).distillation_losses[0].temperature
    with pytest.raises(TypeError, match="for `losses` write"):
        Hotter(plain(), plain(), temperature=3, losses=[])


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("named", "way"),
    [
        ({"student_loss_fn": "mse"}, r"write compile\(loss="),
        ({"distillation_loss_fn": "kld"}, r"Distiller\(distillation_losses="),
        ({"alpha": 0.1}, r"Distiller\(alpha=1 - alpha\), whose alpha is the weight"),
        ({"temperature": 3}, r"SoftTargets\(temperature\)"),
    ],
)
def test_of_compile(named, way):
    distiller = Distiller(plain(), plain())
    with pytest.raises(TypeError, match=f"`compile` has other names .*{way}"):
        distiller.compile(optimizer="adam", **named)
    assert not distiller.compiled


def test_names_that_nobody_has_are_python_s_to_refuse():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        Distiller(plain(), plain(), nothing=1)


def test_a_plain_loss_trains_and_is_saved_compiled(tmp_path):
    x, y = np.ones((4, 8, 8, 3), "float32"), np.zeros(4, "int32")
    # In the order and with the names of the tutorial.
    distiller = Distiller(
        student=plain(),
        teacher=plain(),
        distillation_losses=keras.losses.KLDivergence(),
        output_kind="categorical",
    )
    distiller.compile("adam", loss=sparse_loss(), jit_compile=False)
    distiller.fit(x, y, verbose=0)
    distiller.save(tmp_path / "d.keras")
    again = keras.saving.load_model(tmp_path / "d.keras")
    assert again.compiled
    assert again.distillation_losses[0].get_config() == {
        "temperature": 1.0,
        "divergence": "kl_divergence",
    }
    again.fit(x, y, verbose=0)
    assert again.optimizer.iterations == 2
