"""High availability on one machine: every part twice, each a process that can be broken.

                nginx
   ┌──────────────┼──────────────┐
2 registry     2 core         2 portal        2 jobservice
   └───────┬──────┴──────┬───────┴──────┬─────────┘
    PostgreSQL primary ─► standby     Redis     SeaweedFS (S3)

with Topology(folder) as ha:
    ha.url, ha.password                       through nginx
    ha.replicas["registry"][0].url            one replica
    ha.replicas["registry"][0].kill()         then .start(), .stop(), .restart(), .pause()
    ha.postgres.primary.kill()
    ha.postgres.promote()                     the standby is the primary now
    ha.postgres.rejoin()                      the old primary is its standby
    ha.redis.kill(), ha.redis.flush()
    ha.store.kill(), ha.store.start()
    ha.pids()                                 {"registry": [71, 72], "redis": [73], …}
"""

from tools.ha.processes import Child, Missing
from tools.ha.topology import Topology

__all__ = ["Child", "Missing", "Topology"]
