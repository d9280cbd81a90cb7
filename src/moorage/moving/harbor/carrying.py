"""What is carried from one Harbor to another, in the order in which it needs itself.

    configuration ─► users, groups ─► labels ─► registries ─► projects ─► replication policies
                                                               │
               quota, members, labels, immutable tags, ────────┤
               retention, webhooks, robot accounts             │
               (when asked) tags, labels, descriptions ────────┘
               of artifacts that are here already

Whatever is here already, by its name, is left as it is: a run that ended early is begun again.
"""

import secrets
import string
from collections.abc import Mapping
from typing import Any

from moorage.errors import Invalid
from moorage.moving.backup import Tell
from moorage.moving.harbor.client import Answer, Harbor, named
from moorage.moving.harbor.others import Others
from moorage.moving.harbor.report import Report
from moorage.moving.harbor.robots import Robots, SecretsFile

_LEFT_TO_THE_OPERATOR = frozenset({"auth_mode", "read_only"})
"""Settings whose moment an operator chooses."""

_NOT_CARRIED = {"p2p/preheat/instances": "preheat instances"}


_OF_PROXIES = [("nDaysSinceLastPull", {"nDaysSinceLastPull": 7})]
"""What the retention policy keeps with which a proxy cache begins, there and here."""


class Carrying:
    """One run."""

    def __init__(
        self,
        theirs: Harbor,
        ours: Harbor,
        secrets_file: SecretsFile | None,
        tell: Tell,
        registry_secrets: Mapping[str, str],
        *,
        artifacts: bool = False,
    ) -> None:
        """Without a file of secrets nothing is written: a dry run."""
        self.report = Report()
        self._theirs = theirs
        self._ours = ours
        self._secrets = secrets_file
        self._dry = secrets_file is None
        self._tell = tell
        self._artifacts = artifacts
        self._robots = Robots(theirs, ours, self.report, secrets_file)
        self._others = Others(
            theirs, ours, self.report, self._send, registry_secrets, dry=self._dry
        )
        self._labels: dict[tuple[str, str], int] = {}  # of ours, by project and name
        self._auth = "db_auth"
        self._prefixes = ("robot$", "robot$")

    async def run(self) -> Report:
        """Carry everything; raises Denied, Unreachable, AddressRefused, Invalid."""
        for side in (self._theirs, self._ours):
            info = await side.get("systeminfo")
            if not isinstance(info, dict) or "harbor_version" not in info:
                raise Invalid(
                    f"{side.url} is no Harbor, or these are no administrator's credentials"
                )
        await self._configuration()
        await self._users()
        await self._groups()
        await self._label_list("", scope="g")
        await self._others.registries()
        projects = [each async for each in self._theirs.every("projects")]
        for number, project in enumerate(projects):
            await self._project(project)
            self._tell("projects", number + 1, len(projects))
        await self._robots.carry(self._prefixes, None, 0)
        await self._others.policies()
        for path, what in _NOT_CARRIED.items():
            async for each in self._theirs.every(path):
                self.report.left(what, str(each.get("name", each.get("id"))), "set it up here")
        return self.report

    async def _send(self, kind: str, name: str, method: str, path: str, body: Any) -> Answer | None:
        """Make something here; None when it was not made, or this is a dry run."""
        if self._dry:
            self.report.of(kind).made += 1
            return None
        answer = await self._ours.ask(method, path, body)
        if answer.good:
            self.report.of(kind).made += 1
            return answer
        if answer.status == 409:
            self.report.of(kind).there += 1
        else:
            self.report.left(kind, name, answer.why)
        return None

    # --- the whole installation

    async def _configuration(self) -> None:
        theirs = await self._theirs.get("configurations") or {}
        ours = await self._ours.get("configurations") or {}
        value = {name: item.get("value") for name, item in theirs.items() if _is_item(item)}
        self._auth = str(value.get("auth_mode", "db_auth"))
        changes = {}
        for name, wanted in value.items():
            here = ours.get(name) or {}
            if not _is_item(here):
                self.report.left("configuration", name, "has no meaning here")
            elif here.get("value") == wanted:
                self.report.of("configuration").there += 1
            elif name in _LEFT_TO_THE_OPERATOR:
                self.report.left(
                    "configuration", name, f"is {wanted} there: set it when it is time"
                )
            elif not here.get("editable", False):
                self.report.left("configuration", name, "is fixed by the settings here")
            else:
                changes[name] = wanted
        for name, wanted in changes.items():
            await self._send("configuration", name, "PUT", "configurations", {name: wanted})
        for name in ("ldap_search_password", "oidc_client_secret"):
            if self._auth.split("_")[0] == name.split("_")[0]:
                self.report.left("configuration", name, "no API tells it: enter it here")
        after = await self._ours.get("configurations") or ours
        prefixes = [side.get("robot_name_prefix", {}).get("value") for side in (theirs, after)]
        self._prefixes = prefixes[0] or "robot$", prefixes[1] or "robot$"

    async def _users(self) -> None:
        known = {each["username"] async for each in self._ours.every("users")}
        async for each in self._theirs.every("users"):
            name = each["username"]
            if name in known or each.get("user_id") == 1:
                self.report.of("users").there += 1
            elif self._auth == "ldap_auth":
                body = {"ldap_uid_list": [name]}
                await self._send("users", name, "POST", "ldap/users/import", body)
            elif self._auth != "db_auth":
                self.report.left("users", name, f"comes at the first sign-in by {self._auth}")
            else:
                await self._user(each)

    async def _user(self, user: Mapping[str, Any]) -> None:
        name = user["username"]
        password = _password()
        body = {
            "username": name,
            "email": user.get("email", ""),
            "realname": user.get("realname") or name,
            "comment": user.get("comment", ""),
            "password": password,
        }
        if self._secrets is not None:
            # Before: it is a password that nobody else knows.
            self._secrets.keep(f"user:{name}", name, password, kind="user")
        answer = await self._send("users", name, "POST", "users", body)
        if answer is not None and user.get("sysadmin_flag"):
            flag = {"sysadmin_flag": True}
            await self._ours.ask("PUT", f"users/{answer.id}/sysadmin", flag)

    async def _groups(self) -> None:
        known = {_group(each) async for each in self._ours.every("usergroups")}
        async for each in self._theirs.every("usergroups"):
            if _group(each) in known:
                self.report.of("groups").there += 1
                continue
            keys = ["group_name", "group_type"]
            body: dict[str, Any] = {key: each[key] for key in keys if key in each}
            if each.get("ldap_group_dn"):
                body["ldap_group_dn"] = each["ldap_group_dn"]
            await self._send("groups", each["group_name"], "POST", "usergroups", body)

    async def _label_list(self, project: str, **where: Any) -> None:
        theirs = [each async for each in self._theirs.every("labels", **where)]
        ours = dict(where)
        if project:
            ours["project_id"] = self._our_id
        if not project or self._our_id:
            async for each in self._ours.every("labels", **ours):
                self._labels[project, each["name"]] = each["id"]
        for each in theirs:
            if (project, each["name"]) in self._labels:
                self.report.of("labels").there += 1
                continue
            body = {key: each.get(key, "") for key in ("name", "description", "color")}
            body |= {"scope": where["scope"], "project_id": ours.get("project_id", 0)}
            answer = await self._send("labels", each["name"], "POST", "labels", body)
            if answer is not None:
                self._labels[project, each["name"]] = answer.id

    # --- a project

    async def _project(self, project: Mapping[str, Any]) -> None:
        name = project["name"]
        if (await self._ours.get(f"projects/{name}")) is not None:
            self.report.of("projects").there += 1
        elif not await self._make_project(project):
            return
        found = await self._ours.get(f"projects/{name}") or {}
        self._our_id = int(found.get("project_id", 0))
        await self._quota(project)
        await self._members(project)
        await self._label_list(name, scope="p", project_id=project["project_id"])
        await self._rules(project)
        await self._robots.carry(self._prefixes, project, self._our_id)
        if (project.get("cve_allowlist") or {}).get("items"):
            self.report.left("CVE allowlists", name, "enter it here")
        if self._artifacts and self._our_id:
            await self._repositories(name)

    async def _make_project(self, project: Mapping[str, Any]) -> bool:
        metadata = dict(project.get("metadata") or {})
        metadata.pop("retention_id", None)
        body = {"project_name": project["name"], "metadata": metadata}
        if upstream := project.get("registry_id"):
            body["registry_id"] = self._others.here(int(upstream))
            if body["registry_id"] is None:
                why = "is a proxy cache of a registry that is not here"
                self.report.left("projects", project["name"], why)
                return False
        answer = await self._send("projects", project["name"], "POST", "projects", body)
        return self._dry or answer is not None

    async def _quota(self, project: Mapping[str, Any]) -> None:
        def where(number: int) -> dict[str, Any]:
            return {"reference": "project", "reference_id": number}

        theirs = await self._theirs.get("quotas", **where(project["project_id"])) or []
        wanted = ((theirs[0] if theirs else {}).get("hard") or {}).get("storage", -1)
        ours = (await self._ours.get("quotas", **where(self._our_id)) or []) if self._our_id else []
        if not ours or (ours[0].get("hard") or {}).get("storage", -1) == wanted:
            self.report.of("quotas").there += 1
            return
        body = {"hard": {"storage": wanted}}
        await self._send("quotas", project["name"], "PUT", f"quotas/{ours[0]['id']}", body)

    async def _members(self, project: Mapping[str, Any]) -> None:
        path = f"projects/{project['name']}/members"
        known = set()
        if self._our_id:
            known = {(m["entity_type"], m["entity_name"]) async for m in self._ours.every(path)}
        groups = {g["id"]: g async for g in self._theirs.every("usergroups")}
        async for member in self._theirs.every(path):
            name = member["entity_name"]
            if (member["entity_type"], name) in known:
                self.report.of("members").there += 1
                continue
            body: dict[str, Any] = {"role_id": member["role_id"]}
            if member["entity_type"] == "g":
                group = groups.get(member["entity_id"], {})
                body["member_group"] = {
                    "group_name": name,
                    "group_type": group.get("group_type", 0),
                    "ldap_group_dn": group.get("ldap_group_dn", ""),
                }
            else:
                body["member_user"] = {"username": name}
            await self._send("members", f"{project['name']}: {name}", "POST", path, body)

    async def _rules(self, project: Mapping[str, Any]) -> None:
        name = project["name"]
        path = f"projects/{name}/immutabletagrules"
        async for rule in self._theirs.every(path):
            body = {k: v for k, v in rule.items() if k not in ("id", "project_id")}
            await self._send("immutable tag rules", name, "POST", path, body)
        await self._retention(project)
        await self._webhooks(name)

    async def _retention(self, project: Mapping[str, Any]) -> None:
        name, kind = project["name"], "retention policies"
        there = (project.get("metadata") or {}).get("retention_id")
        policy = await self._theirs.get(f"retentions/{there}") if there else None
        if policy is None:
            return
        body = {key: value for key, value in policy.items() if key != "id"}
        body["scope"] = {"level": "project", "ref": self._our_id}
        known = await self._ours.get(f"projects/{name}/metadatas/retention_id") or {}
        here = known.get("retention_id")
        if not here:
            await self._send(kind, name, "POST", "retentions", body)
            return
        ours = await self._ours.get(f"retentions/{here}") if project.get("registry_id") else None
        if ours is None or _kept(ours) != _OF_PROXIES or _kept(policy) == _OF_PROXIES:
            self.report.of(kind).there += 1
        else:  # a proxy cache begins with a policy that nobody chose
            await self._send(kind, name, "PUT", f"retentions/{here}", {**body, "id": ours["id"]})

    async def _webhooks(self, project: str) -> None:
        path = f"projects/{project}/webhook/policies"
        known = set()
        if self._our_id:
            known = {each["name"] async for each in self._ours.every(path)}
        keep = ("name", "description", "targets", "event_types", "enabled")
        async for policy in self._theirs.every(path):
            shown = f"{project}: {policy['name']}"
            if policy["name"] in known:
                self.report.of("webhook policies").there += 1
                continue
            body = {key: policy[key] for key in keep if key in policy}
            await self._send("webhook policies", shown, "POST", path, body)

    # --- artifacts that are here already

    async def _repositories(self, project: str) -> None:
        async for repository in self._theirs.every(f"projects/{project}/repositories"):
            name = repository["name"].removeprefix(f"{project}/")
            path = f"projects/{project}/repositories/{named(name)}"
            if description := repository.get("description"):
                body = {"description": description}
                await self._send("descriptions", repository["name"], "PUT", path, body)
            query = {"with_tag": "true", "with_label": "true"}
            async for artifact in self._theirs.every(f"{path}/artifacts", **query, q="base=*"):
                await self._artifact(project, repository["name"], path, artifact)

    async def _artifact(
        self, project: str, repository: str, path: str, artifact: Mapping[str, Any]
    ) -> None:
        digest = artifact["digest"]
        tags, labels = artifact.get("tags") or [], artifact.get("labels") or []
        if not tags and not labels:
            return
        here = f"{path}/artifacts/{digest}"
        found = await self._ours.get(here, with_tag="true", with_label="true")
        if found is None:
            self.report.left("artifacts", f"{repository}@{digest}", "its bytes are not here yet")
            return
        known = {tag["name"] for tag in found.get("tags") or []}
        for tag in tags:
            if tag["name"] in known:
                self.report.of("tags").there += 1
            else:
                shown = f"{repository}:{tag['name']}"
                await self._send("tags", shown, "POST", f"{here}/tags", {"name": tag["name"]})
        held = {label["name"] for label in found.get("labels") or []}
        for label in labels:
            scope = "" if label.get("scope") == "g" else project
            number = self._labels.get((scope, label["name"]))
            if label["name"] in held or number is None:
                self.report.of("labels of artifacts").there += 1
                continue
            body = {"id": number}
            await self._send("labels of artifacts", label["name"], "POST", f"{here}/labels", body)


def _is_item(item: Any) -> bool:
    return isinstance(item, Mapping) and "value" in item


def _kept(policy: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """What the rules of a retention policy keep."""
    return [(rule.get("template"), rule.get("params")) for rule in policy.get("rules") or []]


def _group(group: Mapping[str, Any]) -> tuple[Any, str]:
    return group.get("group_type"), str(group.get("ldap_group_dn") or group["group_name"]).lower()


def _password() -> str:
    letters = string.ascii_letters + string.digits
    return "Aa1" + "".join(secrets.choice(letters) for _ in range(24))
