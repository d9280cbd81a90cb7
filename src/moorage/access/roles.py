"""The permission matrix, as data.

A *pair* is (resource, action). `MATRIX` says which project roles hold a pair, one letter each:

    A projectAdmin   M maintainer   D developer   G guest   L limitedGuest
    P anyone, signed in or not, on a public project

System administrators hold everything. A robot account holds the pairs of its own rows, and those
come from `GRANTABLE_SYSTEM` and `GRANTABLE_PROJECT` alone.
"""

from collections.abc import Mapping

Pair = tuple[str, str]
Pairs = frozenset[Pair]

PROJECT_ADMIN, DEVELOPER, GUEST, MAINTAINER, LIMITED_GUEST = 1, 2, 3, 4, 5
"""Role ids as Harbor's API knows them."""

ROLE_NAMES: Mapping[int, str] = {
    PROJECT_ADMIN: "projectAdmin",
    DEVELOPER: "developer",
    GUEST: "guest",
    MAINTAINER: "maintainer",
    LIMITED_GUEST: "limitedGuest",
}

PRECEDENCE = (PROJECT_ADMIN, MAINTAINER, DEVELOPER, GUEST, LIMITED_GUEST)
"""Role ids, the one with the most rights first."""

_LETTERS = {PROJECT_ADMIN: "A", MAINTAINER: "M", DEVELOPER: "D", GUEST: "G", LIMITED_GUEST: "L"}

MATRIX: Mapping[str, Mapping[str, str]] = {
    "project": {"read": "AMDGLP", "update": "A", "delete": "A"},
    "member": {"create": "A", "update": "A", "delete": "A", "read": "AMDG", "list": "AMDG"},
    "metadata": {"create": "A", "update": "A", "delete": "A", "read": "AM"},
    "configuration": {"read": "AMDGL", "update": "A"},
    "repository": {
        "pull": "AMDGLP",
        "read": "AMDGL",
        "list": "AMDGLP",
        "push": "AMD",
        "create": "AMD",
        "update": "AMD",
        "delete": "AM",
    },
    "artifact": {"read": "AMDGLP", "list": "AMDGLP", "create": "AMD", "delete": "AM"},
    "tag": {"list": "AMDGLP", "create": "AMD", "delete": "AM"},
    "artifact-addition": {"read": "AMDGLP"},
    "accessory": {"list": "AMDGLP"},
    "artifact-label": {"create": "AMD", "delete": "AMD"},
    "label": {"read": "AMDGP", "list": "AMDGP", "create": "AM", "update": "AM", "delete": "AM"},
    "scan": {"read": "AMDGLP", "create": "AM", "stop": "AM"},
    "sbom": {"read": "AMDGL", "create": "AM", "stop": "AM"},
    "scanner": {"read": "AMDGLP", "create": "A"},
    "tag-retention": {
        "create": "AMD",
        "read": "AMD",
        "update": "AMD",
        "delete": "AMD",
        "list": "AMD",
        "operate": "AMD",
    },
    "immutable-tag": {"create": "AM", "read": "AM", "update": "AM", "delete": "AM", "list": "AM"},
    "robot": {"create": "A", "update": "A", "delete": "A", "read": "AMDG", "list": "AMDG"},
    "notification-policy": {
        "create": "A",
        "update": "A",
        "delete": "A",
        "read": "AM",
        "list": "AM",
    },
    "log": {"list": "A"},
    "quota": {"read": "AMDGL"},
    "preheat-policy": {"create": "A", "read": "A", "update": "A", "delete": "A", "list": "A"},
    "export-cve": {"create": "AMD", "read": "AMD", "list": "AMD"},
}
"""resource → action → letters of the roles that hold the pair in their project."""

_CRUD = ("create", "read", "update", "delete", "list")

GRANTABLE_SYSTEM: Mapping[str, tuple[str, ...]] = {
    "audit-log": ("list",),
    "preheat-instance": _CRUD,
    "project": ("list", "create"),
    "replication-policy": _CRUD,
    "replication": ("read", "create", "list"),
    "replication-adapter": ("list",),
    "registry": _CRUD,
    "scan-all": ("read", "update", "stop", "create"),
    "system-volumes": ("read",),
    "garbage-collection": ("create", "read", "list", "update", "stop"),
    "purge-audit": ("create", "read", "list", "update", "stop"),
    "jobservice-monitor": ("list", "stop"),
    "scanner": _CRUD,
    "label": ("read", "create", "delete", "update"),
    "security-hub": ("read", "list"),
    "catalog": ("read",),
    "quota": ("read", "list", "update"),
    "robot": ("create", "read", "list", "delete"),
    "user": _CRUD,
    "user-group": _CRUD,
    "ldap-user": ("create", "list"),
}
"""What a system robot account may hold in the system scope."""

GRANTABLE_PROJECT: Mapping[str, tuple[str, ...]] = {
    "log": ("list",),
    "project": ("read", "delete", "update"),
    "metadata": _CRUD,
    "preheat-policy": _CRUD,
    "notification-policy": _CRUD,
    "tag-retention": _CRUD,
    "label": _CRUD,
    "repository": ("read", "update", "delete", "list", "pull", "push"),
    "artifact": ("read", "create", "list", "delete"),
    "scan": ("create", "read", "stop"),
    "sbom": ("create", "read", "stop"),
    "tag": ("create", "list", "delete"),
    "accessory": ("list",),
    "artifact-addition": ("read",),
    "artifact-label": ("create", "delete"),
    "scanner": ("create", "read"),
    "immutable-tag": ("create", "delete", "list", "update"),
    "quota": ("read",),
    "robot": ("create", "read", "list", "delete"),
    "export-cve": ("create", "read"),
    "member": _CRUD,
}
"""What a robot account may hold inside a project."""


def pairs(table: Mapping[str, tuple[str, ...]]) -> Pairs:
    """The pairs of a grantable table."""
    return frozenset(
        (resource, action) for resource, actions in table.items() for action in actions
    )


def _held(letter: str) -> Pairs:
    return frozenset(
        (resource, action)
        for resource, actions in MATRIX.items()
        for action, letters in actions.items()
        if letter in letters
    )


ROLE_PAIRS: Mapping[int, Pairs] = {role: _held(letter) for role, letter in _LETTERS.items()}
"""Role id → the pairs that the role holds in its project."""

PUBLIC: Pairs = _held("P")
"""What anybody holds in a public project."""

SYSTEM_PAIRS: Pairs = pairs(GRANTABLE_SYSTEM)
PROJECT_PAIRS: Pairs = pairs(GRANTABLE_PROJECT)


def _everything() -> Pairs:
    resources = {*MATRIX, *GRANTABLE_SYSTEM, *GRANTABLE_PROJECT}
    actions = {action for row in MATRIX.values() for action in row}
    actions |= {action for _, action in SYSTEM_PAIRS | PROJECT_PAIRS}
    return frozenset((resource, action) for resource in resources for action in actions)


EVERYTHING: Pairs = _everything()
"""What a system administrator holds, in the system scope and in every project."""


def covers(held: Pairs, wanted: Pairs) -> bool:
    """Whether somebody who holds `held` may hand on `wanted`.

    Who may read a resource of a project may also let a robot account list it: the matrix names
    both only where their roles differ.
    """
    return all(pair in held or (pair[1] == "list" and (pair[0], "read") in held) for pair in wanted)
