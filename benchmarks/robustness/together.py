"""Two processes and one folder: one works, the other is told so at once."""

import random
import shutil
import signal
import time

from processes import Child
from writers import difference


def rows(undisturbed, folder, trials, seen):
    """Yields `(name, failure or None, notes)`.

    In turns: the first is stopped at a random moment of its work, and goes on when the
    second has ended; or both begin at once.
    """
    # One backup for two would be Keras's business.
    undisturbed.recorder.backup = False
    for trial in range(trials):
        writer = undisturbed.writers[trial % len(undisturbed.writers)]
        begin_at_once = trial // len(undisturbed.writers) % 2
        name = f"{writer.name} {'at once' if begin_at_once else 'in between'} {trial}"
        if name in seen:
            continue
        place = folder / f"{writer.name}-{trial}"
        failure = None
        for attempt in range(9):
            how = _at_once if begin_at_once else _in_between
            rng = random.Random(f"{name} {attempt}")
            failure = how(writer, undisturbed.of(writer), place, rng)
            for path in folder.glob(f"{place.name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if failure != "":
                break
        yield name, failure, []


def _in_between(writer, undisturbed, place, rng):
    """`""` where the first had ended before the second began."""
    expected, seconds, _ = undisturbed
    logs = [place.with_suffix(f".{i}.log") for i in range(2)]
    first = Child(writer.write, place, log=logs[0])
    while not (place / writer.sign).exists():
        if (end := first.poll()) is not None:
            return None if end.well and writer.sign == "building.json" else str(end)
        time.sleep(0.001)
    time.sleep(rng.uniform(0, seconds / 3))
    if first.poll() is not None:
        return ""
    first.signal(signal.SIGSTOP)
    if difference(writer.read(place), expected) is None:
        first.signal(signal.SIGCONT)
        first.wait()
        return ""
    second = Child(writer.write, place, rng.random() < 0.5, log=logs[1]).wait()
    first.signal(signal.SIGCONT)
    end = first.wait()
    if "BlockingIOError" not in second.error:
        return f"the second was not told: {second}"
    if not end.well:
        return f"the first was disturbed: {end}"
    return difference(writer.read(place), expected)


def _at_once(writer, undisturbed, place, rng):
    logs = [place.with_suffix(f".{i}.log") for i in range(2)]
    children = [Child(writer.write, place, log=log) for log in logs]
    ends = [child.wait() for child in children]
    told = [end for end in ends if "BlockingIOError" in end.error]
    if any(not end.well and end not in told for end in ends):
        return f"one ends otherwise: {ends}"
    if len(told) == 2:
        return "both were told"
    return difference(writer.read(place), undisturbed[0])
