"""Lists are cut in `moorage.db.queries`; accounts, on a lower floor, have lists too."""

from moorage.db.queries import (
    AllOf,
    AnyOf,
    Columns,
    Exact,
    Fuzzy,
    Match,
    Page,
    Query,
    Range,
    count,
    narrow,
    ordered,
    paged,
)

__all__ = [
    "AllOf",
    "AnyOf",
    "Columns",
    "Exact",
    "Fuzzy",
    "Match",
    "Page",
    "Query",
    "Range",
    "count",
    "narrow",
    "ordered",
    "paged",
]
