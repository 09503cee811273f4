"""What each writer writes when nothing disturbs it, and how long that takes."""

import time
from pathlib import Path

import writers
from processes import Child


class Undisturbed:
    """Makes it when it is first asked for.

    Args:
        folder: where to.
        names: of the writers, in the order in which they take turns.
    """

    def __init__(self, folder, names=("recorder", "cache", "study", "kernel")):
        self.folder = Path(folder)
        self._made = {}
        self.recorder = writers.Recorder()
        cache = writers.Cache(self.folder / self.recorder.name)
        known = [self.recorder, cache, writers.Study(), writers.Kernel()]
        self.writers = [one for name in names for one in known if one.name == name]

    def of(self, writer):
        """`(reading, seconds, bytes on the disk)`."""
        if writer.name == "cache":
            self.of(self.recorder)  # its teacher
        if writer.name not in self._made:
            place = self.folder / writer.name
            begun = time.monotonic()
            end = Child(writer.write, place, log=place.with_suffix(".log")).wait()
            seconds = time.monotonic() - begun
            if not end.well:
                raise RuntimeError(f"{writer.name} does not run at all: {end}")
            size = sum(p.stat().st_size for p in place.rglob("*") if p.is_file())
            self._made[writer.name] = writer.read(place), seconds, size
        return self._made[writer.name]
