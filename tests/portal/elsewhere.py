"""What a registry has to do with others, set up with itself as the other one."""

import time

from tests.portal.data import Maker
from tests.support.serving import Registry

SECONDS = 120.0
"""Until a run ends, on a machine that is busy."""


def connect(maker: Maker, registry: Registry, *, note: str) -> dict[str, int]:
    """A registration, a rule that ran, and a proxy cache; `note` stands where people write."""
    account = {
        "type": "basic",
        "access_key": registry.username,
        "access_secret": registry.password,
    }
    about = {"url": registry.url, "type": "harbor", "credential": account, "description": note}
    other = _made(maker, "/registries", {"name": f"itself {note}", **about})
    rule = {
        "name": f"to itself {note}",
        "description": note,
        "dest_registry": {"id": other},
        "dest_namespace": "mirrored",
        "filters": [
            {"type": "name", "value": "payments/api"},
            {"type": "tag", "value": "latest"},
            {"type": "label", "value": [note], "decoration": "excludes"},
        ],
        "override": True,
        "enabled": True,
    }
    policy = _made(maker, "/replication/policies", rule)
    run = _made(maker, "/replication/executions", {"policy_id": policy})
    ended(maker, run)
    (task,) = maker.api("GET", f"/replication/executions/{run}/tasks").json()
    cache = {
        "project_name": "cached",
        "registry_id": other,
        "metadata": {"public": "true", "proxy_cache_filter_pattern": f"payments/{note}"},
    }
    project = _made(maker, "/projects", cache)
    return {
        "registry": other,
        "rule": policy,
        "run": run,
        "task": int(task["id"]),
        "cache": project,
    }


def _made(maker: Maker, path: str, body: object) -> int:
    return int(maker.api("POST", path, body).headers["location"].rpartition("/")[2])


def ended(maker: Maker, run: int) -> str:
    """Wait until a run is over; its status."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = maker.api("GET", f"/replication/executions/{run}").json()
        if found["status"] != "InProgress":
            return str(found["status"])
        time.sleep(0.1)
    raise AssertionError(f"run {run} goes on: {found}")
