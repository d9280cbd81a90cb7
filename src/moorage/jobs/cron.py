"""Cron expressions: six fields, the first one seconds, in UTC.

    second  minute  hour  day of month  month  day of week
    0       30      2     *             *      1-5           at 02:30 on workdays

A `?` means what `*` means. What would come less than a minute apart is refused.
"""

import itertools
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from moorage.errors import Invalid

MAX_LENGTH = 128
"""Characters."""

PRESETS = {"Hourly": "0 0 * * * *", "Daily": "0 0 0 * * *", "Weekly": "0 0 0 * * 0"}
"""Types of schedules that need no expression."""


def check(expression: str) -> str:
    """The expression in its plain form; raises Invalid."""
    plain = " ".join(expression.split())
    if len(plain) > MAX_LENGTH:
        raise Invalid(f"a cron expression has at most {MAX_LENGTH} characters")
    if len(plain.split()) != 6:
        raise Invalid("a cron expression has six fields, the first one seconds: 0 0 2 * * *")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    following(plain, start)
    if len(_parsed(plain, start).seconds) > 1:
        raise Invalid("a schedule comes at most once a minute: let the first field be one number")
    return plain


def following(expression: str, moment: datetime) -> datetime:
    """The first firing after `moment`; raises Invalid when there is none."""
    try:
        return next(_parsed(expression, moment))
    except (StopIteration, ValueError, OverflowError):
        raise Invalid(f"the cron expression {expression!r} never comes true") from None


def count(expression: str, after: datetime, until: datetime, most: int) -> int:
    """Firings after one moment and not after another; no more than `most` are counted."""
    found = itertools.takewhile(lambda moment: moment <= until, _parsed(expression, after))
    return sum(1 for _ in itertools.islice(found, most))


def _parsed(expression: str, after: datetime) -> CronSim:
    try:
        return CronSim(expression.replace("?", "*"), after.astimezone(UTC))
    except CronSimError as error:
        raise Invalid(f"the cron expression {expression!r} is not valid: {error}") from None
