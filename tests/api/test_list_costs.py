"""Lists take as many statements for thirty items as for three: none asks for each of its items."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, insert
from tests.api.world import World
from tests.support.accounts import in_project, in_system
from tests.support.content import ALICE, CONFIG, image, index, sha256
from tests.support.statements import statements

from moorage.access.principals import Principal
from moorage.db import tables
from moorage.jobs import NewTask, enqueue, extend, schedules
from moorage.oci import media_types

pytestmark = pytest.mark.anyio

TEAM = "/projects/team"
APP = f"{TEAM}/repositories/app/artifacts"
OF_REPOSITORY = "/projects/{project_name}/repositories/{repository_name}"
EVERYTHING = {
    "with_tag": "true",
    "with_label": "true",
    "with_accessory": "true",
    "with_immutable_status": "true",
    "with_scan_overview": "true",
    "with_child": "true",
}
CASES: dict[str, list[tuple[str, dict[str, str]]]] = {
    "/users/current/tokens": [("/users/current/tokens", {})],
    "/users/{user_id}/tokens": [("/users/1/tokens", {})],
    "/users": [("/users", {}), ("/users", {"q": "username=~u"})],
    "/users/search": [("/users/search", {"username": "u"})],
    "/usergroups": [("/usergroups", {})],
    "/usergroups/search": [("/usergroups/search", {"groupname": "g"})],
    "/projects": [("/projects", {}), ("/projects", {"q": "name=~p", "sort": "-creation_time"})],
    "/projects/{project_name_or_id}/members": [(f"{TEAM}/members", {})],
    "/repositories": [("/repositories", {}), ("/repositories", {"q": "name=~r"})],
    "/projects/{project_name}/repositories": [(f"{TEAM}/repositories", {"sort": "-update_time"})],
    "/projects/{project_name}/repositories/{repository_name}/artifacts": [
        (APP, {}),
        (APP, EVERYTHING),
        (APP, {**EVERYTHING, "q": "tags=~t"}),
        (APP, {"q": "tags=nil"}),
        (APP, {"q": "type=IMAGE"}),
        (APP, {"q": "base=*", **EVERYTHING}),
    ],
    "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/accessories": [
        (f"{APP}/main/accessories", {})
    ],
    "/search/artifacts": [("/search/artifacts", {"q": "team:v1"})],
    "/projects/{project_name_or_id}/artifacts": [
        (f"{TEAM}/artifacts", EVERYTHING),
        (f"{TEAM}/artifacts", {"latest_in_repository": "true", "q": f"media_type={CONFIG}"}),
    ],
    "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags": [
        (f"{APP}/main/tags", {"with_immutable_status": "true"})
    ],
    "/projects/{project_name}/repositories/{repository_name}/tags": [
        (f"{TEAM}/repositories/app/tags", {"with_immutable_status": "true"}),
        (f"{TEAM}/repositories/app/tags", {"sort": "-version"}),
        (f"{TEAM}/repositories/app/tags", {"sort": "-version", "with_artifact": "true"}),
        (f"{TEAM}/repositories/app/tags", {"q": "name=~t", "with_artifact": "true"}),
    ],
    f"{OF_REPOSITORY}/tag-history": [
        (f"{TEAM}/repositories/app/tag-history", {}),
        (f"{TEAM}/repositories/app/tag-history", {"q": "kind=created", "sort": "tag"}),
    ],
    "/projects/{project_name_or_id}/usage/pulls/repositories": [
        (f"{TEAM}/usage/pulls/repositories", {})
    ],
    "/projects/{project_name_or_id}/usage/pulls/callers": [(f"{TEAM}/usage/pulls/callers", {})],
    "/projects/{project_name_or_id}/usage/storage/repositories": [
        (f"{TEAM}/usage/storage/repositories", {})
    ],
    f"{OF_REPOSITORY}/usage/pulls/artifacts": [
        (f"{TEAM}/repositories/app/usage/pulls/artifacts", {"days": "365"})
    ],
    f"{OF_REPOSITORY}/usage/pulls/tags": [(f"{TEAM}/repositories/app/usage/pulls/tags", {})],
    f"{OF_REPOSITORY}/usage/pulls/callers": [(f"{TEAM}/repositories/app/usage/pulls/callers", {})],
    "/projects/{project_name_or_id}/immutabletagrules": [(f"{TEAM}/immutabletagrules", {})],
    "/retentions/{id}/executions": [("/retentions/1/executions", {})],
    "/retentions/{id}/executions/{eid}/tasks": [("/retentions/1/executions/1/tasks", {})],
    "/projects/{project_name}/trash": [(f"{TEAM}/trash", {})],
    "/labels": [
        ("/labels", {"scope": "g"}),
        ("/labels", {"scope": "p", "project_id": "{team}"}),
        ("/labels", {"scope": "p", "project_id": "{team}", "with_global": "true"}),
    ],
    "/robots": [
        ("/robots", {}),
        ("/robots", {"q": "Level=project,ProjectID={team}"}),
    ],
    "/federation-rules": [("/federation-rules", {})],
    "/robots/{robot_id}/federation-rules": [("/robots/1/federation-rules", {})],
    "/quotas": [("/quotas", {}), ("/quotas", {"sort": "-used.storage"})],
    "/scanners": [("/scanners", {})],
    "/projects/{project_name_or_id}/webhook/policies": [(f"{TEAM}/webhook/policies", {})],
    "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}/executions": [
        (f"{TEAM}/webhook/policies/1/executions", {})
    ],
    "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}/executions"
    "/{execution_id}/tasks": [(f"{TEAM}/webhook/policies/1/executions/2/tasks", {})],
    "/projects/{project_name_or_id}/webhook/jobs": [(f"{TEAM}/webhook/jobs", {"policy_id": "1"})],
    "/registries": [("/registries", {}), ("/registries", {"q": "name=~o"})],
    "/replication/policies": [("/replication/policies", {})],
    "/replication/executions": [("/replication/executions", {"policy_id": "1"})],
    "/replication/executions/{id}/tasks": [("/replication/executions/3/tasks", {})],
    "/system/gc": [("/system/gc", {})],
    "/system/purgeaudit": [("/system/purgeaudit", {})],
    "/schedules": [("/schedules", {})],
    "/audit-logs": [("/audit-logs", {})],
    "/auditlog-exts": [("/auditlog-exts", {})],
    "/projects/{project_name}/logs": [(f"{TEAM}/logs", {})],
    "/projects/{project_name}/auditlog-exts": [(f"{TEAM}/auditlog-exts", {})],
    "/projects/{project_name_or_id}/scanner/candidates": [(f"{TEAM}/scanner/candidates", {})],
}
"""Route of a list to requests for it."""
APPLIED = {"dry_run": True, "repository": "team/app", "total": 1, "retained": 1}


class Growing:
    """A world of which there is more and more: items `start` to `stop` of every kind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.root = world.people["sysadmin"]
        self.subject = b""

    async def begin(self) -> None:
        """What the others hang on."""
        self.subject = await self.world.content.push_image("team/app", "main")
        scope = {"level": "project", "ref": self.world.projects["team"]}
        await self._made("POST", "/retentions", {"scope": scope})
        for kind in ("RETENTION", "WEBHOOK", "REPLICATION"):  # executions 1, 2 and 3
            made = partial(enqueue, trigger="MANUAL", vendor_id=1, extra=APPLIED)
            await self.world.content.db.run(made, kind, [NewTask(kind, extra=APPLIED)])

    async def grow(self, start: int, stop: int) -> None:
        """So many more of everything."""
        for number in range(start, stop):
            await self._people(number)
            await self._projects(number)
            await self._content(number)
            await self._jobs(number)
            await self._elsewhere(number)
        await self._pulls(start, stop)
        await self._log(start, stop)
        await self._work(start, stop)

    async def _made(self, method: str, path: str, body: Any) -> None:
        answer = await self.world.call("sysadmin", method, path, body)
        assert answer.is_success, (path, answer.text)

    async def _people(self, number: int) -> None:
        services, team = self.world.services, self.world.projects["team"]
        async with self.world.content.db.write() as tx:
            user = insert(tables.users).values(username=f"u{number}").returning(tables.users.c.id)
            user_id = (await tx.execute(user)).scalar_one()
        await services.members.add(self.root, team, 3, user_id=user_id)
        await services.groups.create(self.root, 3, f"g{number}")
        await services.access_tokens.create(self.root, f"t{number}")
        for level, scope in (
            ("system", in_system("user:list")),
            ("project", in_project("team", "repository:pull")),
        ):
            await services.robots.create(
                self.root,
                name=f"r{number}",
                level=level,  # type: ignore[arg-type]
                permissions=[scope],
            )
        rule = {
            "name": f"f{number}",
            "issuer": "https://issuer.example",
            "audience": "x",
            "claims": [{"claim": "sub", "pattern": "x"}],
        }
        await self._made("POST", "/robots/1/federation-rules", rule)

    async def _projects(self, number: int) -> None:
        team = self.world.projects["team"]
        await self.world.services.projects.create(self.root, f"p{number}")
        for label in ({"scope": "g"}, {"scope": "p", "project_id": team}):
            await self._made("POST", "/labels", {"name": f"l{number}", **label})
        selector = {"kind": "doublestar", "pattern": f"x{number}"}
        rule = {
            "tag_selectors": [{**selector, "decoration": "matches"}],
            "scope_selectors": {"repository": [{**selector, "decoration": "repoMatches"}]},
        }
        await self._made("POST", f"{TEAM}/immutabletagrules", rule)
        scanner = {"name": f"s{number}", "url": f"http://127.0.0.1:{7000 + number}"}
        await self._made("POST", "/scanners", scanner)

    async def _content(self, number: int) -> None:
        content, manifests = self.world.content, self.world.content.manifests
        await content.push_image(f"team/r{number}", "v1")
        config = b'{"n": %d}' % number
        await content.push_image("team/app", f"t{number}", config)
        await manifests.put(ALICE, "team/app", f"m{number}", self.subject, media_types.OCI_MANIFEST)
        await self._made(
            "POST",
            f"{APP}/t{number}/labels",
            {"id": 1},
        )
        signature = image(config, [b"layer"], subject=_descriptor(self.subject))
        child = await content.push_image("team/app", f"c{number}", config, [b"layer", b"child"])
        for extra, kind in (
            (signature, media_types.OCI_MANIFEST),
            (index([child], annotations={"n": str(number)}), media_types.OCI_INDEX),
        ):
            await manifests.put(ALICE, "team/app", sha256(extra), extra, kind)
        gone = await content.push_image("team/gone", "v1", b'{"gone": %d}' % number)
        await manifests.delete(ALICE, "team/gone", sha256(gone))

    async def _pulls(self, start: int, stop: int) -> None:
        """Every name pulls one tag of every repository; bytes are noted of what there is then."""
        content = self.world.content
        for number in range(start, stop):
            caller = Principal("user", number, f"u{number}")
            for repository, tag in (("team/app", f"t{number}"), (f"team/r{number}", "v1")):
                found = await content.pulls.manifest(repository, tag)
                content.pulls.count(found.resolved, tag, caller)
        await content.counts.flush()
        async with content.db.write() as tx:
            for table in (tables.project_storage, tables.repository_storage):
                await tx.execute(delete(table))
        await self.world.services.storage_days.note()

    async def _jobs(self, number: int) -> None:
        run = self.world.content.db.run
        hook = {
            "name": f"w{number}",
            "targets": [{"type": "http", "address": "https://example.org"}],
            "event_types": ["PUSH_ARTIFACT"],
        }
        await self._made("POST", f"{TEAM}/webhook/policies", hook)
        await run(enqueue, "WEBHOOK", [NewTask("WEBHOOK")], trigger="EVENT", vendor_id=1)
        await run(extend, 2, [NewTask("WEBHOOK")])
        for kind in ("GARBAGE_COLLECTION", "PURGE_AUDIT_LOG"):
            await run(enqueue, kind, [NewTask(kind)], trigger="MANUAL")
        await run(schedules.put, "GARBAGE_COLLECTION", "Daily", "", vendor_id=number)

    async def _elsewhere(self, number: int) -> None:
        row = {"name": f"o{number}", "kind": "harbor", "url": "https://registry.example"}
        async with self.world.content.db.write() as tx:
            made = insert(tables.registries).values(**row).returning(tables.registries.c.id)
            registry = (await tx.execute(made)).scalar_one()
        policy = {"name": f"o{number}", "dest_registry": {"id": registry}}
        await self._made("POST", "/replication/policies", policy)
        run = self.world.content.db.run
        await run(enqueue, "REPLICATION", [], trigger="MANUAL", vendor_id=1)
        await run(extend, 3, [NewTask("REPLICATION")])

    async def _work(self, start: int, stop: int) -> None:
        new = [NewTask("RETENTION", extra=APPLIED)]
        for _ in range(start, stop):
            made = partial(enqueue, trigger="MANUAL", vendor_id=1, extra=APPLIED)
            await self.world.content.db.run(made, "RETENTION", [])
            await self.world.content.db.run(extend, 1, new)

    async def _log(self, start: int, stop: int) -> None:
        row = {
            "project_id": self.world.projects["team"],
            "username": "x",
            "operation": "create",
            "resource_type": "artifact",
            "resource": "team/app:v1",
        }
        async with self.world.content.db.write() as tx:
            await tx.execute(insert(tables.audit_log), [row] * (stop - start))

    async def costs(self) -> dict[str, tuple[int, list[str]]]:
        """Items and statements of every request of CASES, on the whole and on a later page."""
        team = str(self.world.projects["team"])
        found = {}
        for requests in CASES.values():
            for path, params in requests:
                filled = {key: value.replace("{team}", team) for key, value in params.items()}
                for page in ({"page_size": "100"}, {"page_size": "2", "page": "2"}):
                    query = {**filled, **page}
                    await self.world.call("sysadmin", "GET", path, params=query)  # fills caches
                    with statements() as seen:
                        answer = await self.world.call("sysadmin", "GET", path, params=query)
                    assert answer.status_code == 200, (path, answer.text)
                    found[f"{path} {query}"] = len(answer.json() or []), list(seen)
        return found


def _descriptor(manifest: bytes) -> dict[str, Any]:
    kind = media_types.OCI_MANIFEST
    return {"mediaType": kind, "digest": sha256(manifest), "size": len(manifest)}


async def test_no_list_asks_for_each_of_its_items(world: World) -> None:
    """Nor does a later page cost more statements than the first; a page that is not full may spare
    the one that counts."""
    growing = Growing(world)
    await growing.begin()
    await growing.grow(0, 3)
    few = await growing.costs()
    await growing.grow(3, 30)
    many = await growing.costs()
    wrong = [
        f"{case}: {len(few[case][1])} statements for {few[case][0]} items, "
        f"{len(seen)} for {items}: {seen}"
        for case, (items, seen) in many.items()
        if len(seen) - len(few[case][1]) not in (0, 1)
    ]
    assert wrong == []
    whole = {case: items for case, (items, _) in many.items() if "'page': '2'" not in case}
    assert {case: items for case, items in whole.items() if items < 30} == {}
    assert max(len(seen) for _, seen in many.values()) <= 12


async def test_every_list_has_a_case(world: World) -> None:
    """A new one has to say how it is asked."""
    served = {
        path.removeprefix("/api/v2.0")
        for path, item in world.app.openapi()["paths"].items()
        if "X-Total-Count"
        in item.get("get", {}).get("responses", {}).get("200", {}).get("headers", {})
    }
    assert served == set(CASES)
