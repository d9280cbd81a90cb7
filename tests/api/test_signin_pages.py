"""Signing in with a browser: sessions, and requests that other sites forge."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from sqlalchemy import func, select
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.support.accounts import PASSWORD, Replica, in_system

from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.db.engine import Database
from moorage.settings import Fixed
from moorage.signin.pages import SigninPages
from moorage.web.csrf import CsrfGuard, cookies

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
TOKEN = "X-Harbor-CSRF-Token"


class Site:
    """The pages of sign-in, and an API that says who calls."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.settings = Fixed(Configuration(self_registration=True))
        self.app = self._app()
        self.client = self.browser()

    def _app(self, *, secure: bool = False) -> Starlette:
        replica = self.replica
        pages = SigninPages(
            replica.callers, replica.sessions, replica.users, self.settings, secure=secure
        )
        api = FastAPI()

        @api.api_route("/{path:path}", methods=["GET", "POST"])
        async def who(request: Request) -> str:
            secret = cookies(request.scope).get("sid", "")
            return (await replica.callers.resume(secret)).principal.name or "anonymous"

        routes = [
            Mount("/c", app=_unmounted(pages, secure=secure)),
            Mount("/", app=CsrfGuard(api, key=KEY, secure=secure)),
        ]
        return Starlette(routes=routes)

    def browser(self, *, secure: bool = False) -> httpx2.AsyncClient:
        """A client with cookies of its own."""
        transport = httpx2.ASGITransport(app=self._app(secure=secure))
        return httpx2.AsyncClient(transport=transport, base_url="https://registry.example")

    async def token(self) -> str:
        """The token that a browser gets before it signs in."""
        answer = await self.client.get("/api/v2.0/systeminfo")
        return str(answer.headers[TOKEN])

    async def login(self, password: str = PASSWORD, **headers: str) -> httpx2.Response:
        """Sign in as alice."""
        return await self.client.post(
            "/c/login",
            data={"principal": "alice", "password": password},
            headers={TOKEN: await self.token(), **headers},
        )

    async def who(self) -> str:
        """Who the session says that it is."""
        answer = await self.client.get("/api/v2.0/users/current")
        return str(answer.json())


def _unmounted(pages: SigninPages, *, secure: bool) -> Any:
    """The guard and the pages see whole paths, as they do in a process."""
    guard = CsrfGuard(pages, key=KEY, secure=secure)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await guard({**scope, "root_path": ""}, receive, send)

    return app


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    """Alice has an account."""
    replica = Replica(database)
    await replica.user("alice")
    found = Site(replica)
    yield found
    await found.client.aclose()
    await replica.close()


async def test_a_browser_signs_in_and_out(site: Site) -> None:
    """The cookie is out of reach of scripts and of other sites."""
    assert await site.who() == "anonymous"
    answer = await site.login()
    assert answer.status_code == 200
    text = answer.headers["set-cookie"]
    assert text.startswith("sid=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(text.split("; "))
    assert await site.who() == "alice"
    kept = site.client.cookies["sid"]
    async with site.replica.db.read() as tx:
        assert kept not in (await tx.execute(select(tables.sessions.c.digest))).scalars().all()
    assert (await site.client.get("/c/log_out")).status_code == 200
    assert "sid" not in site.client.cookies
    site.client.cookies.set("sid", kept)
    assert await site.who() == "anonymous", "the session is over, not only its cookie"


async def test_wrong_passwords_open_nothing(site: Site) -> None:
    """No browser asks for a password by itself: there is no challenge."""
    answer = await site.login("wrong")
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers
    assert "set-cookie" not in answer.headers or "sid=" not in answer.headers["set-cookie"]
    for fields in ({}, {"principal": "alice"}, {"principal": ["alice", "bob"], "password": "x"}):
        headers = {TOKEN: await site.token()}
        answer = await site.client.post("/c/login", data=fields, headers=headers)
        assert answer.status_code in (400, 401)


async def test_every_sign_in_begins_another_session(site: Site) -> None:
    """An id that somebody planted before is none of it, and the former one ends."""
    site.client.cookies.set("sid", "planted", domain="registry.example")
    await site.login()
    first = site.client.cookies["sid"]
    assert first != "planted"
    await site.login()
    assert site.client.cookies["sid"] != first
    async with site.replica.db.read() as tx:
        query = select(func.count()).select_from(tables.sessions)
        assert (await tx.execute(query)).scalar_one() == 1


async def test_a_forged_request_is_refused(site: Site) -> None:
    """A session's POST needs the token of the browser's own cookie; reads and others do not.

    GO-2022-0876.
    """
    fields = {"principal": "alice", "password": PASSWORD}
    assert (await site.client.post("/c/login", data=fields)).status_code == 403
    await site.login()
    token = await site.token()
    assert (await site.client.post("/api/v2.0/projects")).status_code == 403
    for wrong in ("", "x", token[:-2] + "==", token.swapcase()):
        refused = await site.client.post("/api/v2.0/projects", headers={TOKEN: wrong})
        assert refused.status_code == 403, wrong
        assert refused.json()["errors"][0]["code"] == "FORBIDDEN"
    passed = await site.client.post("/api/v2.0/projects", headers={TOKEN: token})
    assert passed.status_code == 200
    async with site.browser() as other:
        assert (await other.post("/api/v2.0/projects")).status_code == 200, "no session: exempt"
        foreign = (await other.get("/api/v2.0/systeminfo")).headers[TOKEN]
    refused = await site.client.post("/api/v2.0/projects", headers={TOKEN: foreign})
    assert refused.status_code == 403, "the token of another browser"


async def test_a_neighbour_below_the_same_domain_is_another_site(site: Site) -> None:
    """It may plant a cookie whose token it knows, and the session's cookie comes along."""
    await site.login()
    headers = {TOKEN: await site.token()}
    for where, allowed in (("same-origin", True), ("same-site", False), ("cross-site", False)):
        said = {**headers, "Sec-Fetch-Site": where}
        answer = await site.client.post("/api/v2.0/projects", headers=said)
        assert (answer.status_code == 200) is allowed, where
        for path in ("/c/log_out", "/c/oidc/logout"):
            if not allowed:
                assert (await site.client.get(path, headers=said)).status_code == 403
        assert await site.who() == "alice"
        read = await site.client.get("/api/v2.0/projects", headers=said)
        assert read.status_code == 200, "a link from elsewhere shows what it leads to"
    assert (await site.client.get("/c/log_out", headers=headers)).status_code == 200


async def test_only_https_carries_the_cookies_where_there_is_https(site: Site) -> None:
    """Both of them."""
    async with site.browser(secure=True) as client:
        first = await client.get("/api/v2.0/systeminfo")
        assert "Secure" in first.headers["set-cookie"].split("; ")
        fields = {"principal": "alice", "password": PASSWORD}
        headers = {TOKEN: first.headers[TOKEN]}
        answer = await client.post("/c/login", data=fields, headers=headers)
        assert "Secure" in answer.headers["set-cookie"].split("; ")


async def test_a_new_password_ends_the_sessions(site: Site) -> None:
    """On every replica at once."""
    await site.login()
    alice = await site.replica.users.by_name("alice")
    actor = (await site.replica.callers.check("alice", PASSWORD, "")).principal  # type: ignore[union-attr]
    await site.replica.users.change_password(actor, alice.id, "Another-Pa55word", old=PASSWORD)
    assert await site.who() == "anonymous"


async def test_a_session_ends_after_a_rest(site: Site) -> None:
    """Requests renew it, polling does not; what ended is deleted."""
    sessions, clock = site.replica.sessions, site.replica.clock
    await site.login()
    secret = site.client.cookies["sid"]
    async with site.replica.db.read() as tx:
        first = (await tx.execute(select(tables.sessions.c.expires_at))).scalar_one()
    clock.advance(120)
    assert await sessions.find(secret, renew=False) is not None
    async with site.replica.db.read() as tx:
        assert (await tx.execute(select(tables.sessions.c.expires_at))).scalar_one() == first
    assert await sessions.find(secret) is not None
    async with site.replica.db.read() as tx:
        assert (await tx.execute(select(tables.sessions.c.expires_at))).scalar_one() > first
    clock.advance(3600)
    assert await sessions.find(secret) is None
    async with site.replica.db.write() as tx:
        past = first.replace(year=2000)
        await tx.execute(tables.sessions.update().values(expires_at=past))
    assert await sessions.tidy() == 1
    assert await sessions.tidy() == 0


async def test_robot_accounts_have_no_sessions(site: Site) -> None:
    """They are for machines, which send their secret each time."""
    replica = site.replica
    root = await replica.user("root", sysadmin=True)
    rights = [in_system("catalog:read")]
    made = await replica.robots.create(root, name="ci", level="system", permissions=rights)
    fields = {"principal": made.robot.name, "password": made.secret}
    headers = {TOKEN: await site.token()}
    answer = await site.client.post("/c/login", data=fields, headers=headers)
    assert answer.status_code == 401


async def test_a_taken_name_is_told_where_people_sign_up(site: Site) -> None:
    """Elsewhere only to an administrator: names are nobody's business."""
    headers = {TOKEN: await site.token()}

    async def ask(**fields: str) -> httpx2.Response:
        return await site.client.post("/c/userExists", data=fields, headers=headers)

    assert (await ask(target="username", value="alice")).json() is True
    assert (await ask(target="username", value="bob")).json() is False
    assert (await ask(target="email", value="a@b.org")).json() is False
    assert (await ask(target="password", value="x")).status_code == 400
    site.settings = Fixed()
    async with site.browser() as client:
        token = (await client.get("/api/v2.0/systeminfo")).headers[TOKEN]
        body = {"target": "username", "value": "alice"}
        answer = await client.post("/c/userExists", data=body, headers={TOKEN: token})
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/c/login", 405),
        ("POST", "/c/log_out", 405),
        ("GET", "/c/nothing", 404),
        ("GET", "/c/", 404),
    ],
)
async def test_other_pages(site: Site, method: str, path: str, status: int) -> None:
    """An error in the common form."""
    answer = await site.client.request(method, path, headers={TOKEN: await site.token()})
    assert answer.status_code == status
    assert answer.json()["errors"]


async def test_cookies_of_others_do_not_end_a_session(site: Site) -> None:
    """Whatever another application on the same host has set."""
    await site.login()
    secret = site.client.cookies["sid"]
    for other in ("a[b]=1", "x:y=2", "{}", "a=b=c", "ü=ü"):
        async with site.browser() as client:
            text = f"{other}; sid={secret}".encode()
            answer = await client.get("/api/v2.0/x", headers=[(b"cookie", text)])
            assert answer.json() == "alice", other


async def test_cookies_that_are_none(site: Site) -> None:
    """Whatever is sent, nobody is anybody."""
    for text in ("sid", "sid=", "sid=\x7f", "=;=;", "sid=" + "x" * 8000, 'sid="', "sid=a; sid=b"):
        async with site.browser() as client:
            answer = await client.get("/api/v2.0/x", headers={"cookie": text})
            assert answer.json() == "anonymous"
