"""Writers at several doors, who tell how long nothing was written after some moment.

with writing({"nginx": 80, "registry-1": 81}, password) as writers: …
returned(writers, moment)        {"nginx": 0.3, "registry-1": 0.4}
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException

from tests.support.replicas import Calls, manifest

REPOSITORY = "library/written"
AT_ONCE = 2  # at each door
PAUSE = 0.05  # seconds between two writes of one


class _Door:
    username = "admin"

    def __init__(self, port: int, password: str) -> None:
        self.port, self.password = port, password


class Writer(threading.Thread):
    """Moves a tag of its own at one door, until it is told to stop."""

    def __init__(self, door: str, calls: Calls, tag: str, config: str) -> None:
        super().__init__()
        self.door = door
        self.done: list[tuple[float, int]] = []  # when a write was acknowledged, and its number
        self.over = threading.Event()
        self._calls, self._tag, self._config = calls, tag, config

    def read(self) -> int:
        """The number that the tag means now."""
        document = self._calls.json(f"/v2/{REPOSITORY}/manifests/{self._tag}")
        return int(document["annotations"]["number"])  # type: ignore[index]

    def run(self) -> None:
        number = 0
        while not self.over.wait(PAUSE):
            number += 1
            document = manifest(self._config, 2, number)
            with contextlib.suppress(OSError, HTTPException):
                answer = self._calls.push_manifest(REPOSITORY, self._tag, document)
                if answer.status == 201:
                    self.done.append((time.monotonic(), number))


@contextlib.contextmanager
def writing(doors: Mapping[str, int], password: str) -> Iterator[Sequence[Writer]]:
    """Writers at doors, given by name and port, who have all begun; they end with the block.

    What each was told to be written is then there, or what it wrote after that.
    """
    each = {name: Calls(_Door(port, password)) for name, port in doors.items()}  # type: ignore[arg-type]
    config = next(iter(each.values())).push_blob(REPOSITORY, b"{}")
    writers = [
        Writer(name, calls, f"{name}-{n}", config)
        for name, calls in each.items()
        for n in range(AT_ONCE)
    ]
    for writer in writers:
        writer.start()
    try:
        until(writers, 0.0)
        yield writers
    finally:
        for writer in writers:
            writer.over.set()
        for writer in writers:
            writer.join(90)
    for writer in writers:
        assert writer.read() >= writer.done[-1][1], writer.door


def until(writers: Sequence[Writer], moment: float, seconds: float = 120) -> None:
    """Wait until each door has written after a moment of the monotonic clock."""
    end = time.monotonic() + seconds
    while late := {each.door for each in writers} - set(returned(writers, moment)):
        assert time.monotonic() < end, f"nothing was written at {sorted(late)}"
        time.sleep(0.05)


def returned(writers: Sequence[Writer], moment: float) -> dict[str, float]:
    """By door, seconds from that moment to the first write that was acknowledged after it."""
    found: dict[str, float] = {}
    for each in writers:
        for at, _ in list(each.done):
            if at > moment:
                found[each.door] = min(found.get(each.door, at), at - moment)
                break
    return found
