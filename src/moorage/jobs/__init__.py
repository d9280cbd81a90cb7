"""Work that is done later, once, by whichever process is alive.

    execution   one run of something, as its user sees it     has tasks
    task        a row of the queue                            done by one worker under a lease
    schedule    what comes again                              fired once by any number of workers

                 enqueue (in the caller's transaction)
                    │
    Pending ── claim ─► Running ── finish ─► Success | Error | Stopped
       ▲                  │ failed, and tries are left
       └──────────────────┴ its worker died: the lease ran out

The tables are the truth and the queue at once. Redis, where there is one, only rings a bell. This
package knows no job: a `Kind` brings its handler.
"""

from moorage.jobs.bell import Bell, LocalBell
from moorage.jobs.context import Context, Lost, together
from moorage.jobs.kinds import Kind, NewExecution, NewTask
from moorage.jobs.queue import enqueue, enqueue_each, extend
from moorage.jobs.records import (
    ERROR,
    EVENT,
    MANUAL,
    PENDING,
    RUNNING,
    SCHEDULE,
    STOPPED,
    SUCCESS,
    Execution,
    Schedule,
    Stopping,
    Task,
)

__all__ = [
    "ERROR",
    "EVENT",
    "MANUAL",
    "PENDING",
    "RUNNING",
    "SCHEDULE",
    "STOPPED",
    "SUCCESS",
    "Bell",
    "Context",
    "Execution",
    "Kind",
    "LocalBell",
    "Lost",
    "NewExecution",
    "NewTask",
    "Schedule",
    "Stopping",
    "Task",
    "enqueue",
    "enqueue_each",
    "extend",
    "together",
]
