"""The permission matrix, typed a second time from Harbor's documentation."""

import pytest

from moorage.access import roles

# resource, actions, letters: A projectAdmin, M maintainer, D developer, G guest, L limitedGuest,
# P anyone on a public project.
TABLE = """
project              read                                      AMDGLP
project              update,delete                             A
member               create,update,delete                      A
member               read,list                                 AMDG
metadata             create,update,delete                      A
metadata             read                                      AM
configuration        read                                      AMDGL
configuration        update                                    A
repository           pull,list                                 AMDGLP
repository           read                                      AMDGL
repository           push,create,update                        AMD
repository           delete                                    AM
artifact             read,list                                 AMDGLP
artifact             create                                    AMD
artifact             delete                                    AM
tag                  list                                      AMDGLP
tag                  create                                    AMD
tag                  delete                                    AM
artifact-addition    read                                      AMDGLP
accessory            list                                      AMDGLP
artifact-label       create,delete                             AMD
label                read,list                                 AMDGP
label                create,update,delete                      AM
scan                 read                                      AMDGLP
scan                 create,stop                               AM
sbom                 read                                      AMDGL
sbom                 create,stop                               AM
scanner              read                                      AMDGLP
scanner              create                                    A
tag-retention        create,read,update,delete,list,operate    AMD
immutable-tag        create,read,update,delete,list            AM
robot                create,update,delete                      A
robot                read,list                                 AMDG
notification-policy  create,update,delete                      A
notification-policy  read,list                                 AM
log                  list                                      A
quota                read                                      AMDGL
preheat-policy       create,read,update,delete,list            A
export-cve           create,read,list                          AMD
"""

SYSTEM = """
audit-log l; preheat-instance rcdlu; project lc; replication-policy rcdlu; replication rcl;
replication-adapter l; registry rcdlu; scan-all rusc; system-volumes r; garbage-collection crlus;
purge-audit crlus; jobservice-monitor ls; scanner rcdlu; label rcdu; security-hub rl; catalog r;
quota rlu; robot crld; user rculd; user-group rculd; ldap-user cl
"""
PROJECT = """
log l; project rdu; metadata rcdlu; preheat-policy rcdlu; notification-policy rcdlu;
tag-retention rcdlu; label rcdlu; repository rudl+; artifact rcld; scan crs; sbom crs; tag cld;
accessory l; artifact-addition r; artifact-label cd; scanner cr; immutable-tag cdlu; quota r;
robot crld; export-cve cr; member crudl
"""
ACTIONS = {
    "r": {"read"},
    "c": {"create"},
    "d": {"delete"},
    "l": {"list"},
    "u": {"update"},
    "s": {"stop"},
    "+": {"pull", "push"},
}
LETTERS = {1: "A", 2: "D", 3: "G", 4: "M", 5: "L"}


def _expected(letter: str) -> set[tuple[str, str]]:
    return {
        (resource, action)
        for resource, actions, letters in map(str.split, filter(None, TABLE.splitlines()))
        for action in actions.split(",")
        if letter in letters
    }


def _grantable(text: str) -> set[tuple[str, str]]:
    rows = (row.split() for row in text.replace("\n", " ").split(";"))
    return {(name, action) for name, codes in rows for code in codes for action in ACTIONS[code]}


@pytest.mark.parametrize("role", LETTERS)
def test_each_role_holds_what_the_table_says(role: int) -> None:
    """Every pair of every role, and none beyond."""
    assert roles.ROLE_PAIRS[role] == _expected(LETTERS[role])


def test_there_are_five_roles_with_the_ids_of_the_api() -> None:
    """1 projectAdmin, 2 developer, 3 guest, 4 maintainer, 5 limitedGuest."""
    assert set(roles.ROLE_PAIRS) == set(LETTERS) == set(roles.ROLE_NAMES)
    assert roles.ROLE_NAMES[4] == "maintainer"


def test_a_public_project_lets_anybody_pull_and_read() -> None:
    """The public pairs are those with a P, none of which changes anything."""
    assert _expected("P") == roles.PUBLIC
    assert {action for _, action in roles.PUBLIC} == {"pull", "read", "list"}


def test_robot_accounts_may_be_given_what_the_lists_say() -> None:
    """The system and the project list."""
    assert _grantable(SYSTEM) == roles.SYSTEM_PAIRS
    assert _grantable(PROJECT) == roles.PROJECT_PAIRS


def test_administrators_hold_every_pair() -> None:
    """Whatever some role or robot account can hold, a system administrator holds."""
    every = roles.SYSTEM_PAIRS | roles.PROJECT_PAIRS | roles.PUBLIC
    for pairs in roles.ROLE_PAIRS.values():
        every |= pairs
    assert every <= roles.EVERYTHING


def test_a_project_admin_can_hand_on_all_that_a_project_robot_may_hold() -> None:
    """Clients tick every box of the list; a project administrator is allowed to."""
    assert roles.covers(roles.ROLE_PAIRS[roles.PROJECT_ADMIN], roles.PROJECT_PAIRS)


def test_nobody_hands_on_what_he_does_not_hold() -> None:
    """Reading covers listing, and nothing else covers anything."""
    assert roles.covers(frozenset({("label", "read")}), frozenset({("label", "list")}))
    assert not roles.covers(frozenset({("label", "list")}), frozenset({("label", "read")}))
    assert not roles.covers(roles.ROLE_PAIRS[2], frozenset({("repository", "delete")}))
