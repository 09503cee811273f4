"""What is kept after its use: models, distillers, optimizers, and open files.

    KERAS_BACKEND=jax python benchmarks/robustness/leaks.py 3 FOLDER

prints a line of JSON for each use; `rows` runs that for each backend.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path


def rows(backends, folder, repeats, seen):
    """Yields `(name, failure or None, notes)`: each use so many times a backend."""
    for backend in backends:
        if all(f"{backend} {use.__name__} {repeats - 1}" in seen for use in USES):
            continue
        place = folder / backend
        place.mkdir()
        process = subprocess.Popen(
            [sys.executable, __file__, str(repeats), place],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KERAS_BACKEND": backend},
        )
        for line in process.stdout:
            name, failure = json.loads(line)
            if f"{backend} {name}" not in seen:
                yield f"{backend} {name}", failure, []
        if process.wait():
            yield f"{backend} as a whole", f"ended with {process.returncode}", []


def network(units=8):
    import keras

    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(units, activation="relu", name="hidden"),
            keras.layers.Dense(4, name="logits"),
        ]
    )


def numbers():
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 6)).astype("float32"), rng.integers(0, 4, 32)


def sparse():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fitted(teacher, losses=None, callbacks=()):
    """A distiller, compiled and trained, with all that belongs to it."""
    import keras_kd

    distiller = keras_kd.Distiller(
        teacher, network(), losses or keras_kd.losses.SoftTargets(2.0)
    )
    distiller.compile("adam", sparse())
    x, y = numbers()
    distiller.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=list(callbacks))
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    return [distiller, distiller.student, distiller.optimizer]


def live(folder):
    teacher = network(12)
    return [teacher, *fitted(teacher)]


def cached(folder):
    import keras_kd

    cache = keras_kd.SupervisionCache(folder / "cache")
    return [cache, *fitted(cache)]


def online(folder):
    import keras_kd

    trajectory = keras_kd.TeacherTrajectory(folder / "teacher")
    callback = keras_kd.OnlineTeacher(trajectory)
    return [trajectory, callback, *fitted(network(12), callbacks=[callback])]


def online_cached(folder):
    import keras_kd

    cache = keras_kd.SupervisionCache(folder / "cache")
    callback = keras_kd.OnlineTeacher(cache)
    return [cache, callback, *fitted(cache, callbacks=[callback])]


def features(folder):
    import keras_kd

    hint = keras_kd.losses.FeatureHint("hidden", "hidden")
    return fitted(network(12), [keras_kd.losses.SoftTargets(2.0), hint])


def recorded(folder):
    import keras_kd

    model, (x, y) = network(), numbers()
    model.compile("sgd", sparse())
    recorder = keras_kd.TrajectoryRecorder(folder / "again", overwrite=True)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    return [model, recorder, model.optimizer]


def saved(folder):
    import keras

    first = fitted(network(12))
    first[0].save(folder / "distiller.keras")
    return [*first, keras.saving.load_model(folder / "distiller.keras")]


def kernel(folder):
    from keras_kd.ntk import empirical_ntk

    model, (x, _) = network(), numbers()
    (folder / "kernel.npy").unlink(missing_ok=True)
    empirical_ntk(model, x, out=folder / "kernel.npy")
    empirical_ntk(model, x, implementation="jacobian")
    return [model]


def operator(folder):
    from keras_kd.ntk import NTKOperator

    model, (x, _) = network(), numbers()
    made = NTKOperator(model, x)
    made.matvec(x[:, 0])
    return [model, made]


USES = [
    *(live, cached, online, online_cached, features),
    *(recorded, saved, kernel, operator),
]


def prepare(folder):
    """A recorded teacher, and its cache."""
    import keras_kd

    model, (x, y) = network(12), numbers()
    model.compile("sgd", sparse())
    recorder = keras_kd.TrajectoryRecorder(folder / "teacher")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    trajectory = keras_kd.TeacherTrajectory(folder / "teacher")
    keras_kd.SupervisionCache.build(
        trajectory, (x, y), folder / "cache", batch_size=8, progress=False
    )


def open_files(folder):
    """Of this process, those in a folder: by descriptor, and mapped into memory."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    maps = Path("/proc/self/maps").read_text().splitlines()
    found |= {line.split(maxsplit=5)[-1] for line in maps}
    return {path for path in found if path.startswith(str(folder))}


def main(repeats, folder):
    import keras

    prepare(folder)
    for repeat in range(repeats):
        for use in USES:
            before = open_files(folder)
            made = use(folder)
            kinds = [type(value).__name__ for value in made]
            references = [weakref.ref(value) for value in made]
            del made
            keras.backend.clear_session()
            gc.collect()
            kept = [
                kind
                for kind, reference in zip(kinds, references, strict=True)
                if reference() is not None
            ]
            files = len(open_files(folder) - before)
            said = [f"{kind} kept" for kind in kept] + [f"{files} files open"] * (
                files > 0
            )
            failure = ", ".join(said) or None
            print(json.dumps([f"{use.__name__} {repeat}", failure]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).resolve())
