"""What may be said of a webhook policy and its targets."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from moorage.errors import Invalid
from moorage.webhooks.records import DEFAULT, EVENT_TYPES, FORMATS, KINDS, SLACK, Target

MAX_TARGETS = 10
MAX_NAME, MAX_DESCRIPTION, MAX_ADDRESS, MAX_SECRET = 255, 1024, 2048, 4096
"""Characters."""


def checked(values: Mapping[str, Any], targets: Sequence[Target]) -> dict[str, Any]:
    """A policy as columns; raises Invalid."""
    name, description = str(values["name"]).strip(), str(values["description"])
    if not 1 <= len(name) <= MAX_NAME:
        raise Invalid(f"name has 1 to {MAX_NAME} characters")
    if len(description) > MAX_DESCRIPTION:
        raise Invalid(f"description has at most {MAX_DESCRIPTION} characters")
    types = tuple(dict.fromkeys(values["event_types"]))
    unknown = sorted(set(types) - set(EVENT_TYPES))
    if unknown or not types:
        raise Invalid(f"event_types names one or more of {', '.join(EVENT_TYPES)}")
    if not 1 <= len(targets) <= MAX_TARGETS:
        raise Invalid(f"targets holds 1 to {MAX_TARGETS} targets")
    return {
        "name": name,
        "description": description,
        "event_types": list(types),
        "enabled": bool(values["enabled"]),
        "targets": [_target(target) for target in targets],
    }


def _target(target: Target) -> dict[str, Any]:
    if target.kind not in KINDS:
        raise Invalid(f"the type of a target is one of {', '.join(KINDS)}")
    if target.format not in FORMATS[target.kind]:
        raise Invalid(
            f"the payload_format of a target of type {target.kind} is one of "
            f"{', '.join(FORMATS[target.kind])}"
        )
    _check_address(target.address)
    for name, text in (("auth_header", target.auth_header), ("secret", target.secret)):
        if text and (len(text) > MAX_SECRET or not text.isprintable() or not text.isascii()):
            raise Invalid(f"{name} has at most {MAX_SECRET} printable ASCII characters")
    if target.kind == SLACK and target.secret:
        raise Invalid("what is sent to Slack cannot be signed")
    return {
        "kind": target.kind,
        "address": target.address,
        "format": target.format or DEFAULT,
        "skip_cert_verify": target.skip_cert_verify,
    }


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or len(address) > MAX_ADDRESS or not address.isprintable() or " " in address:
        raise Invalid("the address of a target is an http:// or https:// URL")
    if "@" in parts.netloc or parts.fragment:
        raise Invalid("an address holds no user, password or fragment; use auth_header")
