"""Bytes in forms."""

import pytest

from moorage.portal.amounts import LARGEST, UNITS, read, written

KIB, MIB, GIB, TIB = (UNITS[name] for name in ("KiB", "MiB", "GiB", "TiB"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (-1, "-1"),
        (1, "1 B"),
        (1000, "1000 B"),
        (512 * MIB, "512 MiB"),
        (GIB, "1 GiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (GIB + 1, "1073741825 B"),
        (round(1.1 * GIB), "1.1 GiB"),
        (1100 * GIB, "1100 GiB"),
        (5 * TIB // 4, "1.25 TiB"),
        (LARGEST, f"{LARGEST} B"),
    ],
)
def test_what_is_shown_is_exact(size: int, text: str) -> None:
    """It reads back as the same number of bytes, with the largest unit that can say it."""
    assert written(size) == text
    assert read(text) == size


@pytest.mark.parametrize("power", range(63))
def test_every_size_comes_back(power: int) -> None:
    """Around each power of two and of what people say."""
    for size in (2**power - 1, 2**power, 2**power + 1, 3**power % LARGEST, 10**power % LARGEST):
        if size > 0:
            assert read(written(size)) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [("2", 2 * GIB), ("0.5", GIB // 2), ("1.5gib", 3 * GIB // 2), ("7 kib", 7 * KIB)],
)
def test_what_people_type(text: str, size: int) -> None:
    """A number alone is GiB; a unit may be written as one likes."""
    assert read(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0 MiB", "0.0001 B", "-2", "-1 GiB", "1,5 GiB", "1 GB", "1e3", "much", "٣"),
        *("9" * 40, f"{LARGEST + 1} B", "8388608 TiB", "inf", "1 GiB 2"),
    ],
)
def test_what_is_no_size(text: str) -> None:
    """Neither nothing nor too much, and no unit of which one may think two things."""
    with pytest.raises(ValueError, match=r"out of range|a number"):
        read(text)
