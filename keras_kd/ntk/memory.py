"""The memory that is there, and how many examples go into it at a time."""

import math

import numpy as np
import psutil

# Of the memory that is there: what factors that are held may take.
_SHARE = 0.5
# The sums of a block and their copies.
_SUMS = 3

# A pass holds its activations, the factors' tensors and their copies: so many numbers
# for each one that it gives.
_PASS_OVERHEAD = 4
_PASS_BYTES = 1 << 29
# Larger passes are no faster, and on a CPU outgrow its caches.
_ENOUGH_BYTES = 1 << 25
_ENOUGH_EXAMPLES = (64, 256)


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def can_be_held(needed: int) -> bool:
    """Whether factors of so many bytes can stay in memory for a while."""
    return needed <= _SHARE * available_bytes()


def pass_size(each: int) -> int:
    """Examples a forward and backward pass, a power of two.

    Args:
        each: bytes of one example's factors, as a pass gives them.
    """
    each = max(1, each)
    enough = np.clip(_ENOUGH_BYTES // each, *_ENOUGH_EXAMPLES)
    fitting = max(4, min(enough, _PASS_BYTES // (each * _PASS_OVERHEAD)))
    # A power of two, so that other numbers of examples find it compiled.
    return 1 << int(np.log2(fitting))


def block_size(n: int, each: int, pair: int, symmetric: bool) -> int:
    """Examples a block of the kernel, so that the factors of two blocks fit in memory.

    Args:
        n: number of examples, the larger one of the two sides.
        each: bytes of one example's factors, as they are held.
        pair: bytes of one entry of the kernel, of all outputs.
        symmetric: whether both sides are the same examples.
    """
    budget = _SHARE * available_bytes()
    # One block needs its factors once; the sums and their copies come on top.
    sums = _SUMS * pair
    sides = 1 if symmetric else 2
    if sides * n * each + n * n * sums <= budget:
        return n
    # The positive root of 2 b each + b^2 sums = budget.
    root = (-each + math.sqrt(each**2 + sums * budget)) / sums
    return max(1, min(n, int(root)))
