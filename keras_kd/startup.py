"""Whether this process is the command `keras-kd`."""

import itertools
import sys
from pathlib import PurePath

_NAMES = ("keras-kd", "keras-kd-script")
_MODULE = "keras_kd.cli"


def is_command_line() -> bool:
    """Whether Python was started as `keras-kd`, or as `python -m keras_kd.cli`.

    Told from how the process was started, since nothing else is known yet when
    `keras_kd` is imported.
    """
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":
        # So Python calls it while it looks for the module, whose package this is.
        pairs = itertools.pairwise(sys.orig_argv)
        return ("-m", _MODULE) in pairs or f"-m{_MODULE}" in sys.orig_argv
    # On Windows it is an .exe, or a script of another name.
    return PurePath(started).stem in _NAMES
