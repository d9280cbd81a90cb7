"""Proxy cache projects: what is asked when one is made, and in its settings."""

from collections.abc import Mapping, Sequence

from moorage.portal.pages.project_fields import limit_field, name_field, public_field
from moorage.portal.parts import Choice, Field, Form
from moorage.portal.scope import PROJECTS
from moorage.portal.shapes.registries import Registry
from moorage.portal.visits import Visit


async def new_cache(visit: Visit) -> Form:
    """The form for administrators that makes a project a cache of another registry."""
    _ = visit.gettext
    others = await visit.every(Registry, "/registries")
    note = _("What somebody pulls from it comes from the other registry, and is kept here.")
    if not others:
        note = _("Register the other registry first.")
    fields = [
        name_field(visit),
        Field(
            "registry",
            _("The other registry"),
            "select",
            choices=[Choice(str(each.id), f"{each.name} — {each.url}") for each in others],
        ),
        public_field(visit),
        limit_field(visit),
        *cache_fields(visit, {}),
    ]
    title = _("New proxy cache")
    return Form("create-cache", title, fields, _("Create"), note, cancel=PROJECTS)


def cache_fields(visit: Visit, metadata: Mapping[str, str]) -> Sequence[Field]:
    """What can be said of a cache at any time."""
    _ = visit.gettext
    kinds = [
        Choice("doublestar", _("with wildcards")),
        Choice("regex", _("as a regular expression")),
    ]
    return [
        Field(
            "speed",
            _("Bandwidth of all downloads, in kilobits a second"),
            "number",
            _bound(metadata.get("proxy_speed_kb", "")),
            _("Empty for no limit."),
        ),
        Field(
            "connections",
            _("Downloads of one repository at once"),
            "number",
            _bound(metadata.get("max_upstream_conn", "")),
            _("Empty for no limit; what is beyond it is told to come again."),
        ),
        Field(
            "filter",
            _("Repositories that are let through"),
            value=metadata.get("proxy_cache_filter_pattern", ""),
            help=_("Names at the other registry: library/**. Empty for all."),
        ),
        Field(
            "filter_kind",
            _("The filter is written"),
            "select",
            metadata.get("proxy_cache_filter_kind") or "doublestar",
            choices=kinds,
            beside=True,
        ),
        Field(
            "local",
            _("Serve what is kept when it is gone there"),
            "checkbox",
            metadata.get("proxy_cache_local_on_not_found") == "true",
            _("Otherwise it is not found here either."),
        ),
        Field(
            "referrers",
            _("Ask there for referrers too"),
            "checkbox",
            metadata.get("proxy_referrer_api") == "true",
            _("Signatures, bills of materials and what else names an artifact."),
        ),
    ]


def _bound(value: str) -> str:
    """A bound as a field shows it: none is nothing."""
    return "" if value in ("-1", "0") else value


def cache_metadata(visit: Visit) -> dict[str, str]:
    """What the form says, as metadata of the project."""
    return {
        "proxy_speed_kb": str(visit.integer("speed", -1)),
        "max_upstream_conn": str(visit.integer("connections", -1)),
        "proxy_cache_filter_pattern": visit.field("filter"),
        "proxy_cache_filter_kind": visit.field("filter_kind") or "doublestar",
        "proxy_cache_local_on_not_found": str(visit.checked("local")).lower(),
        "proxy_referrer_api": str(visit.checked("referrers")).lower(),
    }
