"""Finds out what a policy would move."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from moorage.db.queries import Page, Query
from moorage.errors import Invalid
from moorage.oci.names import check_repository
from moorage.replication import filters
from moorage.replication.here import Here
from moorage.replication.policies import check_route
from moorage.replication.records import COPY, Artifact, Move, Settings
from moorage.replication.there import There

PREVIEWED = 500
"""Artifacts that a preview looks at."""


class Planner:
    """Of one policy, at its source."""

    def __init__(self, said: Settings, source: Here | There) -> None:
        self._said = said
        self._source = source

    async def moves(
        self, about: Mapping[str, Any], after: str = ""
    ) -> AsyncIterator[tuple[str, list[Move]]]:
        """Repository by repository, by name, those `after` one; `about` is one artifact here."""
        if about and about["repository"] > after:
            yield about["repository"], await self._one(about["repository"], about["digest"])
        if about:
            return
        for repository in sorted(await self._source.repositories(self._said.filters)):
            if repository <= after:
                continue
            yield repository, [move async for move in self._of(repository)]

    async def _of(self, repository: str) -> AsyncIterator[Move]:
        async for artifact in self._source.artifacts(repository, self._said.filters):
            chosen = filters.choose(self._said.filters, artifact)
            if chosen is not None:
                yield self._move(chosen)

    async def _one(self, repository: str, digest: str) -> list[Move]:
        if not isinstance(self._source, Here):
            return []
        if not filters.about_repository(self._said.filters, repository):
            return []
        found = []
        async for artifact in self._source.artifacts(repository, self._said.filters, digest):
            chosen = filters.choose(self._said.filters, artifact)
            if chosen is not None:
                found.append(self._move(chosen))
        return found

    def _move(self, artifact: Artifact) -> Move:
        said = self._said
        target = filters.target_name(artifact.repository, said.namespace, said.replaced)
        if said.target_id is None and "/" not in target:
            raise Invalid(
                f"{target} names no project here: let the policy have a destination namespace"
            )
        if said.target_id is None:
            check_repository(target)
        return Move(
            COPY,
            artifact.repository,
            target,
            artifact.digest,
            artifact.tags,
            artifact.type,
            artifact.size,
            artifact.attached,
        )


class ReplicationPreview:
    """What a policy would look at, before it is made."""

    def __init__(self, ends: Callable[[Settings], AbstractAsyncContextManager[Any]]) -> None:
        """`ends` opens both sides of a policy."""
        self._ends = ends

    async def page(self, said: Settings, query: Query) -> Page[tuple[Move, str]]:
        """The first ones of PREVIEWED artifacts; each with what would happen to it.

        Raises Invalid for what would be no policy.
        """
        check_route(said)
        moves: list[Move] = []
        async with self._ends(said) as ends:
            planner = Planner(said, ends.source)
            async for _, found in planner.moves({}):
                moves += found
                if len(moves) >= PREVIEWED:
                    break
            moves = moves[:PREVIEWED]
            start = (max(query.page, 1) - 1) * query.size
            shown = [
                (move, await _outcome(move, said, ends.target))
                for move in moves[start : start + query.size]
            ]
        return Page(shown, len(moves))


async def _outcome(move: Move, said: Settings, target: Here | There) -> str:
    """new, same, override or kept."""
    there = [await target.digest_of(move.target, tag) for tag in move.tags or (move.digest,)]
    if all(each == move.digest for each in there):
        return "same"
    if not any(there):
        return "new"
    return "override" if said.override else "kept"
