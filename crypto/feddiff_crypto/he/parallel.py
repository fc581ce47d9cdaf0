"""Independent chunks of work in several processes, without serialising anything.

SEAL's Python calls hold the interpreter's lock, so threads do not help. Forked children inherit the
inputs (a secret key among them), write their results into shared anonymous memory, and exit:
nothing is pickled and nothing passes through a pipe or a file.

The caller must not have other threads inside SEAL while it forks: a child inherits their locks.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.he.errors import EncryptionUnavailableError


def shared_array(shape: tuple[int, ...], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A zeroed array whose elements forked children share. Its size must not be zero."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)


def run_in_processes(work: Callable[[range], None], count: int, processes: int) -> None:
    """Call `work` on `range(count)`, split evenly over this process and `processes` − 1 forks.

    Args:
        work: writes its results into shared arrays. In a child nothing else of it remains, and
            its exception ends the child.
        count: items, ≥ 1.
        processes: ≥ 1; no more than `count` are used.

    Raises:
        ValueError: `processes` < 1.
        EncryptionUnavailableError: the platform cannot fork.
        ChildProcessError: a child failed.
    """
    if processes < 1:
        raise ValueError(f"processes: {processes} < 1")
    edges = np.linspace(0, count, min(processes, count) + 1).astype(int).tolist()
    first, *others = (range(a, b) for a, b in pairwise(edges))
    if others and not hasattr(os, "fork"):
        raise EncryptionUnavailableError("this platform cannot fork; use one process")
    children = [_fork(work, part) for part in others]
    try:
        work(first)
    finally:
        statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise ChildProcessError(f"a child of {len(children)} failed, wait statuses {statuses}")


def _fork(work: Callable[[range], None], part: range) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(part)
            status = 0
        finally:
            os._exit(status)  # no cleanup of the parent's state, no return into its code
    return child
