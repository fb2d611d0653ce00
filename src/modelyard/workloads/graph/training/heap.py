"""What the C library does with memory that a training step gives back."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets this process keep freed memory, where the C library is glibc; nothing elsewhere.

    A step takes and frees the same large arrays again and again. By default each goes back to the system, which has to
    clear its pages before it gives them out again: about half the time of a step over a graph of 100,000 nodes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
