"""What the filters of the audit log offer is what it can tell of."""

from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin

from moorage.audit.entries import RENDERINGS, Entry, entry_of
from moorage.portal.pages.audit import KINDS, OF_PROJECTS, OPERATIONS

SAMPLES: Mapping[Any, Any] = {int: 1, str: "x", bool: True, list: ["x"], Mapping: {"x": "x"}}


def sample(kind: Any) -> Any:
    """A value of a field."""
    if get_origin(kind) is UnionType:
        return sample(get_args(kind)[0])
    return SAMPLES[get_origin(kind) or kind]


def entries() -> list[Entry]:
    """A row of each kind of fact, in a project where there is one."""
    return [
        entry_of(kind(**{each.name: sample(each.type) for each in fields(kind)}))
        for kind in RENDERINGS
    ]


def test_every_kind_and_operation_is_offered() -> None:
    """And none that cannot occur; in the log of a project those that occur there."""
    rows = entries()
    assert set(KINDS) == {row.resource_type for row in rows}
    assert len(set(KINDS)) == len(KINDS)
    assert set(OF_PROJECTS) == {row.resource_type for row in rows if row.project_id is not None}
    assert set(OPERATIONS) == {row.operation for row in rows}
