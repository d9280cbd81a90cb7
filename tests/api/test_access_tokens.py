"""Personal access tokens: what they open, what they leave, and how they end."""

import dataclasses
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import select
from tests.api.world import World
from tests.support.accounts import PASSWORD, SERVICE, Replica, in_project
from tests.support.clocks import TurnedClock

from moorage.access.personal import PREFIX, new_token
from moorage.access.principals import Principal
from moorage.access.roles import (
    DEVELOPER,
    GUEST,
    LIMITED_GUEST,
    PROJECT_ADMIN,
    PROJECT_PAIRS,
    ROLE_PAIRS,
)
from moorage.api.app import create_api
from moorage.db import tables
from moorage.db.types import from_now
from moorage.signin.pages import SigninPages
from moorage.signin.token import TokenService

pytestmark = pytest.mark.anyio

TOKENS = "/users/current/tokens"
PULL = {"resource": "repository", "action": "pull"}
LIST = {"resource": "repository", "action": "list"}
READ = {"resource": "project", "action": "read"}


def leaving(project: str, *access: dict[str, str]) -> list[dict[str, Any]]:
    """The permissions of a token: these pairs in one project."""
    return [{"kind": "project", "namespace": project, "access": list(access)}]


class Site:
    """The API and `/service/token` with real credentials; nia is a developer of `team`."""

    def __init__(self, world: World) -> None:
        self.world = world
        db = world.content.db
        self.replica = Replica(db, TurnedClock(), single=False)
        self.other = Replica(db, self.replica.clock, single=False)
        self.app = self._api(self.replica)
        self.elsewhere = self._api(self.other)

    def _api(self, replica: Replica) -> Any:
        services = self.world.services
        return create_api(
            dataclasses.replace(
                services,
                callers=replica.callers,
                access_tokens=replica.access_tokens,
                users=replica.users,
            )
        )

    async def call(
        self,
        credentials: Any,
        method: str,
        path: str,
        json: Any = None,
        *,
        elsewhere: bool = False,
    ) -> httpx2.Response:
        """A request with a name and a secret, or with a Bearer token."""
        transport = httpx2.ASGITransport(app=self.elsewhere if elsewhere else self.app)
        bearer = isinstance(credentials, str)
        headers = {"Authorization": f"Bearer {credentials}"} if bearer else {}
        auth = None if bearer else credentials
        async with httpx2.AsyncClient(transport=transport, auth=auth, headers=headers) as client:
            return await client.request(method, f"http://test/api/v2.0{path}", json=json)

    async def status(self, credentials: Any, path: str, **more: Any) -> int:
        """The status of a read."""
        return (await self.call(credentials, "GET", path, **more)).status_code

    async def token(self, name: str = "laptop", who: str = "nia", **body: Any) -> dict[str, Any]:
        """A fresh token of somebody."""
        made = await self.call((who, PASSWORD), "POST", TOKENS, {"name": name, **body})
        assert made.status_code == 201, made.text
        found = made.json()
        assert isinstance(found, dict)
        return found

    async def sign_in(self, account: str, secret: str, scope: str) -> httpx2.Response:
        """What `docker login` and `docker pull` ask for."""
        service = TokenService(self.replica.callers, self.replica.tokens, service=SERVICE)
        transport = httpx2.ASGITransport(app=service)
        async with httpx2.AsyncClient(transport=transport, auth=(account, secret)) as client:
            query = {"service": SERVICE, "scope": scope} if scope else {"service": SERVICE}
            return await client.get("http://test/service/token", params=query)

    async def actions(self, account: str, secret: str, repository: str) -> frozenset[str]:
        """What the token of the registry allows."""
        answer = await self.sign_in(account, secret, f"repository:{repository}:pull,push,delete")
        assert answer.status_code == 200, answer.text
        verified = self.replica.tokens.verify(answer.json()["token"])
        return verified.access[repository].actions


@pytest.fixture
async def site(world: World) -> AsyncIterator[Site]:
    """With nia, a developer of `team`, and boss, a system administrator."""
    made = Site(world)
    root = world.people["sysadmin"]
    await made.replica.keys.start()
    nia = await made.replica.users.create(root, "nia", PASSWORD)
    await made.replica.users.create(root, "boss", PASSWORD, sysadmin=True)
    await made.replica.members.add(root, world.projects["team"], DEVELOPER, user_id=nia)
    yield made
    await made.replica.close()
    await made.other.close()


async def test_a_token_opens_what_its_user_may(site: Site) -> None:
    """By Basic with the user's name, and by Bearer; on every replica."""
    made = await site.token()
    assert made["secret"].startswith(PREFIX)
    for credentials in (("nia", made["secret"]), made["secret"]):
        for elsewhere in (False, True):
            assert await site.status(credentials, "/projects/team", elsewhere=elsewhere) == 200
            assert await site.status(credentials, "/projects/other", elsewhere=elsewhere) == 403
    me = await site.call(made["secret"], "GET", "/users/current")
    assert me.json()["username"] == "nia"
    assert await site.actions("nia", made["secret"], "team/app") == {"pull", "push"}


async def test_a_token_needs_the_name_of_its_user(site: Site) -> None:
    """Another name with it is a wrong password."""
    made = await site.token()
    assert await site.status(("boss", made["secret"]), "/users/current") == 401
    answer = await site.sign_in("boss", made["secret"], "")
    assert answer.status_code == 401


async def test_what_only_looks_like_a_token_opens_nothing(site: Site) -> None:
    """Nor does it count as a guess at somebody's password."""
    wrong = [new_token(), new_token()[:-1] + "é", PREFIX, PREFIX + "x" * 42, PREFIX + "\ud800"]
    for secret in wrong * 4:
        assert await site.replica.callers.check("nia", secret, "10.0.0.1") is None
    assert await site.replica.callers.check("nia", PASSWORD, "10.0.0.1") is not None


async def test_a_token_leaves_only_what_it_names(site: Site) -> None:
    """In one project, and in none of the user's others; what is public stays so."""
    await site.world.content.push_image("team/app", "v1")
    secret = (await site.token(permissions=leaving("team", PULL, LIST)))["secret"]
    assert await site.status(secret, "/projects/team/repositories") == 200
    assert await site.status(secret, "/projects/team/members") == 403
    pulling = (await site.token("pulling", permissions=leaving("team", PULL)))["secret"]
    for each, names in ((secret, ["team/app"]), (pulling, [])):
        listed = (await site.call(each, "GET", "/repositories")).json()
        assert [item["name"] for item in listed] == names
    assert await site.status(secret, "/projects/open") == 200
    assert await site.actions("nia", secret, "team/app") == {"pull"}
    listed = (await site.call(secret, "GET", "/projects")).json()
    assert {item["name"] for item in listed} == {"team", "open"}
    elsewhere = (await site.token("b", permissions=leaving("open", PULL)))["secret"]
    listed = (await site.call(elsewhere, "GET", "/projects")).json()
    assert {item["name"] for item in listed} == {"open"}
    assert await site.status(elsewhere, "/projects/team") == 403


async def test_a_token_of_an_administrator_leaves_only_what_it_names(site: Site) -> None:
    """Nothing of the system, and nothing of other projects."""
    permissions = leaving("team", PULL, READ)
    secret = (await site.token(who="boss", permissions=permissions))["secret"]
    assert await site.status(secret, "/projects/team") == 200
    assert await site.status(secret, "/projects/other") == 403
    for path in ("/users", "/configurations", "/quotas", "/robots", "/projects/team/members"):
        assert await site.status(secret, path) == 403, path
    assert await site.actions("boss", secret, "team/app") == {"pull"}
    assert await site.actions("boss", secret, "other/app") == frozenset()
    body = {"name": "x", "level": "project", "permissions": leaving("team", PULL)}
    assert (await site.call(secret, "POST", "/robots", body)).status_code == 403
    made = await site.call(secret, "POST", "/projects", {"project_name": "fresh"})
    assert made.status_code == 403
    whole = (await site.token("all", who="boss"))["secret"]
    assert await site.status(whole, "/users") == 200


async def test_a_token_gives_no_role_that_has_more_than_it_leaves(site: Site) -> None:
    """Else another account would hold for good what the token was meant to keep back."""
    members = "/projects/open/members"
    managing = [{"resource": "member", "action": each} for each in ("create", "update", "list")]
    guests = [
        {"resource": resource, "action": action}
        for resource, action in sorted(ROLE_PAIRS[GUEST] & PROJECT_PAIRS)
    ]
    few = (await site.token("few", who="boss", permissions=leaving("open", *managing)))["secret"]
    enough = leaving("open", *managing, *guests)
    more = (await site.token("more", who="boss", permissions=enough))["secret"]
    nia = {"member_user": {"username": "nia"}}
    for secret, role, status in (
        (few, GUEST, 403),
        (few, PROJECT_ADMIN, 403),
        (more, DEVELOPER, 403),
        (more, GUEST, 201),
    ):
        answer = await site.call(secret, "POST", members, {"role_id": role, **nia})
        assert answer.status_code == status, (role, answer.text)
    (_, member) = (await site.call(("boss", PASSWORD), "GET", members)).json()
    one = f"{members}/{member['id']}"
    for secret, role, status in ((more, PROJECT_ADMIN, 403), (more, LIMITED_GUEST, 200)):
        answer = await site.call(secret, "PUT", one, {"role_id": role})
        assert answer.status_code == status, (role, answer.text)
    whole = (await site.token("whole", who="boss"))["secret"]
    answer = await site.call(whole, "PUT", one, {"role_id": PROJECT_ADMIN})
    assert answer.status_code == 200, "a token that leaves everything is as good as the password"


async def test_a_token_may_name_every_project(site: Site) -> None:
    """Then it leaves the pairs wherever the user holds them, also later."""
    secret = (await site.token(permissions=leaving("*", READ)))["secret"]
    assert await site.status(secret, "/projects/team") == 200
    assert await site.status(secret, "/projects/other") == 403
    root, world = site.world.people["sysadmin"], site.world
    await world.services.members.add(root, world.projects["other"], DEVELOPER, username="nia")
    assert await site.status(secret, "/projects/other") == 200


async def test_a_token_makes_and_changes_no_robot_account(site: Site) -> None:
    """Its secret would outlive the token; with the password the same goes."""
    secret = (await site.token(who="boss"))["secret"]
    password = ("boss", PASSWORD)
    body = {"name": "x", "level": "project", "duration": 1, "permissions": leaving("team", PULL)}
    rule = {
        "name": "main",
        "issuer": "https://issuer.example",
        "audience": "x",
        "claims": [{"claim": "sub", "pattern": "x"}],
    }
    assert (await site.call(secret, "POST", "/robots", body)).status_code == 403
    robot = (await site.call(password, "POST", "/robots", body)).headers["location"]
    path = "/robots/" + robot.rpartition("/")[2]
    rules = f"{path}/federation-rules"
    requests: list[tuple[str, str, Any]] = [
        ("PUT", path, {"duration": -1}),
        ("PATCH", path, {}),
        ("POST", rules, rule),
    ]
    for method, where, sent in requests:
        refused = await site.call(secret, method, where, sent)
        assert refused.status_code == 403, where
        assert "a token or CLI secret cannot do this" in refused.text
        assert (await site.call(password, method, where, sent)).is_success, where
    found = (await site.call(secret, "GET", rules)).json()[0]["id"]
    for credentials, status in ((secret, 403), (password, 200)):
        changed = await site.call(credentials, "PUT", f"{rules}/{found}", rule)
        assert changed.status_code == status
    assert (await site.call(secret, "DELETE", path)).status_code == 200


@pytest.mark.parametrize(
    "changes", [{"auth_mode": "db_auth"}, {"ldap_url": "ldaps://x"}, {"oidc_admin_group": "x"}]
)
async def test_a_token_does_not_change_who_signs_in(site: Site, changes: dict[str, str]) -> None:
    """Other settings it may, and the same values again are no change."""
    world, boss = site.world, ("boss", PASSWORD)
    await world.configurations.change(
        world.people["sysadmin"],
        {"ldap_url": "ldap://a", "ldap_base_dn": "dc=a", "auth_mode": "ldap_auth"},
    )
    secret = (await site.token(who="boss"))["secret"]
    before = await world.configurations.current()
    refused = await site.call(secret, "PUT", "/configurations", changes)
    assert refused.status_code == 403, refused.text
    assert await world.configurations.current() == before
    same = {name: getattr(before, name) for name in changes}
    other = await site.call(secret, "PUT", "/configurations", {**same, "banner_message": "hi"})
    assert other.status_code == 200, other.text
    assert (await site.call(boss, "PUT", "/configurations", changes)).status_code == 200


async def test_a_token_of_the_registry_ends_with_the_access_token(site: Site) -> None:
    """It never lives longer; one for ever gets the usual time."""
    secret = (await site.token())["secret"]
    scope = "repository:team/app:pull"
    assert (await site.sign_in("nia", secret, scope)).json()["expires_in"] == 1800
    async with site.world.content.db.write() as tx:
        await tx.execute(tables.access_tokens.update().values(expires_at=from_now(600)))
    found = (await site.sign_in("nia", secret, scope)).json()["expires_in"]
    assert 500 <= found <= 1200  # the database's clock runs on while the replica's stands still


async def from_provider(site: Site, name: str) -> Principal:
    """A user whom OpenID Connect signs in: without a password."""
    async with site.world.content.db.write() as tx:
        made = tables.users.insert().values(username=name, sysadmin=True)
        user_id = (await tx.execute(made.returning(tables.users.c.id))).scalar_one()
        row = {"user_id": user_id, "kind": "oidc", "issuer": "https://x", "subject": name}
        await tx.execute(tables.identities.insert().values(row))
    return Principal("user", user_id, name, sysadmin=True)


async def test_the_cli_secret_changes_no_credentials(site: Site) -> None:
    """It lies about on machines: a thief shall not make more of it, as with a token."""
    kim = await from_provider(site, "kim")
    secret = await site.replica.users.set_cli_secret(kim, kim.id, None)
    credentials = ("kim", secret)
    assert await site.status(credentials, "/users") == 200
    for method, path, body in (
        ("PUT", f"/users/{kim.id}/cli_secret", {}),
        ("POST", TOKENS, {"name": "y"}),
        ("POST", "/robots", {}),
        ("PUT", "/configurations", {"oidc_admin_group": "x"}),
    ):
        refused = await site.call(credentials, method, path, body)
        assert refused.status_code == 403, path
        assert "CLI secret cannot" in refused.text


async def test_a_new_cli_secret_ends_what_was_issued_for_the_old_one(site: Site) -> None:
    """On every replica; what is issued for the new one is fine."""
    kim = await from_provider(site, "kim")
    users, replicas = site.replica.users, (site.replica, site.other)

    async def alive(header: bytes) -> list[bool]:
        found = [(each, await each.callers.identify(header, "")) for each in replicas]
        return [await each.callers.current(caller) is not None for each, caller in found]

    async def signed_in(secret: str) -> bytes:
        answer = await site.sign_in("kim", secret, "repository:open/app:pull")
        return f"Bearer {answer.json()['token']}".encode()

    await site.other.keys.start()
    old = await signed_in(await users.set_cli_secret(kim, kim.id, None))
    assert await alive(old) == [True, True]
    new = await signed_in(await users.set_cli_secret(kim, kim.id, None))
    assert await alive(old) == [False, False]
    assert await alive(new) == [True, True]


async def test_rights_that_the_user_loses_are_lost_to_the_token(site: Site) -> None:
    """It never holds more than the user at the moment."""
    secret = (await site.token(permissions=leaving("team", READ, PULL)))["secret"]
    assert await site.status(secret, "/projects/team") == 200
    members = site.world.services.members
    async with site.world.content.db.read() as tx:
        query = select(tables.project_members.c.id).join(
            tables.users, tables.users.c.id == tables.project_members.c.user_id
        )
        mid = (await tx.execute(query.where(tables.users.c.username == "nia"))).scalar_one()
    await members.remove(site.world.people["sysadmin"], site.world.projects["team"], mid)
    assert await site.status(secret, "/projects/team") == 403


async def test_a_token_changes_no_credentials(site: Site) -> None:
    """Neither passwords, nor tokens, nor who administers; nor does it open a session."""
    secret = (await site.token(who="boss"))["secret"]
    boss = (await site.call(secret, "GET", "/users/current")).json()["user_id"]
    nia = await site.replica.users.by_name("nia")
    new = {"new_password": "Another1horse", "old_password": PASSWORD}
    for method, path, body in (
        ("POST", TOKENS, {"name": "y"}),
        ("GET", TOKENS, None),
        ("GET", f"/users/{nia.id}/tokens", None),
        ("PUT", f"/users/{boss}/password", new),
        ("PUT", f"/users/{nia.id}/password", new),
        ("PUT", f"/users/{nia.id}/sysadmin", {"sysadmin_flag": True}),
        ("PUT", f"/users/{nia.id}/cli_secret", {}),
    ):
        answer = await site.call(secret, method, path, body)
        assert answer.status_code == 403, (method, path)
        assert "sign in with a name and a password" in answer.text
    pages = SigninPages(
        site.replica.callers,
        site.replica.sessions,
        site.replica.users,
        site.world.configurations,
        secure=True,
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=pages)) as client:
        form = {"principal": "boss", "password": secret}
        assert (await client.post("http://test/c/login", data=form)).status_code == 401
        form["password"] = PASSWORD
        assert (await client.post("http://test/c/login", data=form)).status_code == 200


@pytest.mark.parametrize("who", ["nia", "boss"])
async def test_an_ended_token_is_refused_at_once_on_every_replica(site: Site, who: str) -> None:
    """By its owner or by an administrator; also writes with what was got for it."""
    made = await site.token()
    secret = made["secret"]
    scope = "repository:team/app:pull,push"
    issued = (await site.sign_in("nia", secret, scope)).json()["token"]
    caller = await site.replica.callers.identify(f"Bearer {issued}".encode(), "")
    assert await site.replica.callers.still_may(caller, "team/app", "push")
    assert await site.status(secret, "/projects/team", elsewhere=True) == 200
    nia = await site.replica.users.by_name("nia")
    path = f"{TOKENS}/{made['id']}" if who == "nia" else f"/users/{nia.id}/tokens/{made['id']}"
    assert (await site.call((who, PASSWORD), "DELETE", path)).status_code == 200
    for elsewhere in (False, True):
        assert await site.status(secret, "/projects/team", elsewhere=elsewhere) == 401
    assert (await site.sign_in("nia", secret, "")).status_code == 401
    assert not await site.replica.callers.still_may(caller, "team/app", "push")
    assert (await site.call((who, PASSWORD), "DELETE", path)).status_code == 404


async def test_a_token_ends_by_itself(site: Site) -> None:
    """After the days that it was made for; -1 never."""
    made = await site.token(duration=1)
    forever = await site.token("forever", duration=-1)
    assert forever["expires_at"] == -1
    assert await site.status(made["secret"], "/projects/team") == 200
    site.replica.clock.advance(86400 + 3600)
    assert await site.status(made["secret"], "/projects/team") == 401
    assert await site.status(forever["secret"], "/projects/team") == 200
    listed = (await site.call(("nia", PASSWORD), "GET", TOKENS)).json()
    assert [item["name"] for item in listed] == ["forever", "laptop"]


async def test_nobody_reaches_the_tokens_of_others(site: Site) -> None:
    """Not those of another user, not by an id in one's own list."""
    made = await site.token(who="boss")
    boss = await site.replica.users.by_name("boss")
    theirs = f"/users/{boss.id}/tokens"
    nia = ("nia", PASSWORD)
    assert await site.status(nia, theirs) == 403
    assert (await site.call(nia, "DELETE", f"{theirs}/{made['id']}")).status_code == 403
    assert (await site.call(nia, "DELETE", f"{TOKENS}/{made['id']}")).status_code == 404
    assert await site.status(made["secret"], "/users") == 200


async def test_a_deleted_user_takes_the_tokens_along(site: Site) -> None:
    """At once; a password that was changed does not end them."""
    secret = (await site.token())["secret"]
    nia = await site.replica.users.by_name("nia")
    boss = site.world.people["sysadmin"]
    await site.replica.users.change_password(boss, nia.id, "Another1horse")
    assert await site.status(secret, "/projects/team") == 200
    await site.replica.users.delete(boss, nia.id)
    assert await site.status(secret, "/projects/team") == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": "x" * 256}, 400),
        ({"name": "a\nb"}, 400),
        ({"name": "x", "duration": 0}, 400),
        ({"name": "x", "duration": 10**6}, 400),
        ({"name": "x", "permissions": []}, 400),
        ({"name": "x", "permissions": leaving("team")}, 400),
        ({"name": "x", "permissions": leaving("team", {"resource": "no", "action": "x"})}, 400),
        ({"name": "x", "permissions": leaving("other", PULL)}, 403),
        ({"name": "x", "permissions": leaving("nowhere", PULL)}, 403),
        (
            {
                "name": "x",
                "permissions": [
                    {
                        "kind": "system",
                        "namespace": "/",
                        "access": [{"resource": "user", "action": "list"}],
                    }
                ],
            },
            400,
        ),
    ],
)
async def test_a_token_that_cannot_be_is_refused(site: Site, body: Any, status: int) -> None:
    """And none is made; a private project answers as one that is not there."""
    answer = await site.call(("nia", PASSWORD), "POST", TOKENS, body)
    assert answer.status_code == status, answer.text
    assert (await site.call(("nia", PASSWORD), "GET", TOKENS)).json() == []


async def test_names_are_of_one_user(site: Site) -> None:
    """Twice the same is a conflict; somebody else may have it too."""
    await site.token("ci")
    again = await site.call(("nia", PASSWORD), "POST", TOKENS, {"name": "ci"})
    assert again.status_code == 409
    await site.token("ci", who="boss")


async def test_robot_accounts_have_no_tokens(site: Site) -> None:
    """They have a secret."""
    await site.world.robot("bot", in_project("team", "repository:pull"))
    answer = await site.world.call("bot", "POST", TOKENS, {"name": "x"})
    assert answer.status_code in (400, 403)


async def test_the_secret_is_nowhere_afterwards(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the database, nor in a list, a fact or a log; but its use is."""
    caplog.set_level(logging.DEBUG)
    permissions = leaving("team", READ)
    made = await site.token(permissions=permissions)
    secret = made["secret"]
    assert await site.status(secret, "/projects/team") == 200
    await site.call(("nia", PASSWORD), "DELETE", f"{TOKENS}/{made['id']}")
    assert await site.status(secret, "/projects/team") == 401
    kept = await site.token("kept", permissions=permissions)
    listed = await site.call(("nia", PASSWORD), "GET", TOKENS)
    assert listed.json()[0]["permissions"] == permissions
    assert listed.json()[0]["last_used"].startswith("0001-")
    assert await site.status(kept["secret"], "/projects/team") == 200
    assert await site.replica.access_tokens.flush() == 1
    assert await site.replica.access_tokens.flush() == 0
    again = (await site.call(("nia", PASSWORD), "GET", TOKENS)).json()[0]
    assert not again["last_used"].startswith("0001-")
    rows = []
    async with site.world.content.db.read() as tx:
        for table in (tables.access_tokens, tables.outbox, tables.audit_log):
            rows += [str(tuple(row)) for row in await tx.execute(select(table))]
    everything = "\n".join([*rows, listed.text, caplog.text])
    assert "laptop" in everything
    assert secret not in everything
    assert kept["secret"] not in everything
