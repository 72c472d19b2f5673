"""Keeping freed memory: on CPUs, a training step asks for the same large blocks again and again."""

from __future__ import annotations

import ctypes
import functools
import sys

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


@functools.cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, for its next step; whether its C library could be told.

    glibc maps every block over 32 MiB anew and returns it to the kernel when it is freed, and cuts its heap
    back when the top is free. Logits and activations are such blocks, so that each step touches fresh pages,
    and the kernel clears every one: a fifth of a step of the small recipe. Resident memory stays at its peak,
    which the next step needs anyway. Other C libraries are left alone; so are GPUs, whose memory torch keeps.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    most = 2**31 - 1  # of a C int
    return all(
        mallopt(option, value) == 1
        for option, value in ((_MMAP_THRESHOLD, most), (_TRIM_THRESHOLD, most), (_TOP_PAD, 64 * 2**20))
    )
