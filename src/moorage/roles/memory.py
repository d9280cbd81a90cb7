"""How the process holds memory, where its C library is glibc.

The buffers of uploads come from the heap and go back to it, which is quicker than to map each one
anew. But a heap only shrinks at its end, so what a busy minute took would be held for as long as
one small object lies behind it: memory would rise in steps, each as high as the busiest moment.
So what lies free is given back every minute.
"""

import asyncio
import contextlib
import ctypes

EVERY = 60.0  # seconds

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT = 32 << 20  # bytes


def tune() -> None:
    """Let the allocator keep the buffers of uploads, in few heaps."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Return free pages to the system, those amid the heap too; takes some milliseconds."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


async def tidy() -> bool:
    """The same, as work in the background; no other is due at once."""
    await asyncio.to_thread(give_back)
    return False
