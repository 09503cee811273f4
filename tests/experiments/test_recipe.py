"""Recipes as data: what they refuse, how they are changed, how many cells there are."""

import dataclasses
import json

import pytest

from keras_kd.experiments import METHODS, RECIPES, Architecture, Data, Recipe
from keras_kd.experiments.studies.folder import keep_recipe
from keras_kd.experiments.studies.seals import write_record

pytestmark = pytest.mark.once

SMALL = Recipe(
    name="small",
    about="",
    data=(Data("digits", n_train=100, n_validation=50),),
    teacher=Architecture("lenet5"),
    students=(Architecture("lenet5", 0.5), Architecture("lenet5", 0.25)),
    methods=("none", "offline", "online", "equal_epochs"),
    epochs=4,
    teacher_epochs=4,
    learning_rates=(0.1, 0.2),
    spacings=(1, 2),
    seeds=3,
)


def test_cells():
    names = [cell.setting.split("/")[-1] for cell in SMALL.settings(*pick(SMALL))]
    assert names == [
        "none",
        "offline-T1",
        "offline-T4",
        "online-T1",
        "online-T1-every-2",
        "online-T4",
        "online-T4-every-2",
        "equal_epochs-T1",
        "equal_epochs-T4",
    ]
    # Two students, both rates with the first seed and one with the other two.
    assert len(SMALL) == 9 * 2 * (2 + 2)


def pick(recipe):
    return recipe.data[0], recipe.students[0]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_known_by_what_is_written(recipe):
    written = json.loads(json.dumps(recipe.identity))
    again = dataclasses.replace(
        Recipe.of_identity(written),
        **{n: getattr(recipe, n) for n in ("about", "seeds", "from_paper", "recalled")},
    )
    assert again == recipe


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        ({"epochs": "7"}, "epochs", 7),
        ({"temperatures": "1,2.5"}, "temperatures", (1.0, 2.5)),
        ({"methods": "none, offline"}, "methods", ("none", "offline")),
        (
            {"students": "lenet5:2,resnet8"},
            "students",
            (Architecture("lenet5", 2.0), Architecture("resnet8")),
        ),
        ({"assistant": "None"}, "assistant", None),
        ({"teacher": "resnet20"}, "teacher", Architecture("resnet20")),
        ({"ema": "0.9"}, "ema", 0.9),
        ({"milestones": "0.375,0.75"}, "milestones", (0.375, 0.75)),
        ({"data.n_train": "None"}, "data", (Data("digits", n_validation=50),)),
        (
            {"data.crop_and_flip": "True", "data.label_noise": "0.1"},
            "data",
            (Data("digits", 100, 50, None, 0.1, True),),
        ),
    ],
)
def test_settings(settings, field, value):
    changed = SMALL.with_settings(settings)
    assert getattr(changed, field) == value
    # And nothing else.
    assert dataclasses.replace(changed, **{field: getattr(SMALL, field)}) == SMALL


@pytest.mark.wrong_input
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": "3"}, "by its fields, name, .*data.n_train.*Received: epoch=3"),
        ({"epochs": "x"}, "`epochs` must be of the kind int. Received: epochs=x"),
        ({"epochs": "1.5"}, "`epochs` must be of the kind int"),
        ({"epochs": "0"}, "`epochs` must be >= 1. Received: epochs=0"),
        ({"data.crop_and_flip": "1"}, "`data.crop_and_flip` must be of the kind bool"),
        ({"data": "mnist"}, "parts of `data` can be, such as data.n_train"),
        ({"recalled": "epochs"}, "`recalled` cannot be set"),
        ({"methods": "offlin"}, "`methods` must be names among"),
        ({"methods": "born_again,none"}, "'none' before 'born_again'"),
        ({"methods": "none,assistant"}, "`assistant` must be an architecture"),
        ({"students": "lenet6"}, "`network` must be one of"),
        ({"students": "lenet5:wide"}, "`students` must be of the kind float"),
        ({"temperatures": "0"}, "`temperatures` must be a finite number > 0"),
        ({"temperatures": "1e999"}, "`temperatures` must be a finite number > 0"),
        ({"temperatures": "1e300"}, r"`temperatures` must be in \[1e-6, 1e6\]"),
        ({"teacher_learning_rate": "-1"}, "`teacher_learning_rate` must be > 0"),
        ({"teacher_learning_rate": "1e999"}, "`teacher_learning_rate` must be > 0"),
        ({"learning_rates": "1e999"}, "`learning_rates` must be > 0 and at most"),
        ({"ntk_images": "-1"}, "`ntk_images` must be >= 0. Received: ntk_images=-1"),
        ({"complexity_images": "-1"}, "`complexity_images` must be >= 0"),
        ({"epochs": "1e400"}, "`epochs` must be of the kind int. Received: epochs=1e4"),
        ({"epochs": "[" * 5000}, "`epochs` must be of the kind int"),
        ({"data.n_train": "0"}, "`n_train` must be None or >= 1"),
        ({"data.n_test": "-3"}, "`n_test` must be None or >= 1"),
        ({"data.n_validation": "-1"}, "`n_validation` must be >= 0"),
        ({"temperatures": ""}, "`temperatures` must be not empty"),
        ({"learning_rates": "-1"}, "`learning_rates` must be > 0"),
        ({"higher_learning_rates": "0"}, "`higher_learning_rates` must be > 0"),
        (
            {"higher_learning_rates": "0.5,0.4"},
            r"`higher_learning_rates` must be ascending, and above 0\.2",
        ),
        ({"learning_rates": "0.2,0.2"}, "`learning_rates` must be different from each"),
        ({"students": "lenet5,lenet5"}, "Received: students=lenet5, lenet5"),
        ({"students": "resnet8:2"}, r"to have a width. Received: network=resnet8x2"),
        ({"milestones": "0.5,0.5"}, "`milestones` must be ascending shares between 0"),
        ({"milestones": "0.5,1"}, r"Received: milestones=\(0\.5, 1\.0\)"),
        ({"milestones": "0"}, "`milestones` must be ascending shares between 0 and 1"),
        ({"ema": "1"}, "`ema` must be between 0 and 1"),
        ({"spacings": "5"}, "`spacings` must be between 1 and teacher_epochs=4"),
        ({"data.label_noise": "2"}, "`label_noise` must be in"),
        ({"data.n_validation": "0"}, "`n_validation` must be > 0, where"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        SMALL.with_settings(settings)


def test_whose_the_settings_are():
    recipe = dataclasses.replace(
        SMALL, from_paper=("epochs", "seeds", "data.name"), recalled=("batch_size",)
    )
    origins = recipe.origins
    assert origins == dict.fromkeys(origins, "ours") | {
        "data.name": "paper",
        "epochs": "paper",
        "seeds": "paper",
        "batch_size": "paper, recalled",
    }
    settings = {f"data.{field.name}" for field in dataclasses.fields(Data)}
    assert set(origins) == ({*recipe.identity, "seeds"} - {"name", "data"} | settings)
    # With another value it is the paper's no longer.
    changed = recipe.with_settings({"epochs": "3", "batch_size": "8"})
    assert changed.origins["epochs"] == changed.origins["batch_size"] == "ours"
    assert changed.origins["seeds"] == "paper"
    with pytest.raises(ValueError, match=r"`recalled` must be names among .*'epochs'"):
        dataclasses.replace(SMALL, recalled=("epoch",))


def test_a_folder_of_a_release_that_knew_fewer_settings(tmp_path):
    file = tmp_path / "recipe.json"
    held = SMALL.identity
    del held["milestones"]
    write_record(file, held)
    keep_recipe(SMALL, file)
    by_steps = SMALL.with_settings({"milestones": "0.5"})
    with pytest.raises(ValueError, match=r"milestones=\[0\.5\], and \[\] there"):
        keep_recipe(by_steps, file)


def test_the_recipes():
    """Every method is in a study, and every recipe is a sound one."""
    long = RECIPES["digits_overlay"].methods
    assert {*RECIPES["digits"].methods, *long} == set(METHODS)
    assert RECIPES["fashion_overlay_dense"].methods == long
    for recipe in RECIPES.values():
        assert len(recipe) > 0
        assert recipe.name in RECIPES
    pairs = {
        (r.data[0].name, str(r.teacher), str(r.students[0]))
        for r in RECIPES.values()
        if r.data[0].crop_and_flip
    }
    assert ("cifar10", "resnet56", "lenet5x8") in pairs
    for recipe in RECIPES.values():
        of_paper = recipe.data[0].crop_and_flip
        assert ("paper" in recipe.origins.values()) == of_paper
        if of_paper:
            drops = [recipe.epochs * share for share in recipe.milestones]
            assert (recipe.epochs, drops) in (
                (256, [96, 192, 224]),
                (200, pytest.approx([75, 135])),
            )
    assert ("cifar100", "resnet110", "resnet20") in pairs
    assert ("tiny_imagenet", "mobilenet_v3x1.25", "mobilenet_v3x0.35") in pairs
    assert ("tiny_imagenet", "resnet101", "vgg16") in pairs
    assert ("binary_cifar100", "resnet56", "lenet5x8") in pairs
