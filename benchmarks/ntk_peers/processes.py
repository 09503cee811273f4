"""One contender's process, asked over its standard input."""

import json
import math
import os
import queue
import subprocess
import tempfile
import threading
import time


class Failure(Exception):
    """A contender's process did not answer, and why."""


class Process:
    """One contender with one setting, kept between its kernels.

    Args:
        command: of the process.
        environment: added to this one's.
        memory: bytes above the imports beyond which it is ended.
    """

    def __init__(self, command, environment, memory):
        self.memory = memory
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with it
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self._answer(300)
        self.base, self.versions = first["base"], first["versions"]

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _resident(self):
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def _answer(self, limit, base=math.inf):
        end = time.monotonic() + limit
        while True:
            try:
                line = self.lines.get(timeout=0.02)
            except queue.Empty:
                if self._resident() > base + self.memory:
                    self.close()
                    over = f"over {self.memory / 2**30:.3g} GiB"
                    raise Failure(over) from None
                if time.monotonic() > end:
                    self.close()
                    raise Failure(f"over {limit:.0f} s") from None
                continue
            if not line:
                code = self.process.wait()
                self.log.seek(0)
                said = [x for x in self.log.read().splitlines() if x.strip()][-1:]
                raise Failure(f"ended with {code}: {' '.join(said)[:200]}")
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(answer["error"])
            return answer

    def ask(self, limit, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer(limit, self.base)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
