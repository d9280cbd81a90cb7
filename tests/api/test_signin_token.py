"""`/service/token`, as clients call it."""

import json
import logging
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.support.accounts import PASSWORD, SERVICE, Replica, in_project

from moorage import errors
from moorage.access.principals import Principal
from moorage.accounts.attempts import FREE
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.records import Made
from moorage.db.engine import Database
from moorage.errors import MoorageError
from moorage.signin.forms import MAX_FORM
from moorage.signin.problems import render
from moorage.signin.token import PATH, TokenService

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
ALICE = ("alice", PASSWORD)


class Site:
    """The token service over real accounts: `team` is private, `open` public."""

    robot: Made

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        app = TokenService(replica.callers, replica.tokens, service=SERVICE)
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://registry"
        )

    async def fill(self) -> None:
        """Alice is a developer of `team`; the robot account may pull from it."""
        replica = self.replica
        await first_admin(replica.db, replica.passwords, "admin", PASSWORD)
        await replica.keys.start()
        team = await replica.projects.create(ADMIN, "team")
        await replica.projects.create(ADMIN, "open", values={"public": "true"})
        alice = await replica.user("alice")
        await replica.members.add(ADMIN, team, 2, user_id=alice.id)
        self.robot = await replica.robots.create(
            ADMIN, name="ci", level="project", permissions=[in_project("team", "repository:pull")]
        )

    async def get(self, auth: tuple[str, str] | None = None, **params: Any) -> httpx2.Response:
        """GET with the right service unless another is given."""
        query = {"service": SERVICE, **params}
        wanted = {name: value for name, value in query.items() if value is not None}
        return await self.client.get(PATH, params=wanted, auth=auth)

    async def post(self, **fields: str) -> httpx2.Response:
        """POST of a form, as containerd sends it."""
        form = {"service": SERVICE, "grant_type": "password", "client_id": "containerd", **fields}
        return await self.client.post(PATH, data=form)

    def access(self, response: httpx2.Response) -> dict[str, set[str]]:
        """What the token in an answer allows."""
        assert response.status_code == 200, response.text
        verified = self.replica.tokens.verify(response.json()["token"])
        return {name: set(right.actions) for name, right in verified.access.items()}


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    """The service with accounts."""
    site = Site(Replica(database))
    await site.fill()
    yield site
    await site.client.aclose()
    await site.replica.close()


def code(response: httpx2.Response) -> str:
    """The code of an error in OCI's form."""
    return str(response.json()["errors"][0]["code"])


async def test_the_answer(site: Site) -> None:
    """All fields that clients read; nobody may store it."""
    response = await site.get(ALICE, scope="repository:team/app:pull")
    body = response.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] == 1800
    assert body["issued_at"].endswith("Z")
    assert len(body["issued_at"]) == 20
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"


async def test_a_token_holds_all_that_the_caller_may_do(site: Site) -> None:
    """As in Harbor: not only what was asked for, and never more than the role has."""
    scope = "repository:team/app:pull"
    assert site.access(await site.get(ALICE, scope=scope)) == {"team/app": {"pull", "push"}}
    admin = await site.get(("admin", PASSWORD), scope=scope)
    assert site.access(admin) == {"team/app": {"pull", "push", "delete"}}
    asked = "repository:open/app:pull,push,delete,*"
    assert site.access(await site.get(ALICE, scope=asked)) == {"open/app": {"pull"}}


async def test_a_robot_account(site: Site) -> None:
    """By its full name and its secret."""
    auth = (site.robot.robot.name, site.robot.secret)
    response = await site.get(auth, scope="repository:team/app:pull,push")
    assert site.access(response) == {"team/app": {"pull"}}


async def test_several_scopes(site: Site) -> None:
    """Repeated, joined by spaces, or both; what is no scope is left out."""
    response = await site.get(
        ALICE,
        scope=[
            "repository:team/a:pull repository:open/b:pull",
            "repository:team/c:push",
            "registry:catalog:*",
            "nonsense",
            "repository:../../etc:pull",
        ],
    )
    assert site.access(response) == {
        "team/a": {"pull", "push"},
        "open/b": {"pull"},
        "team/c": {"pull", "push"},
    }


async def test_nobody(site: Site) -> None:
    """A scope gets a token that opens what is public; no scope is no sign-in."""
    response = await site.get(scope=["repository:open/app:pull", "repository:team/app:pull"])
    assert site.access(response) == {"open/app": {"pull"}, "team/app": set()}
    refused = await site.get()
    assert (refused.status_code, code(refused)) == (401, "UNAUTHORIZED")


async def test_an_unknown_project_looks_like_a_private_one(site: Site) -> None:
    """200 and no rights for both, also to somebody who is signed in; the token says no more."""
    await site.replica.user("bob")
    for auth in (None, ("bob", PASSWORD)):
        for name in ("missing", "team"):
            answer = await site.get(auth, scope=f"repository:{name}/app:pull,push,delete")
            assert site.access(answer) == {f"{name}/app": set()}
            claims = answer.json()["token"].split(".")[1]
            assert json.loads(urlsafe_b64decode(claims + "=="))["access"] == [
                {"type": "repository", "name": f"{name}/app", "actions": []}
            ]


async def test_signing_in_without_a_scope(site: Site) -> None:
    """`docker login`: a token for the right password, 401 for a wrong one."""
    right = await site.get(ALICE, account="alice", client_id="docker", offline_token="true")
    assert site.access(right) == {}
    for auth in (("alice", "wrong"), ("nobody", PASSWORD), ("alice", "")):
        refused = await site.get(auth, account="alice")
        assert (refused.status_code, code(refused)) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"] == 'Basic realm="harbor"'


async def test_wrong_and_unknown_accounts_get_the_same_answer(site: Site) -> None:
    """Byte for byte, apart from the date."""
    answers = [await site.get(auth) for auth in (("alice", "wrong"), ("nobody", "wrong"))]
    assert answers[0].content == answers[1].content
    assert answers[0].headers == answers[1].headers


async def test_wrong_credentials_with_a_scope_are_nobody(site: Site) -> None:
    """Public projects stay readable with a password that ran out."""
    scope = ["repository:open/app:pull", "repository:team/app:pull"]
    response = await site.get(("alice", "wrong"), scope=scope)
    assert site.access(response) == {"open/app": {"pull"}, "team/app": set()}


async def test_another_service(site: Site) -> None:
    """400, also when it is missing or given twice."""
    for service in (None, "", "another", [SERVICE, SERVICE], SERVICE.upper()):
        response = await site.get(ALICE, service=service)
        assert (response.status_code, code(response)) == (400, "BAD_REQUEST")


async def test_a_token_buys_no_token(site: Site) -> None:
    """Otherwise a deleted account could go on for ever."""
    token = (await site.get(ALICE, scope="repository:team/app:pull")).json()["token"]
    response = await site.client.get(
        PATH, params={"service": SERVICE}, headers={"Authorization": f"Bearer {token}"}
    )
    assert response.status_code == 401


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!!", "Digest a=b", "Basic YQ=="])
async def test_headers_that_are_no_credentials(site: Site, header: str) -> None:
    """401, not an error."""
    response = await site.client.get(
        PATH, params={"service": SERVICE}, headers={"Authorization": header}
    )
    assert response.status_code == 401


async def test_the_password_grant(site: Site) -> None:
    """What containerd and buildkit send first (RFC 6749 section 4.3)."""
    response = await site.post(
        username="alice", password=PASSWORD, scope="repository:team/a:pull repository:open/b:pull"
    )
    assert site.access(response) == {"team/a": {"pull", "push"}, "open/b": {"pull"}}
    assert response.json()["access_token"]
    wrong = await site.post(username="alice", password="wrong", scope="repository:open/b:pull")
    assert wrong.status_code == 401


async def test_other_grants_are_left_to_get(site: Site) -> None:
    """405: clients then ask with GET."""
    for grant in ("refresh_token", "client_credentials", ""):
        response = await site.post(grant_type=grant, refresh_token="x")
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, POST"
    assert (await site.client.put(PATH)).status_code == 405


async def test_forms_that_are_refused(site: Site) -> None:
    """Another type, too long, too many fields, no form at all."""
    as_json = await site.client.post(PATH, json={"service": SERVICE})
    assert as_json.status_code == 400
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body, status in (
        (b"x" * (MAX_FORM + 1), 413),
        (b"&".join(b"a=%d" % n for n in range(1000)), 400),
        (b"service=%ff%fe", 400),
        (b"service=\xff", 400),
        (b"", 400),
    ):
        response = await site.client.post(PATH, content=body, headers=form)
        assert response.status_code == status
        assert code(response)


async def test_hostile_queries(site: Site) -> None:
    """Bad escapes and bytes are the client's fault."""
    for query in ("service=%ff", "service=" + "%00", "&".join(["scope=a"] * 500), "%", ";;;"):
        response = await site.client.get(f"{PATH}?{query}")
        assert response.status_code == 400


@pytest.mark.usefixtures("long_waits")
async def test_too_many_guesses(site: Site) -> None:
    """429 with the time to wait, in OCI's form."""
    for number in range(FREE):
        assert (await site.get(("alice", f"Guess{number}x"))).status_code == 401
    response = await site.get(("alice", "GuessAgain1"))
    assert (response.status_code, code(response)) == (429, "TOOMANYREQUESTS")
    assert int(response.headers["retry-after"]) >= 1


async def test_no_answer_and_no_log_holds_a_secret(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither passwords nor what was typed as one, nor the query."""
    caplog.set_level(logging.DEBUG, logger="moorage")
    answers = [
        await site.get(("alice", "Canary1Secret"), scope="repository:team/app:pull"),
        await site.get(("Canary1Secret", "x")),
        await site.post(username="alice", password="Canary1Secret"),
        await site.get(ALICE, scope="repository:team/app:pull", account="Canary1Secret"),
    ]
    assert "Canary1" not in caplog.text
    assert not any("Canary1" in answer.text for answer in answers)
    assert PASSWORD not in caplog.text


def leaves(kind: type[MoorageError]) -> list[type[MoorageError]]:
    """All classes of errors; what a face makes for itself, it answers itself."""
    own = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(leaf for child in own for leaf in leaves(child))]


@pytest.mark.parametrize("kind", leaves(errors.MoorageError), ids=lambda kind: kind.__name__)
def test_every_failure_has_an_answer(kind: type[MoorageError]) -> None:
    """In OCI's form, with a status of a failure."""
    response = render(kind("text"))
    assert 400 <= response.status_code <= 503
    assert json.loads(bytes(response.body))["errors"][0]["message"] == "text"
