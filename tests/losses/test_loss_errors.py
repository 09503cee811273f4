"""Wrong arguments: one clear error each."""

import numpy as np
import pytest
from loss_inputs import normal

from keras_kd.losses import (
    DIST,
    AttentionTransfer,
    DecoupledKD,
    FeatureHint,
    LabelSmoothingCrossentropy,
    LogitMSE,
    RelationalKD,
    SoftTargets,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        *(
            (loss, {"temperature": bad}, "`temperature` must be a finite number > 0")
            for loss in (SoftTargets, DecoupledKD, DIST)
            for bad in (0, -1, NAN, INF, "4", None, True)
        ),
        *(
            (loss, {"temperature": bad}, r"`temperature` must be in \[1e-6, 1e6\]")
            for loss in (SoftTargets, DecoupledKD, DIST)
            for bad in (1e-300, 1e300, 9e-7, 1.1e6)
        ),
        *(
            (loss, {name: bad}, f"`{name}` must be a finite number >= 0")
            for loss, name in [
                (DecoupledKD, "alpha"),
                (DecoupledKD, "beta"),
                (DIST, "beta"),
                (DIST, "gamma"),
                (RelationalKD, "distance_weight"),
                (RelationalKD, "angle_weight"),
            ]
            for bad in (-0.1, NAN)
        ),
        *(
            (
                LabelSmoothingCrossentropy,
                {"label_smoothing": bad},
                "`label_smoothing` must be a finite number >= 0 and < 1",
            )
            for bad in (-0.1, 1, NAN)
        ),
        (SoftTargets, {"divergence": "js"}, "`divergence` must be one of .*'js'"),
        (
            lambda p: AttentionTransfer("a", "b", p),
            {"p": 0.5},
            "`p` must be a finite number >= 1. Received: p=0.5",
        ),
        *(
            (
                lambda loss=loss, **kwargs: loss(
                    **({"teacher_layer_name": "a", "student_layer_name": "b"} | kwargs)
                ),
                {name: bad},
                f"`{name}` must be the name of a layer",
            )
            for loss in (FeatureHint, AttentionTransfer, RelationalKD)
            for name in ("teacher_layer_name", "student_layer_name")
            for bad in ("", 3, ["a"])
        ),
    ],
)
def test_constructor_arguments(loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        loss(**arguments)


LOGITS = [SoftTargets(), LogitMSE(), DecoupledKD(), DIST()]
MAPS = AttentionTransfer("a", "b")
HINT = FeatureHint("a", "b")


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("loss", "teacher", "student", "message"),
    [
        *(
            (loss, (4, 5), shape, f"^{type(loss).__name__} needs .*of the same shape")
            for loss in LOGITS
            for shape in [(4, 6), (3, 5), (4, 5, 5), (4,)]
        ),
        (SoftTargets(), (4,), (4,), "of the same shape `.batch, ..., classes.`"),
        (MAPS, (4, 5), (4, 5), "AttentionTransfer needs .* that are feature maps"),
        (MAPS, (4, 3, 3, 2), (5, 3, 3, 2), r"Received: shapes \(4, 3, 3, 2\)"),
        (RelationalKD(), (4, 5), (3, 5), "one embedding per example"),
        (RelationalKD(), (4,), (4,), "one embedding per example"),
        (HINT, (4, 5), (4, 3, 5), "of the same rank"),
        (HINT, (4, 5), (3, 5), "features of the same batch"),
        (HINT, (4, 7, 5), (4, 6, 5), "sequences of the same length"),
        (HINT, (4, 7), (4, 5), "needs its projection where channels differ"),
    ],
)
def test_shapes(loss, teacher, student, message):
    with pytest.raises(ValueError, match=message):
        loss.validate_outputs(np.zeros(teacher), np.zeros(student))


@pytest.mark.wrong_input
@pytest.mark.parametrize("loss", [*LOGITS, RelationalKD()])
def test_structures(loss):
    x = normal(4, 5)
    for teacher, student in [(x, [x, x]), ({"a": x}, {"b": x}), ([x], [x, x])]:
        with pytest.raises(ValueError, match="must have the same structure"):
            loss.validate_outputs(teacher, student)


@pytest.mark.wrong_input
def test_hints_take_one_tensor():
    x = normal(4, 5)
    with pytest.raises(ValueError, match="`student_outputs` must be one tensor"):
        HINT.validate_outputs(x, [x, x])


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "DecoupledKD needs labels.* Received: y_true=None"),
        (np.zeros((4, 3)), "`y_true` must hold class indices or be one-hot"),
        (np.zeros((4, 5, 1)), "`y_true` must hold class indices or be one-hot"),
        ({"a": np.zeros(4)}, "`y_true` must be one tensor, or one for each output"),
        ([np.zeros(4), np.zeros(4)], "`y_true` must be one tensor, or one for each"),
    ],
    ids=["none", "classes", "rank", "dict", "too_many"],
)
def test_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        DecoupledKD().compute_loss(normal(4, 5), normal(4, 5), y_true=labels)


@pytest.mark.wrong_input
@pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 5, 2)])
def test_sample_weights(shape):
    with pytest.raises(ValueError, match="`sample_weight` must have one weight per"):
        LogitMSE().compute_loss(
            normal(4, 5), normal(4, 5), sample_weight=np.ones(shape)
        )
