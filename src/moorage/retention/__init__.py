"""Tag retention: which artifacts of a project stay; all others go to the trash.

    policy      one per project: rules, and when they are applied
    rule        a template, and selectors of repositories and of tags
    execution   one application of a policy, as jobs: a task per repository
    decision    an artifact, and what keeps it

An artifact stays when any rule keeps it, or something else does:

    rules ──► candidates of a repository ──► decisions ──► one transaction per artifact that goes
               without children of indexes     ▲
               and accessories                 └─ immutable tags, indexes that stay

A preview and a dry run decide as a run does, and change nothing.
"""

from moorage.retention.policies import Policies
from moorage.retention.preview import Preview, Previewed
from moorage.retention.records import Policy, Rule, TagSelector

__all__ = ["Policies", "Policy", "Preview", "Previewed", "Rule", "TagSelector"]
