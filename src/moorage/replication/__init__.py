"""Artifacts move between registries by themselves.

policy      what, from where to where, and when
execution   one run: a plan, and a task for each artifact
transfer    the copy of one of them: only what the target lacks moves
"""

from moorage.replication.hearing import hear
from moorage.replication.here import Here
from moorage.replication.job import MoveJob, PlanJob, Replicating
from moorage.replication.planning import ReplicationPreview
from moorage.replication.policies import ReplicationPolicies
from moorage.replication.records import KIND, PLAN

__all__ = [
    "KIND",
    "PLAN",
    "Here",
    "MoveJob",
    "PlanJob",
    "Replicating",
    "ReplicationPolicies",
    "ReplicationPreview",
    "hear",
]
