"""How much of a list is read at once, when its entries may be megabytes each."""

from collections.abc import Iterable


def fitting(sizes: Iterable[int], room: int) -> int:
    """How many of the first entries of these sizes (bytes) fit into `room`, and at least one."""
    count = 0
    for size in sizes:
        room -= size
        if count and room < 0:
            break
        count += 1
    return count
