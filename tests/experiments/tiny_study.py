"""A small study in a process of its own, to be killed: `tiny_study.py FOLDER`."""

import sys

from keras_kd.experiments import RECIPES, run

SETTINGS = {
    "data.n_train": "32",
    "data.n_validation": "16",
    "data.n_test": "32",
    "batch_size": "16",
    "epochs": "3",
    "teacher_epochs": "3",
    "teacher": "lenet5:0.3",
    "students": "lenet5:0.2",
    "methods": "none,online_averaged",
    "learning_rates": "0.05",
    "temperatures": "4",
    "ntk_images": "0",
    "seeds": "1",
}

if __name__ == "__main__":
    run(RECIPES["digits"].with_settings(SETTINGS), sys.argv[1])
