"""A process that is forked from this one, which has imported all that is slow."""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple


class End(NamedTuple):
    """How a process ended.

    Attributes:
        by: the signal that ended it, 0 for none.
        error: `Kind: message` of what it raised, or `""`.
        notes: what it has said by `note`.
    """

    by: int
    error: str
    notes: list[str]

    @property
    def well(self):
        return not self.by and not self.error


class Child:
    """Does one piece of work in a process of its own.

    Args:
        work: is called with `arguments`, and may call `note`.
        arguments: of `work`.
        log: a file for what the process prints, its error and its notes.
    """

    def __init__(self, work, *arguments, log):
        self.log = Path(log)
        self.log.touch()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            for descriptor in (1, 2):
                os.dup2(
                    os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor
                )
            work(*arguments)
            status = 0
        except BaseException as error:
            print(traceback.format_exc(), flush=True)
            kinds = [kind.__name__ for kind in type(error).__mro__]
            print(f"\nENDED {'/'.join(kinds[:-2])}: {' '.join(str(error).split())}")
        finally:
            sys.stdout.flush()
            os._exit(status)

    def signal(self, number):
        os.kill(self.pid, number)

    def kill_after(self, seconds):
        """Sends SIGKILL, and says whether the process was still there."""
        time.sleep(seconds)
        self.signal(signal.SIGKILL)
        return self.wait().by == signal.SIGKILL

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        return self._end(status)

    def poll(self):
        """Its `End`, `None` while it works."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return self._end(status) if pid else None

    def _end(self, status):
        lines = self.log.read_text(errors="replace").splitlines()
        notes = [line[5:] for line in lines if line.startswith("NOTE ")]
        errors = [line[6:] for line in lines if line.startswith("ENDED ")]
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        error = errors[-1] if errors and os.waitstatus_to_exitcode(status) == 1 else ""
        if not by and not error and status:
            error = f"status {status}"
        return End(by, error, notes)


def note(text):
    """Says something of a piece of work that ends well."""
    print(f"\nNOTE {text}", flush=True)
