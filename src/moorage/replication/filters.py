"""What a policy is about.

type         value            decides by
name         library/**       the full name of the repository
tag          v1.*             each tag; what has none left is not moved
label        ["prod"]         labels: all of them, or with `excludes` none
resource     image            image, chart or artifact
media_type   **manifest**     the media type of the manifest
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from moorage import patterns
from moorage.artifacts.copying import SIGNATURES
from moorage.errors import Invalid
from moorage.replication.records import Artifact, Filter

TYPES = ("name", "tag", "label", "resource", "media_type")
DECORATIONS = ("matches", "excludes")
RESOURCES = ("image", "chart", "artifact")
MOST = 32
"""Filters of one policy."""
_TIE = len("sha256-") + 64
_MOST = 1000  # names that braces stand for
_WILD = frozenset("*?[{\\")


def check(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    """Return `filters`; raises Invalid."""
    found = tuple(filters)
    if len(found) > MOST:
        raise Invalid(f"a policy has at most {MOST} filters")
    for each in found:
        if each.type not in TYPES:
            raise Invalid(f"the type of a filter is one of {', '.join(TYPES)}")
        if each.decoration not in DECORATIONS:
            raise Invalid("the decoration of a filter is matches or excludes")
        if each.type == "label":
            _check_labels(each.value)
            continue
        if not isinstance(each.value, str):
            raise Invalid(f"the value of a filter of {each.type} is a text")
        if each.type == "resource":
            if each.value not in ("", *RESOURCES):
                raise Invalid(f"a resource is one of {', '.join(RESOURCES)}")
        elif each.value:
            patterns.compile(each.kind, each.value)
    return found


def _check_labels(value: Any) -> None:
    if (
        not isinstance(value, list)
        or len(value) > MOST
        or not all(isinstance(name, str) for name in value)
    ):
        raise Invalid(f"the value of a filter of labels is a list of at most {MOST} names")


def dump(filters: Iterable[Filter]) -> list[dict[str, Any]]:
    """Filters as JSON data."""
    return [{name: getattr(each, name) for name in each.__slots__} for each in filters]


def load(rows: Iterable[Mapping[str, Any]]) -> tuple[Filter, ...]:
    """The inverse of `dump`."""
    return tuple(Filter(**row) for row in rows)


def beginning(filters: Sequence[Filter]) -> str:
    """What the name of every repository begins with that a policy is about."""
    for each in filters:
        if each.type == "name" and each.value and each.decoration == "matches":
            if each.kind != patterns.DOUBLESTAR:
                continue
            end = next((at for at, char in enumerate(each.value) if char in _WILD), None)
            return str(each.value if end is None else each.value[:end])
    return ""


def literal(filters: Sequence[Filter]) -> list[str] | None:
    """The names of repositories, where a filter gives them without wildcards; braces may stand."""
    for each in filters:
        if each.type == "name" and each.value and each.decoration == "matches":
            if each.kind != patterns.DOUBLESTAR:
                continue
            names = _alternatives(each.value)
            if not any(set(name) & _WILD for name in names):
                return names
    return None


def _alternatives(pattern: str) -> list[str]:
    """`{a,b}/c` as `a/c` and `b/c`; braces do not nest."""
    before, opening, rest = pattern.partition("{")
    inside, closing, after = rest.partition("}")
    if not opening or not closing:
        return [pattern]
    tails = _alternatives(after)  # once: twenty braces would be a million times
    return [before + choice + tail for choice in inside.split(",")[:_MOST] for tail in tails][
        :_MOST
    ]


def about_repository(filters: Iterable[Filter], name: str) -> bool:
    """Whether a policy is about a repository."""
    return all(_matches(each, name) for each in filters if each.type == "name")


def needs_manifest(filters: Iterable[Filter]) -> bool:
    """Whether a manifest has to be looked at."""
    return any(each.type in ("resource", "media_type") and each.value for each in filters)


def choose(filters: Sequence[Filter], artifact: Artifact) -> Artifact | None:
    """The artifact with those of its tags that are moved; None: it is not."""
    of_tags = [each for each in filters if each.type == "tag" and each.value]
    tags = tuple(
        tag
        for tag in artifact.tags
        if not of_cosign(tag) and all(_matches(each, tag) for each in of_tags)
    )
    if not tags and (of_tags or artifact.tags):
        return None
    for each in filters:
        if each.type == "label" and each.value:
            wanted = set(each.value)
            held = wanted & set(artifact.labels)
            if held if each.decoration == "excludes" else held != wanted:
                return None
        if each.type == "resource" and each.value:
            same = resource(artifact.type) == each.value
            if same == (each.decoration == "excludes"):
                return None
        if each.type == "media_type" and not _matches(each, artifact.media_type):
            return None
    return replace(artifact, tags=tags)


def resource(kind: str) -> str:
    """Harbor's word for a type of artifact, as filters know it."""
    return {"IMAGE": "image", "CHART": "chart"}.get(kind, "artifact")


def of_cosign(tag: str) -> bool:
    """Whether a tag ties to a digest, and is no name of its own; also one of referrers."""
    return subject_of(tag) != ""


def subject_of(tag: str) -> str:
    """The digest that such a tag names; empty: it is another tag."""
    if not tag.startswith("sha256-") or tag[_TIE:] not in ("", *SIGNATURES):
        return ""
    if len(tag) < _TIE or not all(char in "0123456789abcdef" for char in tag[7:_TIE]):
        return ""
    return tag[:_TIE].replace("-", ":", 1)


def _matches(condition: Filter, text: str) -> bool:
    if not condition.value:
        return True
    matched = patterns.compile(condition.kind, condition.value).matches(text)
    return matched != (condition.decoration == "excludes")


def target_name(repository: str, namespace: str, replaced: int) -> str:
    """The name at the target; raises Invalid when it has too few parts.

    `replaced` parts at the front make place for the namespace; -1: all but the last.
    """
    if not namespace:
        return repository
    parts = repository.split("/")
    if replaced < 0:
        return f"{namespace}/{parts[-1]}"
    if replaced >= len(parts):
        raise Invalid(f"{repository} has no {replaced} parts that {namespace} could replace")
    return "/".join((namespace, *parts[replaced:]))
