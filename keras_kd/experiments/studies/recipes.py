"""The studies: the paper's, and those that two cores finish."""

import dataclasses

from keras_kd.experiments.studies.cell import Architecture, Data
from keras_kd.experiments.studies.methods import METHODS
from keras_kd.experiments.studies.recipe import Recipe

_ALL = tuple(METHODS)
# Those of the short trainings, whose results are published.
_SHORT = tuple(name for name in METHODS if name != "phase_transition")
# A teacher that is trained anew with each student costs more than all the others.
_BUT_TOGETHER = tuple(name for name in _SHORT if name != "together")

_LENET5X8 = Architecture("lenet5", 8)
_RESNET20 = Architecture("resnet20")
_RESNET56 = Architecture("resnet56")
_RESNET101 = Architecture("resnet101")
_RESNET110 = Architecture("resnet110")
_MOBILENET_SMALL = Architecture("mobilenet_v3", 0.35)
_MOBILENET_LARGE = Architecture("mobilenet_v3", 1.25)
_VGG16 = Architecture("vgg16")

# The pairs of Harutyunyan et al., ICLR 2023: data, teacher, student, assistant.
_PAPER = (
    ("cifar10", _RESNET56, _LENET5X8, _RESNET20),
    ("cifar10", _RESNET110, _RESNET20, _RESNET56),
    ("cifar100", _RESNET56, _LENET5X8, _RESNET20),
    ("cifar100", _RESNET110, _RESNET20, _RESNET56),
    ("tiny_imagenet", _MOBILENET_LARGE, _MOBILENET_SMALL, Architecture("resnet56")),
    ("tiny_imagenet", _RESNET101, _MOBILENET_SMALL, _MOBILENET_LARGE),
    ("tiny_imagenet", _RESNET101, _VGG16, _MOBILENET_LARGE),
    ("binary_cifar100", _RESNET56, _LENET5X8, _RESNET20),
)


def _paper(
    data: str, teacher: Architecture, student: Architecture, assistant: Architecture
) -> Recipe:
    tiny = data == "tiny_imagenet"
    from_paper = ["data.name", "teacher", "students", "seeds"]
    recalled = ["data.crop_and_flip", "batch_size", "milestones"]
    (recalled if tiny else from_paper).append("epochs")
    return Recipe(
        name=f"{data}-{teacher}-{student}",
        about=f"the paper's: {student} from {teacher} on {data}",
        data=(Data(data, crop_and_flip=True),),
        teacher=teacher,
        students=(student,),
        methods=_ALL,
        epochs=200 if tiny else 256,
        teacher_epochs=200 if tiny else 256,
        # Epochs 75 and 135; 96, 192 and 224.
        milestones=(0.375, 0.675) if tiny else (0.375, 0.75, 0.875),
        assistant=assistant,
        ntk_images=512,
        from_paper=tuple(from_paper),
        recalled=tuple(recalled),
    )


# 1,797 images, of which 500 are for the test.
_DIGITS = Data("digits", n_train=1_000, n_validation=297)
_FASHION = Data("fashion_mnist", n_train=10_000, n_validation=2_000)
_NOISY = Data("fashion_mnist", n_train=10_000, n_validation=2_000, label_noise=0.2)
_BINARY = Data("binary_fashion_mnist", n_train=10_000, n_validation=2_000)
_OVERLAY = Data("fashion_overlay", n_train=10_000, n_validation=2_000)
_RATES = (0.03, 0.1, 0.3)
# At temperature 4 many students do best at the highest.
_HIGHER_RATES = (1.0, 3.0)
_RESNET8 = Architecture("resnet8")
_LENET5 = Architecture("lenet5", 1)
_HALF_LENET5 = Architecture("lenet5", 0.5)
_LENET5X2 = Architecture("lenet5", 2)

_ON_DIGITS = Recipe(
    name="digits",
    about="all methods but one on 1,000 handwritten digits",
    data=(_DIGITS,),
    teacher=_RESNET8,
    students=(_HALF_LENET5,),
    methods=_SHORT,
    epochs=30,
    teacher_epochs=30,
    batch_size=64,
    learning_rates=_RATES,
    higher_learning_rates=_HIGHER_RATES,
    assistant=_LENET5X2,
    ntk_images=256,
    seeds=5,
)
# The questions about one quantity: fewer methods, and not the lowest rate, which was
# chosen for no student of the other studies.
_QUESTION = dataclasses.replace(
    _ON_DIGITS,
    methods=("none", "offline", "online", "online_averaged"),
    learning_rates=(0.1, 0.3),
    assistant=None,
    ntk_images=0,
    seeds=3,
)
_ON_GARMENTS = Recipe(
    name="fashion_mnist",
    about="all methods but two on 10,000 garments",
    data=(_FASHION,),
    teacher=_RESNET8,
    students=(_LENET5,),
    methods=_BUT_TOGETHER,
    epochs=15,
    teacher_epochs=15,
    learning_rates=_RATES,
    higher_learning_rates=_HIGHER_RATES,
    assistant=_LENET5X2,
    ntk_images=256,
)

# Hours on one core: students that know nothing of images, trained long, from teachers
# that know the training images by heart.
_ON_OVERLAID_DIGITS = Recipe(
    name="digits_overlay",
    about="a dense student, trained long: 5,000 overlaid pairs of digits, 55 classes",
    data=(Data("digits_overlay", n_train=5_000, n_validation=1_000),),
    teacher=Architecture("convnet"),
    students=(Architecture("mlp", 1),),
    methods=(
        "none",
        "label_smoothing",
        "offline",
        "offline_averaged",
        "early_stopped",
        "online",
        "online_averaged",
        "equal_epochs",
        "phase_transition",
    ),
    epochs=150,
    teacher_epochs=30,
    batch_size=64,
    # Smoothed labels do best at a low one.
    learning_rates=(0.01, *_RATES),
    higher_learning_rates=(1.0,),
    ntk_images=256,
    seeds=5,
)

_TWO_CORES = (
    _ON_DIGITS,
    _ON_GARMENTS,
    dataclasses.replace(
        _ON_GARMENTS,
        name="noisy_fashion_mnist",
        about="the same with 20 % wrong labels",
        data=(_NOISY,),
    ),
    dataclasses.replace(
        _ON_GARMENTS,
        name="binary_fashion_mnist",
        about="the same with two classes: garments 0 to 4, and 5 to 9",
        data=(_BINARY,),
    ),
    dataclasses.replace(
        _ON_GARMENTS,
        name="fashion_overlay",
        about="all methods but two on 10,000 overlaid pairs, 55 classes",
        data=(_OVERLAY,),
        teacher=_RESNET20,
        students=(_HALF_LENET5, _LENET5X2),
        assistant=_RESNET8,
    ),
    _ON_OVERLAID_DIGITS,
    dataclasses.replace(
        _ON_OVERLAID_DIGITS,
        name="fashion_overlay_dense",
        about="a dense student, trained long: 10,000 overlaid pairs of garments",
        data=(_OVERLAY,),
        teacher=_LENET5X2,
        students=(Architecture("mlp", 2),),
        teacher_epochs=48,
        batch_size=128,
    ),
    dataclasses.replace(
        _QUESTION,
        name="digits_complexity",
        about="supervision complexity over training",
        methods=("online", "online_averaged"),
        learning_rates=(0.1,),
        higher_learning_rates=(),
        complexity_images=256,
    ),
    dataclasses.replace(
        _QUESTION,
        name="digits_spacing",
        about="how often must the teacher be recorded?",
        methods=("offline", "online", "online_averaged"),
        spacings=(1, 2, 5, 10, 30),
    ),
    dataclasses.replace(
        _QUESTION,
        name="digits_gap",
        about="gain of online distillation against the student's size",
        students=tuple(Architecture("lenet5", w) for w in (0.5, 1, 2, 4, 8)),
    ),
    dataclasses.replace(
        _QUESTION,
        name="digits_size",
        about="gain of online distillation against the number of images",
        data=tuple(
            # As many steps with few images as with many.
            dataclasses.replace(_DIGITS, n_train=n, passes=1_000 // n)
            for n in (125, 250, 500, 1_000)
        ),
    ),
    dataclasses.replace(
        _QUESTION,
        name="digits_noise",
        about="gain of online distillation against label noise",
        data=tuple(
            dataclasses.replace(_DIGITS, label_noise=share)
            for share in (0.0, 0.1, 0.2, 0.4)
        ),
    ),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*_TWO_CORES, *(_paper(*pair) for pair in _PAPER))
}
