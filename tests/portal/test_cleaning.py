"""What runs of a clean-up say they did."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moorage.portal import parts
from moorage.portal.pages.cleaning import outcome
from moorage.portal.parts import Cell
from moorage.portal.visits import Visit

VISIT = cast(
    Visit,
    SimpleNamespace(
        gettext=lambda text: text,
        ngettext=lambda one, many, count: (one if count == 1 else many) % {"count": count},
    ),
)


@pytest.mark.parametrize(
    ("said", "cell"),
    [
        ({"workers": 1}, parts.text("")),  # it has not ended
        (
            {"freed_space": 4096, "deleted_space": 2048, "purged_blobs": 1},
            parts.text("2 KiB", "1 blob collected"),
        ),
        (
            {"freed_space": 4096, "deleted_space": 0, "dry_run": True},
            parts.text("4 KiB", "would go"),
        ),
        ({"purged": 12, "audit_retention_hour": 24}, parts.number(12)),
        ({"freed_space": "much"}, parts.text("")),
        ([], parts.text("")),
    ],
)
def test_a_run_tells_what_it_freed(said: Any, cell: Cell) -> None:
    """Bytes that the store has back, or would have; entries of the log; else nothing."""
    assert outcome(VISIT, json.dumps(said)) == cell
