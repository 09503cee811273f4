import keras
import numpy as np
import pytest
import torch
from loss_inputs import normal, value

from keras_kd.losses import FeatureHint


def convnet(filters, size=8, strides=1):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Conv2D(filters, 3, strides, "same", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )


def test_equal_channels_need_no_projection():
    hint = FeatureHint("conv", "conv")
    hint.validate_model_compatibility(convnet(4), convnet(4))
    assert hint.weights == []
    teacher, student = normal(2, 4, 4, 3, seed=1), normal(2, 4, 4, 3, seed=2)
    expected = np.mean((np.float64(teacher) - student) ** 2)
    loss = hint.compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 5, 6, 4)])
def test_projects_the_students_channels(shape):
    hint = FeatureHint("t", "s")
    hint.build(teacher_shape=(*shape[:-1], 7), student_shape=shape)
    kernel, bias = normal(4, 7, seed=3), normal(7, seed=4)
    hint.projection.set_weights([kernel, bias])
    teacher, student = normal(*shape[:-1], 7, seed=1), normal(*shape, seed=2)
    hint.validate_outputs(teacher, student)
    expected = np.mean((np.float64(student) @ kernel + bias - teacher) ** 2)
    loss = hint.compute_loss(teacher, student)
    assert value(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("teacher_size", "student_size"), [(8, 4), (4, 7)])
def test_other_sizes_are_pooled_to_the_smaller(teacher_size, student_size):
    teacher = normal(2, teacher_size, teacher_size, 3, seed=1)
    student = normal(2, student_size, student_size, 3, seed=2)

    def pooled(x):
        x = torch.from_numpy(np.moveaxis(x, -1, 1))
        return torch.nn.functional.adaptive_avg_pool2d(x, (4, 4)).numpy()

    expected = np.mean((pooled(teacher) - pooled(student)) ** 2)
    hint = FeatureHint("t", "s")
    hint.validate_outputs(teacher, student)
    assert value(hint.compute_loss(teacher, student)) == pytest.approx(expected, 1e-5)


def test_finds_the_channels_of_nested_layers_and_of_outputs():
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 3, name="conv4")],
        name="backbone",
    )
    nested = keras.Model(inputs, keras.layers.Flatten()(backbone(inputs)))
    hint = FeatureHint("backbone/conv4", "conv")
    hint.validate_model_compatibility(nested, convnet(4))
    assert tuple(hint.projection.kernel.shape) == (4, 6)
    outputs = FeatureHint(None, None)
    outputs.validate_model_compatibility(
        backbone,
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(5, 3),
            ]
        ),
    )
    assert tuple(outputs.projection.kernel.shape) == (5, 6)


def test_validation_changes_nothing_the_second_time():
    hint = FeatureHint("conv", "conv")
    teacher, student = convnet(6), convnet(4)
    hint.validate_model_compatibility(teacher, student)
    kernel = value(hint.projection.kernel)
    hint.validate_model_compatibility(teacher, student)
    np.testing.assert_array_equal(value(hint.projection.kernel), kernel)


def test_the_projection_is_float32_under_a_half_precision_policy():
    hint = FeatureHint("t", "s", dtype="mixed_float16")
    hint.build((None, 3), (None, 2))
    teacher, student = normal(4, 3), normal(4, 2)
    halves = [keras.ops.cast(x, "float16") for x in (teacher, student)]
    loss = hint.compute_loss(*halves)
    expected = hint.compute_loss(*(value(x).astype("float32") for x in halves))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert value(loss) == pytest.approx(value(expected), rel=1e-6)


def test_weights_survive_their_own_file(tmp_path):
    hint = FeatureHint("t", "s")
    hint.build((None, 3), (None, 2))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.hint = hint
    model.save_weights(tmp_path / "model.weights.h5")
    kernel = value(hint.projection.kernel)
    hint.projection.kernel.assign(np.zeros((2, 3)))
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(value(hint.projection.kernel), kernel)


class Unbuilt(keras.Model):
    def call(self, x):
        return x


def two_outputs():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, [inputs + 1.0, inputs + 2.0])


MODEL_ERRORS = {
    "no_such_layer": (
        lambda: FeatureHint("conv9", "conv").validate_model_compatibility(
            convnet(4), convnet(4)
        ),
        "has no layer 'conv9'",
    ),
    "unbuilt_student": (
        lambda: FeatureHint("conv", None).validate_model_compatibility(
            convnet(4), Unbuilt(name="student")
        ),
        "needs built models.*'student', not built",
    ),
    "ranks": (
        lambda: FeatureHint("conv", None).validate_model_compatibility(
            convnet(4), convnet(4)
        ),
        r"of the same rank. Received: shapes \(1, 8, 8, 4\) and \(1, 2\)",
    ),
    "several_outputs": (
        lambda: FeatureHint("conv", None).validate_model_compatibility(
            convnet(4), two_outputs()
        ),
        "a model with several outputs",
    ),
}


@pytest.mark.wrong_input
@pytest.mark.parametrize("case", MODEL_ERRORS)
def test_models_that_do_not_fit(case):
    act, message = MODEL_ERRORS[case]
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.wrong_input
def test_refuses_models_with_other_channels_than_it_was_built_for():
    hint = FeatureHint("conv", "conv")
    hint.validate_model_compatibility(convnet(6), convnet(4))
    with pytest.raises(ValueError, match=r"built for, \(6, 4\). Received: \(5, 4\)"):
        hint.validate_model_compatibility(convnet(5), convnet(4))


@pytest.mark.wrong_input
def test_refuses_channels_first():
    first = keras.layers.GlobalAveragePooling2D(data_format="channels_first", name="p")
    model = keras.Sequential([keras.Input((3, 8, 8)), first, keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`teacher_layer_name` must be a layer with"):
        FeatureHint("p", "p").validate_model_compatibility(model, model)
