"""Many small matrix products: one a core, rather than all cores on each of them."""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")


def in_threads(function: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Calls `function` for every item, on all cores, BLAS on one thread in each."""
    items = list(items)
    if len(items) == 1:
        function(items[0])
        return
    with (
        _controller().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(_cores()) as pool,
    ):
        for _ in pool.map(function, items):
            pass


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _controller() -> ThreadpoolController:
    # Finding the libraries takes milliseconds; NumPy's is loaded by now.
    return ThreadpoolController()
