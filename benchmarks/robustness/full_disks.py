"""A disk that is too small: one error, nothing lost, and it goes on later.

A small file system in memory is mounted by root; else no file may grow beyond a size.
"""

import os
import random
import resource
import shutil
import subprocess

from processes import Child
from writers import difference


def rows(undisturbed, folder, trials, seen):
    """Yields `(name, failure or None, notes)`: shares of the room that is needed."""
    for trial in range(trials):
        writer = undisturbed.writers[trial % len(undisturbed.writers)]
        share = random.Random(trial).uniform(0.05, 0.95)
        name = f"{writer.name}, {share:.0%} of the room, {trial}"
        if name in seen:
            continue
        place = folder / f"{writer.name}-{trial}"
        place.mkdir()
        mounted = os.geteuid() == 0 and _mount(place, 2**30)
        try:
            yield name, *_trial(writer, undisturbed.of(writer), place, share, mounted)
        finally:
            if mounted:
                subprocess.run(["umount", place], check=True)
            for path in folder.glob(f"{place.name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _mount(place, size, *options):
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options])]
    return not subprocess.run(
        [*command, "tmpfs", place], capture_output=True, check=False
    ).returncode


def _limited(write, place, size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    write(place)


def _trial(writer, undisturbed, place, share, mounted):
    expected, _, size = undisturbed
    log = place.with_suffix(".log")
    if mounted:
        _mount(place, max(4096, int(share * size)), "remount")
        end = Child(writer.write, place, log=log).wait()
    else:
        largest = max(map(len, expected.values()))
        work = writer.write, place, int(share * largest)
        end = Child(_limited, *work, log=log).wait()
    if end.by:
        return f"ended by signal {end.by}", []
    if end.well:
        return "the disk was not full", []
    if not _says_so(end.error):
        return f"the error does not say it: {end.error[:300]}", []
    log.unlink()
    if mounted:
        _mount(place, 2**30, "remount")
    end = Child(writer.write, place, log=log).wait()
    if not end.well:
        return f"does not go on: {end.error or f'signal {end.by}'}", end.notes
    return difference(writer.read(place), expected), end.notes


def _says_so(error):
    words = ("No space left", "too small", "File too large")
    return any(word in error for word in words)
