"""SIGKILL at a random moment; then the same call once more, to the end."""

import random
import shutil

from processes import Child
from writers import difference


def rows(undisturbed, folder, trials, seen):
    """Yields `(name, failure or None, notes)`; the writers take turns."""
    undisturbed.recorder.backup = True
    for trial in range(trials):
        writer = undisturbed.writers[trial % len(undisturbed.writers)]
        name = f"{writer.name} {trial}"
        if name in seen:
            continue
        place = folder / f"{writer.name}-{trial}"
        yield name, *_trial(writer, undisturbed.of(writer), place, random.Random(name))
        for path in folder.glob(f"{place.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _trial(writer, undisturbed, place, rng):
    expected, seconds, _ = undisturbed
    log = place.with_suffix(".log")
    while not Child(writer.write, place, log=log).kill_after(rng.uniform(0, seconds)):
        shutil.rmtree(place)  # it had ended before
    # A reader finds what is whole, or is told what is not.
    log.unlink(missing_ok=True)
    end = Child(writer.write, place, log=log).wait()
    if not end.well:
        return f"does not go on: {end.error or f'signal {end.by}'}", end.notes
    return difference(writer.read(place), expected), end.notes
