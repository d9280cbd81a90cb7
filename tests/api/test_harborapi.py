"""A published client of Harbor works with this API: every method whose operation is here."""

import ast
import contextlib
import dataclasses
import inspect
import re
import typing
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.api.world import World
from tests.support.content import sha256
from tests.support.jobs import ended, worker, working
from tests.support.ldap_server import ADMIN_DN, ADMIN_PASSWORD, BASE, LdapServer
from tests.support.oidc_server import RealProvider
from tests.support.otherregistry import OtherRegistry
from tests.support.requirements import require
from tests.support.scanners import Adapter

from moorage.audit import Recorder
from moorage.events import Outbox, ProjectCreated
from moorage.jobs import Kind
from moorage.replication import KIND as REPLICATION
from moorage.replication import PLAN, MoveJob, PlanJob
from moorage.retention.executions import KIND
from moorage.retention.job import RetentionJob

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def harborapi() -> ModuleType:
    """The client's package, when it is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about its own dependencies
        try:
            import harborapi
            import harborapi.models
        except ImportError:
            require("the Python package harborapi")
            raise
    assert isinstance(harborapi, ModuleType)
    return harborapi


@pytest.fixture
def harbor(harborapi: ModuleType, world: World) -> Any:
    """The client, signed in as the administrator, on the application in this process."""
    import httpx

    client = harborapi.HarborAsyncClient(
        url="http://test/api/v2.0", username="sysadmin", secret="x", retry=None
    )
    client.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app))
    return client


async def test_the_installation(harbor: Any) -> None:
    """Ping, health, facts and counts."""
    assert await harbor.ping() == "Pong"
    assert (await harbor.health_check()).status == "healthy"
    assert (await harbor.get_system_info()).harbor_version == "v0.1.0"
    assert (await harbor.get_system_volume_info()).storage is not None
    assert (await harbor.get_statistics()).total_project_count == 3
    assert (await harbor.get_permissions()).system
    assert (await harbor.search("team")).project[0].name == "team"


async def test_the_audit_log(harbor: Any, harborapi: ModuleType, world: World) -> None:
    """Of the installation and of a project."""
    hear = Recorder(world.configurations).hear
    request = harborapi.models.ProjectReq(project_name="new")
    await harbor.create_project(request)
    await Outbox(world.content.db, {ProjectCreated: [hear]}).dispatch()
    (entry,) = await harbor.get_audit_logs(query="resource=new")
    assert (entry.operation, entry.resource_type, entry.username) == (
        "create",
        "project",
        "sysadmin",
    )
    assert [each.id for each in await harbor.get_project_logs("new")] == [entry.id]


async def test_user_groups(harbor: Any, harborapi: ModuleType) -> None:
    """From making one known to a role in a project, and back."""
    models = harborapi.models
    location = await harbor.create_usergroup(models.UserGroup(group_name="staff", group_type=3))
    group_id = int(location.rpartition("/")[2])
    await harbor.update_usergroup(group_id, models.UserGroup(group_name="people"))
    assert (await harbor.get_usergroup(group_id)).group_name == "people"
    assert [group.id for group in await harbor.get_usergroups(group_name="peop")] == [group_id]
    assert (await harbor.search_usergroups("PEOP"))[0].group_type == 3
    await harbor.add_project_member_group("team", group_id, 2)
    members = await harbor.get_project_members("team", entity_name="people")
    assert [(each.entity_id, each.entity_type) for each in members] == [(group_id, "g")]
    await harbor.delete_usergroup(group_id)
    assert await harbor.get_project_members("team", entity_name="people") == []
    assert await harbor.get_usergroups() == []


async def test_ldap(
    harbor: Any, harborapi: ModuleType, world: World, ldap_server: LdapServer
) -> None:
    """Trying the server, and finding and importing people."""
    models = harborapi.models
    ldap_server.group("staff", ldap_server.person("alice", "Alice-secret1"))
    values = {
        "ldap_url": ldap_server.url,
        "ldap_search_dn": ADMIN_DN,
        "ldap_search_password": ADMIN_PASSWORD,
        "ldap_base_dn": BASE,
        "ldap_uid": "uid",
    }
    await harbor.update_config(models.Configurations(**values))
    assert (await harbor.ping_ldap()).success
    assert [each.username for each in await harbor.search_ldap_users("alice")] == ["alice"]
    assert [each.group_name for each in await harbor.search_ldap_groups("staff")] == ["staff"]
    await harbor.import_ldap_users(["alice"])
    assert (await harbor.search_users_by_username("alice"))[0].username == "alice"


async def test_scanners(harbor: Any, harborapi: ModuleType, adapter: Adapter) -> None:
    """From trying one to the choice of a project."""
    models = harborapi.models
    await harbor.ping_scanner_adapter(
        models.ScannerRegistrationSettings(name="trivy", url=adapter.url)
    )
    request = models.ScannerRegistrationReq(name="trivy", url=adapter.url)
    scanner_id = (await harbor.create_scanner(request)).rpartition("/")[2]
    assert (await harbor.get_scanner(scanner_id)).health == "healthy"
    assert (await harbor.get_scanner_metadata(scanner_id)).scanner.name == "Trivy"
    request.description = "text"
    await harbor.update_scanner(scanner_id, request)
    await harbor.set_default_scanner(scanner_id)
    assert [each.description for each in await harbor.get_scanners()] == ["text"]
    await harbor.set_project_scanner("team", scanner_id)
    assert (await harbor.get_project_scanner("team")).uuid == scanner_id
    candidates = await harbor.get_project_scanner_candidates("team")
    assert [each.uuid for each in candidates] == [scanner_id]
    assert (await harbor.delete_scanner(scanner_id)).uuid == scanner_id


async def test_oidc(harbor: Any, harborapi: ModuleType, oidc_provider: RealProvider) -> None:
    """Whether a provider is there."""
    endpoint = harborapi.models.OIDCTestReq(url=oidc_provider.issuer, verify_cert=True)
    await harbor.test_oidc(endpoint)
    with pytest.raises(harborapi.exceptions.BadRequest):
        await harbor.test_oidc(
            harborapi.models.OIDCTestReq(url="http://127.0.0.1:9", verify_cert=True)
        )


async def test_projects_and_members(harbor: Any, harborapi: ModuleType) -> None:
    """From making one to deleting it."""
    models = harborapi.models
    location = await harbor.create_project(
        models.ProjectReq(project_name="new", metadata=models.ProjectMetadata(public="true"))
    )
    assert location.startswith("/api/v2.0/projects/")
    assert await harbor.project_exists("new")
    assert not await harbor.project_exists("nothing")
    project = await harbor.get_project("new")
    assert project.metadata.public == "true"
    assert {p.name for p in await harbor.get_projects()} == {"new", "open", "other", "team"}
    request = models.ProjectReq(metadata=models.ProjectMetadata(public="false"))
    await harbor.update_project("new", request)
    assert (await harbor.get_project(project.project_id)).metadata.public == "false"
    assert (await harbor.get_project_summary("new")).project_admin_count == 1
    assert (await harbor.get_project_deletable("new")).deletable

    await harbor.add_project_member_user("new", "guest", 3)
    members = await harbor.get_project_members("new")
    member = next(m for m in members if m.entity_name == "guest")
    await harbor.update_project_member_role("new", member.id, 2)
    assert (await harbor.get_project_member("new", member.id)).role_id == 2
    await harbor.remove_project_member("new", member.id)
    person = models.UserEntity(username="guest")
    await harbor.add_project_member("new", models.ProjectMember(role_id=4, member_user=person))
    await harbor.remove_project_member("new", (await harbor.get_project_members("new"))[-1].id)

    await harbor.set_project_metadata("new", models.ProjectMetadata(severity="low"))
    await harbor.update_project_metadata_entry("new", "severity", {"severity": "high"})
    assert await harbor.get_project_metadata_entry("new", "severity") == {"severity": "high"}
    assert (await harbor.get_project_metadata("new")).severity == "high"
    await harbor.delete_project_metadata_entry("new", "severity")

    quotas = await harbor.get_quotas()
    quota = next(q for q in quotas if q.ref.root["name"] == "new")
    await harbor.update_quota(
        quota.id, models.QuotaUpdateReq(hard=models.ResourceList(root={"storage": 1000}))
    )
    assert (await harbor.get_quota(quota.id)).hard.root == {"storage": 1000}
    await harbor.delete_project("new")


async def test_repositories_and_artifacts(harbor: Any, harborapi: ModuleType, world: World) -> None:
    """A nested name, tags, and deleting all of it."""
    models = harborapi.models
    manifest = await world.content.push_image("team/a/b", "v1")
    assert [r.name for r in await harbor.get_repositories("team")] == ["team/a/b"]
    assert len(await harbor.get_repositories()) == 1
    await harbor.update_repository("team", "a/b", models.Repository(description="text"))
    assert (await harbor.get_repository("team", "a/b")).description == "text"
    (artifact,) = await harbor.get_artifacts("team", "a/b", with_accessory=True)
    assert artifact.digest == sha256(manifest)
    assert [a.digest for a in await harbor.get_project_artifacts("team")] == [artifact.digest]
    await harbor.create_artifact_tag("team", "a/b", "v1", models.Tag(name="v2"))
    tags = await harbor.get_artifact_tags("team", "a/b", "v1")
    assert [tag.name for tag in tags] == ["v2", "v1"]
    await harbor.delete_artifact_tag("team", "a/b", "v1", "v2")
    assert await harbor.get_artifact_accessories("team", "a/b", "v1") == []
    assert (await harbor.get_artifact("team", "a/b", "v1")).tags[0].name == "v1"
    assert artifact.extra_attrs.root["os"] == ""
    assert artifact.addition_links.root["build_history"].absolute is False
    assert await harbor.get_artifact_build_history("team", "a/b", "v1") == []
    assert (await harbor.get_icon(artifact.icon)).content
    copied = await harbor.copy_artifact("open", "c/d", f"team/a/b@{artifact.digest}")
    assert copied.endswith(f"/artifacts/{artifact.digest}")
    assert (await harbor.get_artifact("open", "c/d", "v1")).digest == artifact.digest
    await harbor.delete_artifact("team", "a/b", "v1")
    await harbor.delete_repository("team", "a/b")


async def test_labels(harbor: Any, harborapi: ModuleType, world: World) -> None:
    """Both scopes, and on an artifact."""
    models = harborapi.models
    await world.content.push_image("team/a/b", "v1")
    project_id = world.projects["team"]
    for name, scope in (
        ("global", {"scope": "g"}),
        ("ours", {"scope": "p", "project_id": project_id}),
    ):
        location = await harbor.create_label(models.Label(name=name, color="#FFFFFF", **scope))
        assert location.startswith("/api/v2.0/labels/")
    (label,) = await harbor.get_labels(scope="g")
    (ours,) = await harbor.get_labels(scope="p", project_id=project_id, name="our")
    assert (ours.name, ours.project_id) == ("ours", project_id)
    label.description = "changed"
    await harbor.update_label(label.id, label)
    assert (await harbor.get_label(label.id)).description == "changed"
    for each in (label, ours):
        await harbor.add_artifact_label("team", "a/b", "v1", each)
    artifact = await harbor.get_artifact("team", "a/b", "v1", with_label=True)
    assert [found.name for found in artifact.labels] == ["global", "ours"]
    query = f"labels=({label.id} {ours.id})"
    assert len(await harbor.get_artifacts("team", "a/b", query=query)) == 1
    await harbor.delete_artifact_label("team", "a/b", "v1", ours.id)
    await harbor.delete_label(label.id)
    artifact = await harbor.get_artifact("team", "a/b", "v1", with_label=True)
    assert not artifact.labels


async def test_users(harbor: Any, harborapi: ModuleType) -> None:
    """From making one to deleting it."""
    models = harborapi.models
    await harbor.create_user(
        models.UserCreationReq(
            username="nia", password="Harbour2026", email="nia@example.org", realname="Nia"
        )
    )
    user = await harbor.get_user_by_username("nia")
    assert (await harbor.get_user(user.user_id)).email == "nia@example.org"
    assert [u.username for u in await harbor.search_users_by_username("nia")] == ["nia"]
    assert "nia" in {u.username for u in await harbor.get_users()}
    await harbor.update_user(user.user_id, models.UserProfile(realname="N"))
    await harbor.set_user_admin(user.user_id, True)
    await harbor.set_user_password(user.user_id, "Harbour2027")
    assert (await harbor.get_current_user()).username == "sysadmin"
    assert await harbor.get_current_user_permissions(scope="/project/1")
    await harbor.delete_user(user.user_id)


async def test_robots(harbor: Any, harborapi: ModuleType) -> None:
    """From making one to deleting it."""
    models = harborapi.models
    permission = models.RobotPermission(
        kind="project",
        namespace="team",
        access=[models.Access(resource="repository", action="pull")],
    )
    made = await harbor.create_robot(
        models.RobotCreate(name="bot", level="project", duration=30, permissions=[permission])
    )
    assert made.secret
    robot = await harbor.get_robot(made.id)
    assert robot.name == "robot$team+bot"
    robot.description = "changed"
    await harbor.update_robot(made.id, robot)
    assert (await harbor.get_robot(made.id)).description == "changed"
    secret = await harbor.refresh_robot_secret(made.id, "Harbour2026")
    assert secret is not None
    assert await harbor.get_robots() == []
    await harbor.delete_robot(made.id)


async def test_immutable_tag_rules(harbor: Any, harborapi: ModuleType) -> None:
    """From making one to deleting it; the client switches it with nothing but the switch."""
    models = harborapi.models
    chosen = models.ImmutableSelector(kind="doublestar", decoration="matches", pattern="v*")
    place = models.ImmutableSelector(kind="doublestar", decoration="repoMatches", pattern="**")
    rule = models.ImmutableRule(
        action="immutable",
        template="immutable_template",
        tag_selectors=[chosen],
        scope_selectors={"repository": [place]},
    )
    location = await harbor.create_project_immutable_tag_rule("team", rule)
    number = int(location.rpartition("/")[2])
    (made,) = await harbor.get_project_immutable_tag_rules("team")
    assert (made.id, made.tag_selectors) == (number, [chosen])
    await harbor.enable_project_immutable_tagrule("team", number, enabled=False)
    (made,) = await harbor.get_project_immutable_tag_rules("team", query="disabled=true")
    assert made.scope_selectors == {"repository": [place]}
    made.priority = 2
    await harbor.update_project_immutable_tag_rule("team", number, made)
    await harbor.delete_project_immutable_tag_rule("team", number)
    assert await harbor.get_project_immutable_tag_rules("team") == []


async def test_tag_retention(harbor: Any, harborapi: ModuleType, world: World) -> None:
    """From making a policy and applying it to deleting it."""
    models = harborapi.models
    await world.content.push_image("team/a/b", "v1", b"1")
    await world.content.push_image("team/a/b", "v2", b"2")
    (shown,) = (await harbor.get_retention_metadata()).scope_selectors
    assert shown.decorations == ["repoMatches", "repoExcludes"]
    rule = models.RetentionRule(
        action="retain",
        template="latestPushedK",
        params={"latestPushedK": 1},
        tag_selectors=[
            models.RetentionSelector(kind="doublestar", decoration="matches", pattern="**")
        ],
        scope_selectors={
            "repository": [
                models.RetentionSelector(kind="doublestar", decoration="repoMatches", pattern="**")
            ]
        },
    )
    policy = models.RetentionPolicy(
        algorithm="or",
        rules=[rule],
        trigger=models.RetentionRuleTrigger(kind="Schedule", settings={"cron": ""}, references={}),
        scope=models.RetentionPolicyScope(level="project", ref=world.projects["team"]),
    )
    location = await harbor.create_retention_policy(policy)
    number = await harbor.get_project_retention_id("team")
    assert location == f"/api/v2.0/retentions/{number}"
    policy.trigger.settings = {"cron": "0 0 2 * * *"}
    await harbor.update_retention_policy(number, policy)
    found = await harbor.get_retention_policy(number)
    assert (found.trigger.settings, found.scope) == ({"cron": "0 0 2 * * *"}, policy.scope)
    assert found.rules[0].params == {"latestPushedK": 1}
    started = await harbor.start_retention_execution(number, dry_run=True)
    execution = int(started.rpartition("/")[2])
    kind = Kind(KIND, RetentionJob(world.content.db, world.content.rules))
    async with working(worker(world.content.db, kind)):
        await ended(world.content.db, execution)
    (shown,) = await harbor.get_retention_executions(number)
    assert (shown.id, shown.status, shown.dry_run) == (execution, "Success", True)
    (task,) = await harbor.get_retention_tasks(number, execution)
    assert (task.repository, task.total, task.retained) == ("team/a/b", 2, 1)
    log = await harbor.get_retention_execution_task_log(number, execution, task.id)
    assert log.count("| RETAIN ") == log.count("| DEL ") == 1
    await harbor.stop_retention_execution(number, execution)
    await harbor.delete_retention_policy(number)
    with pytest.raises(harborapi.exceptions.NotFound):
        await harbor.get_project_retention_id("team")


async def test_settings(harbor: Any, harborapi: ModuleType) -> None:
    """Read with their scopes, and written."""
    await harbor.update_config(harborapi.models.Configurations(robot_token_duration=7))
    found = await harbor.get_config()
    assert (found.robot_token_duration.value, found.robot_token_duration.editable) == (7, True)


async def test_a_secret_for_clients(harbor: Any, harborapi: ModuleType) -> None:
    """Only users of OpenID Connect have one."""
    with pytest.raises(harborapi.exceptions.PreconditionFailed):
        await harbor.set_user_cli_secret(1, "Harbour2026")


async def test_the_certificate(harbor: Any, world: World) -> None:
    """That of the authority, byte by byte."""
    system = dataclasses.replace(world.services.system, ca_certificate=b"-----BEGIN")
    world.app.state.services = dataclasses.replace(world.services, system=system)
    assert (await harbor.get_system_certificate()).content == b"-----BEGIN"


async def test_webhooks(harbor: Any, harborapi: ModuleType) -> None:
    """From what there is to choose to what was told."""
    models = harborapi.models
    supported = await harbor.get_webhook_supported_events("team")
    assert "PUSH_ARTIFACT" in [each.root for each in supported.event_type]
    target = models.WebhookTargetObject(
        type="http", address="https://example.org/hook", auth_header="Bearer x"
    )
    policy = models.WebhookPolicy(
        name="ci", targets=[target], event_types=["PUSH_ARTIFACT"], enabled=True
    )
    made = int((await harbor.create_webhook_policy("team", policy)).rpartition("/")[2])
    found = await harbor.get_webhook_policy("team", made)
    assert (found.name, found.creator, found.enabled) == ("ci", "sysadmin", True)
    assert found.targets[0].auth_header is None
    assert [each.id for each in await harbor.get_webhook_policies("team")] == [made]
    (last,) = await harbor.get_webhook_policy_last_trigger("team")
    assert (last.policy_name, last.event_type) == ("ci", "PUSH_ARTIFACT")
    assert await harbor.get_webhook_jobs("team", made) == []
    policy.enabled = False
    await harbor.update_webhook_policy("team", made, policy)
    assert (await harbor.get_webhook_policy("team", made)).enabled is False
    await harbor.delete_webhook_policy("team", made)
    assert await harbor.get_webhook_policies("team") == []


async def test_collections_and_purges(harbor: Any, harborapi: ModuleType) -> None:
    """Asked for, listed, scheduled, stopped."""
    models = harborapi.models
    now = models.Schedule(schedule=models.ScheduleObj(type=models.Type.manual))
    daily = models.Schedule(schedule=models.ScheduleObj(type=models.Type.daily))
    made = int((await harbor.create_gc_schedule(now)).rpartition("/")[2])
    (listed,) = await harbor.get_gc_jobs()
    assert (listed.id, listed.job_status) == (made, "Pending")
    assert (await harbor.get_gc_job(made)).job_kind == "MANUAL"
    assert await harbor.get_gc_log(made) == []
    await harbor.update_gc_schedule(daily)
    assert (await harbor.get_gc_schedule()).schedule.cron == "0 0 0 * * *"
    what = {"audit_retention_hour": 24, "include_event_types": "create_artifact"}
    now.parameters = daily.parameters = what
    made = int((await harbor.create_purge_job_schedule(now)).rpartition("/")[2])
    assert [each.id for each in await harbor.get_purge_job_history()] == [made]
    assert (await harbor.get_purge_job(made)).job_name == "PURGE_AUDIT_LOG"
    assert await harbor.get_purge_job_log(made) == ""
    await harbor.stop_purge_job(made)
    assert (await harbor.get_purge_job(made)).job_status == "Stopped"
    await harbor.update_purge_job_schedule(daily)
    assert (await harbor.get_purge_job_schedule()).schedule.type == models.Type.daily
    with pytest.deprecated_call():  # older names of the same
        await harbor.create_audit_log_rotation_schedule(daily)
    with pytest.deprecated_call():
        await harbor.update_audit_log_rotation_schedule(daily)
    with pytest.deprecated_call():
        await harbor.get_audit_log_rotation_schedule()


async def test_registries(harbor: Any, harborapi: ModuleType) -> None:
    """Tried, registered, changed and forgotten."""
    models = harborapi.models
    assert "harbor" in [
        str(getattr(each, "root", each)) for each in await harbor.get_registry_adapters()
    ]
    assert (await harbor.get_registry_providers()).root
    async with OtherRegistry().serving() as other:
        await harbor.check_registry_status(
            models.RegistryPing(type="docker-registry", url=other.url)
        )
        said = models.Registry(name="other", type="docker-registry", url=other.url)
        made = int((await harbor.create_registry(said)).rpartition("/")[2])
        assert (await harbor.get_registry(made)).status == "healthy"
        assert [each.name for each in await harbor.get_registries()] == ["other"]
        assert (await harbor.get_registry_info(made)).supported_triggers
        await harbor.update_registry(made, models.RegistryUpdate(description="text"))
        assert (await harbor.get_registry(made)).description == "text"
        await harbor.delete_registry(made)
    assert await harbor.get_registries() == []


async def test_replications(harbor: Any, harborapi: ModuleType, world: World) -> None:
    """A policy from its making to the log of a task."""
    models = harborapi.models
    kinds = Kind(PLAN, PlanJob(world.replicating)), Kind(REPLICATION, MoveJob(world.replicating))
    await world.content.push_image("team/app", "v1")
    async with OtherRegistry().serving() as other:
        there = models.Registry(name="other", type="docker-registry", url=other.url)
        registry = int((await harbor.create_registry(there)).rpartition("/")[2])
        policy = models.ReplicationPolicy(
            name="mirror",
            dest_registry=models.Registry(id=registry),
            filters=[models.ReplicationFilter(type="name", value="team/**")],
            trigger=models.ReplicationTrigger(type="manual"),
            enabled=True,
        )
        made = int((await harbor.create_replication_policy(policy)).rpartition("/")[2])
        found = await harbor.get_replication_policy(made)
        assert (found.name, found.dest_registry.id, found.src_registry.id) == (
            "mirror",
            registry,
            0,
        )
        assert [each.id for each in await harbor.get_replication_policies()] == [made]
        policy.description = "text"
        await harbor.update_replication_policy(made, policy)
        run = int((await harbor.start_replication(made)).rpartition("/")[2])
        async with working(worker(world.content.db, *kinds)):
            found = await ended(world.content.db, run)
        assert found.status == "Success", found
        assert ("team/app", "v1") in other.tags
        shown = await harbor.get_replication(run)
        assert (shown.status, shown.total, shown.succeed) == ("Succeed", 1, 1)
        assert [each.id for each in await harbor.get_replications(policy_id=made)] == [run]
        (task,) = await harbor.get_replication_tasks(run)
        assert (task.src_resource, task.status) == ("team/app:v1", "Succeed")
        assert "was copied" in await harbor.get_replication_task_log(run, task.id)
        await harbor.stop_replication(run)
        await harbor.delete_replication_policy(made)
    assert await harbor.get_replication_policies() == []


async def test_every_method_whose_operation_is_here_is_called(
    harborapi: ModuleType, world: World
) -> None:
    """What each method asks for is found out by calling it with anything."""
    served = [
        (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)))
        for path, item in world.app.openapi()["paths"].items()
        for method in item
    ]
    called = _called()
    missing, asked = [], 0
    client = harborapi.HarborAsyncClient
    for name, method in inspect.getmembers(client, inspect.iscoroutinefunction):
        if name.startswith("_") or name in BY_HAND:
            continue
        requests = await _requests(harborapi, name, method)
        asked += bool(requests)
        here = any(
            verb == known and route.fullmatch(path)
            for verb, path in requests
            for known, route in served
        )
        if here and name not in called:
            missing.append(f"{name}: {requests}")
    assert missing == []
    assert asked > 150


BY_HAND = {
    "get_artifact_vulnerability_reports": "an addition by its path; scanning is not served yet",
    "get_artifact_vulnerabilities": "an addition by its path; scanning is not served yet",
}
"""Methods whose first request says nothing of what they are for."""


def _called() -> set[str]:
    """Methods of the client that the tests here call."""
    return {
        node.func.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "harbor"
    }


async def _requests(harborapi: ModuleType, name: str, method: Any) -> list[tuple[str, str]]:
    """(verb, path) of what a method asks for; none for a helper of the client itself."""
    import httpx

    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        seen.append((request.method, path))
        return httpx.Response(404, json={"errors": []})

    client = harborapi.HarborAsyncClient(
        url="http://test/api/v2.0", username="x", secret="x", retry=None
    )
    client.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    hints = typing.get_type_hints(method)
    arguments = {
        key: _anything(hints.get(key))
        for key, parameter in list(inspect.signature(method).parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    with contextlib.suppress(Exception):  # whatever it makes of the answer
        await getattr(client, name)(**arguments)
    return seen


def _anything(hint: Any) -> Any:
    """A value of the type."""
    options = [each for each in typing.get_args(hint) if each is not type(None)]
    if typing.get_origin(hint) in (list, dict, typing.Sequence):
        return typing.get_origin(hint)()
    kind = options[0] if options else hint
    if hasattr(kind, "model_construct"):
        return kind.model_construct()
    return {int: 1, bool: True}.get(kind, "x")
