"""Robot accounts. No API tells their secrets, so each gets a new one, written into a file.

{"creating": "ci"}                     before: a run that was killed here asks for a new secret
{"name": "robot$ci", "secret": "…"}    after, on the disk before the next one is made
"""

import json
import math
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from moorage.moving.harbor.client import Harbor
from moorage.moving.harbor.report import Report

KIND = "robots"


class SecretsFile:
    """Made with mode 0600, appended to, and read again by the next run."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(self._descriptor, 0o600)
        self._begun: set[str] = set()
        self._known: set[str] = set()
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the end of a run that was killed
            self._begun |= {entry["creating"]} if "creating" in entry else set()
            self._known |= {entry["of"]} if "of" in entry else set()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def lost(self, name: str) -> bool:
        """Whether an account was begun and its secret never arrived here."""
        return name in self._begun and name not in self._known

    def begin(self, name: str) -> None:
        """It will be made now."""
        self._write({"creating": name})
        self._begun.add(name)

    def keep(self, of: str, name: str, secret: str, kind: str = "robot") -> None:
        """It was made."""
        self._write({"of": of, "kind": kind, "name": name, "secret": secret})
        self._known.add(of)

    def _write(self, entry: Mapping[str, str]) -> None:
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")
        os.fsync(self._descriptor)


class Robots:
    """Those of one project, or of the system."""

    def __init__(
        self, theirs: Harbor, ours: Harbor, report: Report, secrets: SecretsFile | None
    ) -> None:
        self._theirs = theirs
        self._ours = ours
        self._report = report
        self._secrets = secrets  # None: a dry run
        self._grantable: dict[str, set[tuple[str, str]]] | None = None

    async def carry(
        self, prefixes: tuple[str, str], project: Mapping[str, Any] | None, our_project: int
    ) -> None:
        """Carry accounts; `prefixes` are theirs and ours."""
        level = "system" if project is None else "project"
        query, our_query = f"Level={level}", f"Level={level}"
        if project is not None:
            query += f",ProjectID={project['project_id']}"
            our_query += f",ProjectID={our_project}"
        known = {}
        if project is None or our_project:
            known = {
                self._bare(each["name"], prefixes[1], project): each["id"]
                async for each in self._ours.every("robots", q=our_query)
            }
        async for each in self._theirs.every("robots", q=query):
            name = self._bare(each["name"], prefixes[0], project)
            full = f"{project['name']}+{name}" if project else name
            if name in known:
                await self._there(full, each["name"], known[name])
            else:
                await self._make(full, name, each, level, known.keys())

    def _bare(self, full: str, prefix: str, project: Mapping[str, Any] | None) -> str:
        name = full.removeprefix(prefix)
        return name.removeprefix(f"{project['name']}+") if project else name

    async def _there(self, full: str, shown: str, robot_id: int) -> None:
        self._report.of(KIND).there += 1
        if self._secrets is None or not self._secrets.lost(full):
            return
        answer = await self._ours.ask("PATCH", f"robots/{robot_id}", {})
        if answer.good and isinstance(answer.body, Mapping):
            self._secrets.keep(full, shown, str(answer.body.get("secret", "")))
        else:
            self._report.note(KIND, shown, f"its secret is unknown: {answer.why}")

    async def _make(
        self, full: str, name: str, robot: Mapping[str, Any], level: str, _: Collection[str]
    ) -> None:
        shown = str(robot["name"])
        duration = _days_left(robot)
        if duration == 0:
            self._report.left(KIND, shown, "has expired")
            return
        body = {
            "name": name,
            "level": level,
            "description": robot.get("description", ""),
            "disable": bool(robot.get("disable", False)),
            "duration": duration,
            "permissions": await self._permissions(shown, robot),
        }
        if not body["permissions"]:
            self._report.left(KIND, shown, "has no permission that there is here")
            return
        if self._secrets is None:
            self._report.of(KIND).made += 1
            return
        self._secrets.begin(full)
        answer = await self._ours.ask("POST", "robots", body)
        if not answer.good or not isinstance(answer.body, Mapping):
            self._report.left(KIND, shown, answer.why)
            return
        self._secrets.keep(full, str(answer.body["name"]), str(answer.body["secret"]))
        self._report.of(KIND).made += 1

    async def _permissions(self, shown: str, robot: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._grantable is None:
            found = await self._ours.get("permissions") or {}
            self._grantable = {
                kind: {(each["resource"], each["action"]) for each in found.get(kind) or []}
                for kind in ("system", "project")
            }
        kept = []
        for permission in robot.get("permissions") or []:
            access = []
            for each in permission.get("access") or []:
                pair = each.get("resource", ""), each.get("action", "")
                if pair in self._grantable.get(permission.get("kind", ""), set()):
                    access.append({"resource": pair[0], "action": pair[1]})
                else:
                    why = f"its permission to {pair[1]} {pair[0]} is not known here"
                    self._report.note(KIND, shown, why)
            if access:
                kind, namespace = permission["kind"], permission.get("namespace", "/")
                kept.append({"kind": kind, "namespace": namespace, "access": access})
        return kept


def _days_left(robot: Mapping[str, Any]) -> int:
    """Days until it expires; -1 for never, 0 when it has."""
    expires = int(robot.get("expires_at") or -1)
    if expires < 0:
        return -1
    return max(0, math.ceil((expires - time.time()) / 86400))
