"""Hears what happens here, and begins the replications that it triggers.

pushed            the artifact; of a signature, what it signs
deleted, untagged the same at the target, where the policy says so
"""

from collections.abc import Sequence

from sqlalchemy import select, tuple_

from moorage.db.tables import manifests, repositories
from moorage.db.transactions import Tx
from moorage.errors import Invalid
from moorage.events import ArtifactDeleted, ArtifactPushed, Fact, Happened, TagDeleted
from moorage.jobs import EVENT
from moorage.replication import filters, launching, policies
from moorage.replication.records import DELETE, Artifact, Move, Policy

FACTS: tuple[type[Fact], ...] = (ArtifactPushed, ArtifactDeleted, TagDeleted)


async def hear(tx: Tx, batch: Sequence[Happened]) -> None:
    """Step: of many facts at once; a policy that nothing concerns costs a look at its filters."""
    listening = await policies.listening(tx)
    if not listening:
        return
    facts = [
        each.fact
        for each in batch
        if isinstance(each.fact, ArtifactPushed | ArtifactDeleted | TagDeleted)
    ]
    subjects = await _subjects(tx, [fact for fact in facts if isinstance(fact, ArtifactPushed)])
    for policy in listening:
        begun: set[tuple[str, str]] = set()
        for fact in facts:
            if not filters.about_repository(policy.settings.filters, fact.repository):
                continue
            if isinstance(fact, ArtifactPushed):
                digest = _pushed(fact, subjects)
                if digest and (fact.repository, digest) not in begun:
                    begun.add((fact.repository, digest))
                    about = {"repository": fact.repository, "digest": digest}
                    await launching.launch(tx, policy, trigger=EVENT, about=about)
            elif policy.settings.deletion and isinstance(fact, ArtifactDeleted | TagDeleted):
                move = _deleted(policy, fact)
                if move is not None:
                    await launching.launch(tx, policy, trigger=EVENT, moves=(move,))


def _pushed(fact: ArtifactPushed, subjects: dict[tuple[str, str], str]) -> str:
    """What to replicate: itself when it has a name, what it belongs to otherwise."""
    named = [tag for tag in fact.tags if not filters.of_cosign(tag)]
    if named:
        return fact.digest
    tied = [filters.subject_of(tag) for tag in fact.tags]
    return next(iter(tied), "") or subjects.get((fact.repository, fact.digest), "")


def _deleted(policy: Policy, fact: ArtifactDeleted | TagDeleted) -> Move | None:
    tags = [fact.tag] if isinstance(fact, TagDeleted) else fact.tags
    of_tags = [each for each in policy.settings.filters if each.type == "tag"]
    chosen = filters.choose(of_tags, Artifact(fact.repository, fact.digest, tuple(tags)))
    if chosen is None:
        return None
    said = policy.settings
    try:
        target = filters.target_name(fact.repository, said.namespace, said.replaced)
    except Invalid:  # too few parts: then it was never copied either
        return None
    return Move(
        DELETE,
        fact.repository,
        target,
        fact.digest,
        chosen.tags,
        whole=isinstance(fact, ArtifactDeleted),
    )


async def _subjects(tx: Tx, facts: Sequence[ArtifactPushed]) -> dict[tuple[str, str], str]:
    """Of manifests without a name, what they belong to."""
    unnamed = [(fact.repository, fact.digest) for fact in facts if not fact.tags]
    if not unnamed:
        return {}
    query = (
        select(repositories.c.name, manifests.c.digest, manifests.c.subject_digest)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            tuple_(repositories.c.name, manifests.c.digest).in_(unnamed),
            manifests.c.subject_digest.is_not(None),
        )
    )
    return {(row.name, row.digest): row.subject_digest for row in await tx.execute(query)}
