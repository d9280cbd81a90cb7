"""Repository, project and tag names (OCI distribution-spec, "Pulling manifests")."""

import re

from moorage.errors import Invalid, NameInvalid, TagInvalid
from moorage.oci import digest as digests

MAX_REPOSITORY = 255
"""Characters of a repository name, project included."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PROJECT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")


def check_repository(name: str) -> str:
    """Return `name`, a path like `library/nginx`; raises NameInvalid."""
    if len(name) > MAX_REPOSITORY:
        raise NameInvalid(f"a repository name has at most {MAX_REPOSITORY} characters")
    if not _REPOSITORY.fullmatch(name):
        raise NameInvalid(
            "a repository name is lower-case letters and digits, joined by . _ - and /"
        )
    if "/" not in name:
        raise NameInvalid("a repository name starts with its project: <project>/<repository>")
    return name


def project_of(repository: str) -> str:
    """The project part of a full repository name."""
    return repository.partition("/")[0]


def check_project(name: str) -> str:
    """Return `name`; raises NameInvalid."""
    if not 1 <= len(name) <= MAX_REPOSITORY or not _PROJECT.fullmatch(name):
        raise NameInvalid(
            "a project name is 1 to 255 lower-case letters and digits, joined by . _ or -"
        )
    return name


def check_tag(tag: str) -> str:
    """Return `tag`; raises TagInvalid."""
    if not _TAG.fullmatch(tag):
        raise TagInvalid("a tag is up to 128 letters, digits, . _ and -, not starting with . or -")
    return tag


def split_reference(text: str) -> tuple[str, str]:
    """`project/repository:tag` or `…@digest` as repository and reference; a digest goes first.

    Raises Invalid, NameInvalid, TagInvalid, DigestInvalid.
    """
    name, at, digest = text.partition("@")
    repository, colon, tag = name.partition(":")
    if not at and not colon:
        raise Invalid("an artifact is named project/repository:tag or project/repository@digest")
    check_repository(repository)
    if colon:
        check_tag(tag)
    if at:
        digests.parse(digest)
    return repository, digest if at else tag
