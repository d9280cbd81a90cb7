"""The editor of replication rules: a rule as fields of a form, and the form as a rule."""

from collections.abc import Sequence
from typing import Any

from moorage.portal.i18n import N_
from moorage.portal.parts import Choice, Field
from moorage.portal.shapes.registries import Registry
from moorage.portal.shapes.replication import Condition, Replication
from moorage.portal.visits import Visit

TRIGGERS = {
    "manual": N_("by hand"),
    "scheduled": N_("by schedule"),
    "event_based": N_("at each push"),
}
FLATTENED = {
    "0": N_("nothing: a/b/c becomes target/a/b/c"),
    "1": N_("one part: a/b/c becomes target/b/c"),
    "2": N_("two parts: a/b/c/d becomes target/c/d"),
    "3": N_("three parts: a/b/c/d becomes target/d"),
    "-1": N_("all but the last: a/b/c becomes target/c"),
}
TYPES = {
    "name": N_("Repositories"),
    "tag": N_("Tags"),
    "label": N_("Labels"),
    "resource": N_("Kind of artifacts"),
    "media_type": N_("Media type"),
}
RESOURCES = {"": N_("all kinds"), "image": N_("images"), "chart": N_("charts")}
RESOURCES |= {"artifact": N_("other artifacts")}
KINDS = {
    "doublestar": N_("with wildcards"),
    "regex": N_("as a regular expression"),
    "semver": N_("as a range of versions"),
}
PATTERNED = ("name", "tag", "media_type")
"""Conditions whose value is a pattern of a kind."""


def fields(visit: Visit, rule: Replication, others: Sequence[Registry]) -> Sequence[Field]:
    """What the form shows of a rule."""
    _ = visit.gettext
    asked = visit.query.get("registry", "")
    other = rule.src_registry.id or rule.dest_registry.id or asked
    known = [Choice(str(each.id), f"{each.name} — {each.url}") for each in others]
    modes = [
        Choice("push", _("push: from here to the other registry")),
        Choice("pull", _("pull: from the other registry to here")),
    ]
    mode = "pull" if rule.pulls else "push"
    return [
        Field("name", _("Name"), value=rule.name, required=True),
        Field("description", _("Description"), value=rule.description),
        Field("mode", _("Mode"), "select", mode, choices=modes),
        Field("registry", _("The other registry"), "select", other, choices=known),
        *_filters(visit, rule),
        *_target(visit, rule),
        *_when(visit, rule),
        *_how(visit, rule),
    ]


def _filters(visit: Visit, rule: Replication) -> list[Field]:
    _ = visit.gettext
    either = [Choice("matches", _("matching")), Choice("excludes", _("not matching"))]
    first = {each.type: each for each in reversed(rule.filters)}
    helps = {
        "name": _("Full names: team/**, library/{nginx,redis}. Empty for all."),
        "tag": _("Patterns like v*, or ranges like >=1.2. Empty for all."),
        "label": _("Names of labels of this registry, one a line."),
        "media_type": _("Of the manifest."),
    }
    found = []
    for kind, title in TYPES.items():
        said = first.get(kind, Condition(type=kind))
        if kind == "resource":
            choices = [Choice(name, _(text)) for name, text in RESOURCES.items()]
            found.append(Field("resource", _(title), "select", said.value, choices=choices))
            continue
        value = said.value if isinstance(said.value, str) else "\n".join(said.value)
        drawn = "textarea" if kind == "label" else "text"
        found.append(Field(kind + "_value", _(title), drawn, value, helps[kind]))
        label = _("Which ones")
        how = said.decoration or "matches"
        found.append(Field(kind + "_how", label, "select", how, choices=either, beside=True))
        if kind in PATTERNED:
            kinds = [
                Choice(name, _(text))
                for name, text in KINDS.items()
                if name != "semver" or kind == "tag"
            ]
            label = _("Written")
            chosen = said.kind or "doublestar"
            found.append(Field(kind + "_kind", label, "select", chosen, choices=kinds, beside=True))
    return found


def _target(visit: Visit, rule: Replication) -> list[Field]:
    _ = visit.gettext
    count = str(rule.dest_namespace_replace_count)
    choices = [Choice(value, _(text)) for value, text in FLATTENED.items()]
    if count not in FLATTENED:
        choices.append(Choice(count, _("%(count)s parts", count=count)))
    return [
        Field(
            "namespace",
            _("Namespace at the target"),
            value=rule.dest_namespace,
            help=_("Empty for the same names as at the source."),
        ),
        Field("replaced", _("It replaces"), "select", count, choices=choices),
    ]


def _when(visit: Visit, rule: Replication) -> list[Field]:
    _ = visit.gettext
    return [
        Field(
            "trigger",
            _("Trigger"),
            "select",
            rule.trigger.type or "manual",
            choices=[Choice(name, _(text)) for name, text in TRIGGERS.items()],
        ),
        Field(
            "cron",
            _("Schedule"),
            value=rule.trigger.trigger_settings.cron,
            help=_("Six fields, seconds first, in UTC: 0 30 2 * * *"),
        ),
        Field(
            "deletion",
            _("Delete there what is deleted here"),
            "checkbox",
            rule.replicate_deletion,
            _("Only for rules that run at each push."),
        ),
    ]


def _how(visit: Visit, rule: Replication) -> list[Field]:
    _ = visit.gettext
    return [
        Field(
            "speed",
            _("Bandwidth of each task, in kilobits a second"),
            "number",
            rule.speed if rule.speed > 0 else "",
            _("Empty for no limit."),
        ),
        Field(
            "override",
            _("Override"),
            "checkbox",
            rule.override,
            _("A tag moves that names another artifact at the target."),
        ),
        Field(
            "chunked",
            _("Copy by chunk"),
            "checkbox",
            rule.copy_by_chunk,
            _("In pieces of 10 MiB, for proxies that bound requests."),
        ),
        Field(
            "single",
            _("One run at a time"),
            "checkbox",
            rule.single_active_replication,
            _("A run that comes before the last one ended is skipped."),
        ),
        Field("enabled", _("Enabled"), "checkbox", rule.enabled),
    ]


def body(visit: Visit, before: Replication) -> dict[str, Any]:
    """What the form says, for the API; what it does not show stays as it was before."""
    here, there = {"id": 0}, {"id": visit.integer("registry")}
    pulls = visit.field("mode") == "pull"
    trigger: dict[str, Any] = {"type": visit.field("trigger") or "manual"}
    if trigger["type"] == "scheduled":
        trigger["trigger_settings"] = {"cron": visit.field("cron")}
    return {
        "name": visit.field("name"),
        "description": visit.field("description"),
        "src_registry": there if pulls else here,
        "dest_registry": here if pulls else there,
        "filters": _conditions(visit) + [_plain(each) for each in _hidden(before)],
        "dest_namespace": visit.field("namespace"),
        "dest_namespace_replace_count": visit.integer("replaced", 1),
        "trigger": trigger,
        "replicate_deletion": visit.checked("deletion"),
        "override": visit.checked("override"),
        "enabled": visit.checked("enabled"),
        "speed": visit.integer("speed"),
        "copy_by_chunk": visit.checked("chunked"),
        "single_active_replication": visit.checked("single"),
    }


def _conditions(visit: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind in TYPES:
        if kind == "resource":
            if visit.field("resource"):
                found.append({"type": kind, "value": visit.field("resource")})
            continue
        said = visit.field(kind + "_value")
        if not said:
            continue
        value: dict[str, Any] = {"type": kind, "value": said}
        if kind == "label":
            value["value"] = [line.strip() for line in said.splitlines() if line.strip()]
        else:
            value["kind"] = visit.field(kind + "_kind") or "doublestar"
        found.append(value | {"decoration": visit.field(kind + "_how") or "matches"})
    return found


def _hidden(rule: Replication) -> Sequence[Condition]:
    """Conditions beyond the first of each type, which the form has no fields for."""
    seen: set[str] = set()
    found = []
    for each in rule.filters:
        if each.type in seen:
            found.append(each)
        seen.add(each.type)
    return found


def _plain(each: Condition) -> dict[str, Any]:
    return each.model_dump()


def stored(rule: Replication) -> dict[str, Any]:
    """A rule as it is, for the API."""
    return rule.model_dump(exclude={"id", "creation_time", "src_registry", "dest_registry"}) | {
        "src_registry": {"id": rule.src_registry.id},
        "dest_registry": {"id": rule.dest_registry.id},
    }


def condition(visit: Visit, each: Condition) -> str:
    """A condition as people read it."""
    _ = visit.gettext
    value = each.value if isinstance(each.value, str) else ", ".join(each.value)
    sign = " ≠ " if each.decoration == "excludes" else ": "
    kind = f" ({_(KINDS[each.kind])})" if each.kind in KINDS and each.kind != "doublestar" else ""
    return f"{_(TYPES.get(each.type, each.type))}{sign}{value}{kind}"
