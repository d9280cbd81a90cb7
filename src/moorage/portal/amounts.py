"""Bytes in forms: what is shown is exact, and reads back as the same number.

1.5 GiB     512 MiB     1000 B     a unit with at most three decimals
2           a number alone is GiB
-1          no limit
"""

import re
from fractions import Fraction

UNITS = {name: 1024**power for power, name in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))}
UNLIMITED = -1
LARGEST = 2**63 - 1

_DECIMALS = 3
_AMOUNT = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,6})?) *([a-z]*)", re.IGNORECASE)
_BY_NAME = {name.lower(): size for name, size in UNITS.items()} | {"": UNITS["GiB"]}


def written(size: int) -> str:
    """Bytes as a form shows them; no limit is -1."""
    if size <= 0:
        return str(UNLIMITED)
    for unit, factor in reversed(UNITS.items()):
        if size % factor == 0:
            return f"{size // factor} {unit}"
        for decimals in range(1, _DECIMALS + 1) if factor < size < 1024 * factor else ():
            tens = 10**decimals
            digits = round(Fraction(size * tens, factor))
            if _bytes(Fraction(digits, tens), factor) == size:
                whole, part = divmod(digits, tens)
                return f"{whole}.{part:0{decimals}} {unit}"
    raise AssertionError("every number is one of bytes")


def read(text: str) -> int:
    """The bytes that a form says, to the nearest one; raises ValueError."""
    if text == str(UNLIMITED):
        return UNLIMITED
    found = _AMOUNT.fullmatch(text)
    factor = _BY_NAME.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ValueError("a number with a unit, or -1")
    size = _bytes(Fraction(found[1]), factor)
    if not 0 < size <= LARGEST:
        raise ValueError("out of range")
    return size


def _bytes(number: Fraction, factor: int) -> int:
    return round(number * factor)
