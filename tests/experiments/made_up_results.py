"""Results that no training made."""

from keras_kd.experiments.studies import results

VERSIONS = {
    "keras_kd": "1",
    "commit": "0123456789abcdef",
    "python": "3.11",
    "keras": "3",
    "backend": "jax",
    "jax": "0",
    "cores": 1,
    "machine": "x",
}


def record(method, seed, test, validation=0.5, rate=0.1, **values):
    temperature = values.pop("temperature", None if method == "none" else 4.0)
    setting = values.pop("setting", f"{method}-{temperature}-{values}")
    return {
        "recipe": "made_up",
        "cell": f"{setting}/rate-{rate}/seed-{seed}",
        "setting": setting,
        "data": "digits",
        "student": "lenet5",
        "parameters": 10,
        "n_train": 100,
        "label_noise": 0.0,
        "method": method,
        "temperature": temperature,
        "spacing": 1,
        "learning_rate": rate,
        "seed": seed,
        "test_accuracy": test,
        "validation_accuracy": validation,
        "fidelity": None if method == "none" else test / 2,
        "ntk_similarity": test / 3,
        "seconds": 36.0,
        "history": {"loss": [1.0]},
        "versions": VERSIONS,
        **values,
    }


def write(folder, records):
    folder.mkdir(exist_ok=True)
    for one in records:
        results.append(folder / results.RESULTS, one)
    return folder
