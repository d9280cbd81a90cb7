"""Federation: tokens of GitHub, GitLab and Kubernetes open robot accounts, nothing else does."""

import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey
from sqlalchemy import select
from tests.api.federation import GITHUB, GITLAB, HERE, KUBERNETES, NOT_TAKEN, Site, claim, opened
from tests.api.world import World
from tests.support.accounts import in_system
from tests.support.oidc_server import LyingProvider, new_key

from moorage.access.principals import Principal
from moorage.accounts.federation.claims import MAX_TEXT
from moorage.db import tables
from moorage.db.types import from_now
from moorage.events import RobotLent
from moorage.signin.pages import SigninPages

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(world: World, lying_provider: LyingProvider) -> AsyncIterator[Site]:
    """With a robot account `ci` of `team` that pushes."""
    async with opened(world, lying_provider) as made:
        yield made


@pytest.mark.parametrize(
    ("said", "claims"),
    [
        (GITHUB, [claim("repository", "acme/shop"), claim("ref", "refs/heads/main")]),
        (GITHUB, [claim("repository_id", "4711"), claim("ref_protected", "true")]),
        (GITHUB, [claim("sub", "repo:acme/*:ref:refs/heads/**", "doublestar")]),
        (GITLAB, [claim("project_path", "acme/**", "doublestar"), claim("ref_protected", "true")]),
        (KUBERNETES, [claim("/kubernetes.io/namespace", "build")]),
        (KUBERNETES, [claim("/kubernetes.io/serviceaccount/name", "run(ner)?", "regex")]),
    ],
)
async def test_the_token_of_a_job_opens_the_robot_account(
    site: Site, said: dict[str, Any], claims: list[dict[str, str]]
) -> None:
    """As a password at docker login and for the API, and as a Bearer."""
    made = await site.make(site.robots["ci"], site.rule(*claims))
    assert made.status_code == 201, made.text
    answer = await site.exchange(site.token(said))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    credentials = (body["username"], body["access_token"])
    assert body["username"] == "robot$team+ci"
    assert await site.actions(credentials, "team/app") == {"pull", "push"}
    assert await site.actions(credentials, "other/app") == frozenset()
    for way in (credentials, credentials[1]):
        assert await site.status(way, "/projects/team") == 200
        assert await site.status(way, "/projects/other") == 403
    assert await site.alive(credentials) == [True, True]
    query = select(tables.outbox.c.payload).where(tables.outbox.c.type == RobotLent.__name__)
    async with site.db.read() as tx:
        told = (await tx.execute(query)).scalar_one()
    assert (told["rule"], told["subject"]) == ("main", said["sub"])


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "acme/other"},
        {"repository": None},
        {"repository": ["evil", {"acme/shop": 1}]},
        {"repository": {"acme/shop": True}},
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"aud": HERE + "/"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"iat": "x"},
    ],
)
async def test_a_token_that_says_something_else_opens_nothing(
    site: Site, changes: dict[str, Any]
) -> None:
    """The job is told what its own token says, not what the rules want."""
    await site.make(site.robots["ci"], site.rule())
    why = await site.refused(GITHUB, **changes)
    assert why.startswith("no rule of robot$team+ci takes this token")
    assert "acme/shop" not in why.replace(GITHUB["sub"], "")  # type: ignore[arg-type]


async def test_what_was_lent_ends_with_what_lent_it(site: Site) -> None:
    """Any change of the rule or of the robot account, at once on every replica."""
    robot = site.robots["ci"]
    robots, root = site.replica.robots, site.world.people["sysadmin"]
    path = f"/robots/{robot.id}/federation-rules"

    async def one_more() -> tuple[str, str]:
        found = await site.lent(GITHUB)
        assert await site.alive(found) == [True, True]
        return found

    location = (await site.make(robot, site.rule())).headers["location"]
    rule = location.rpartition("/")[2]
    lent = await one_more()
    body = site.rule(claim("repository", "acme/shop"), claim("ref_protected", "true"))
    changed = await site.world.call("projectAdmin", "PUT", f"{path}/{rule}", body)
    assert changed.status_code == 200, changed.text
    assert await site.alive(lent) == [False, False]
    lent = await one_more()
    await robots.refresh(root, robot.id)
    assert await site.alive(lent) == [False, False]
    lent = await one_more()
    await robots.update(root, robot.id, disabled=True)
    assert await site.alive(lent) == [False, False]
    assert NOT_TAKEN in await site.refused(GITHUB)
    await robots.update(root, robot.id, disabled=False)
    assert await site.alive(lent) == [False, False]
    lent = await one_more()
    assert (await site.world.call("projectAdmin", "DELETE", f"{path}/{rule}")).status_code == 200
    assert await site.alive(lent) == [False, False]
    await site.make(robot, site.rule())
    lent = await one_more()
    await robots.delete(root, robot.id)
    assert await site.alive(lent) == [False, False]


async def test_what_was_lent_ends_by_itself(site: Site) -> None:
    """After its lifetime, and with the robot account."""
    robot = site.robots["ci"]
    await site.make(robot, site.rule(lifetime=1800))
    lent = await site.lent(GITHUB)
    site.replica.clock.advance(1800 + 61)
    assert await site.replica.callers.check(*lent, "") is None
    assert await site.other.callers.check(*lent, "") is not None
    site.replica.clock.advance(-(1800 + 61))
    async with site.db.write() as tx:
        await tx.execute(tables.robots.update().values(expires_at=from_now(600)))
    answer = await site.exchange(site.token(GITHUB))
    # The database's clock runs on while the replica's stands still.
    assert 500 <= answer.json()["expires_in"] <= 1200


async def test_a_token_of_the_registry_ends_with_the_loan(site: Site) -> None:
    """Else `docker login` in the last second would be worth half an hour more."""
    await site.make(site.robots["ci"], site.rule(lifetime=1200))
    lent = await site.lent(GITHUB)
    body = await site.registry(lent, "team/app")
    assert 1100 <= body["expires_in"] <= 1200
    async with site.db.write() as tx:
        await tx.execute(tables.robots.update().values(expires_at=from_now(600)))
    body = await site.registry(await site.lent(GITHUB), "team/app")
    assert 500 <= body["expires_in"] <= 1000


async def test_what_was_lent_opens_nothing_else(site: Site) -> None:
    """No other account, no session, no more exchange, and it is no token of the registry."""
    await site.make(site.robots["ci"], site.rule())
    name, password = await site.lent(GITHUB)
    assert await site.replica.callers.check("sysadmin", password, "") is None
    assert await site.replica.callers.check("robot$other+ci", password, "") is None
    pages = SigninPages(
        site.replica.callers,
        site.replica.sessions,
        site.replica.users,
        site.world.configurations,
        secure=True,
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=pages)) as client:
        form = {"principal": name, "password": password}
        assert (await client.post("http://test/c/login", data=form)).status_code == 401
    assert NOT_TAKEN in await site.refusal(password)
    own = f"http://test/api/v2.0/robots/{site.robots['ci'].id}"
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=site.api)) as client:
        for method, path in (("PATCH", own), ("PUT", own), ("POST", f"{own}/federation-rules")):
            answer = await client.request(method, path, json={}, auth=(name, password))
            assert answer.status_code == 403, path
            assert "a token or CLI secret cannot do this" in answer.text
    caller = await site.replica.callers.identify(f"Bearer {password}".encode(), "")
    registry = site.replica.tokens.issue(caller.principal, {}, revision=caller.revision).token
    assert await site.replica.callers.check(name, registry, "") is None
    head, claims, signature = password.split(".")
    forged = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged["who"][1] += 1
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
    assert await site.replica.callers.check(name, f"{head}.{body}.{signature}", "") is None


async def test_a_job_gets_the_robot_account_that_it_names(site: Site) -> None:
    """Rules of others with the same issuer, audience and claims change nothing for it."""
    await site.robot("cd", "open", "repository:pull")
    await site.make(site.robots["cd"], site.rule(), "sysadmin")
    assert NOT_TAKEN in await site.refused(GITHUB)
    await site.make(site.robots["ci"], site.rule())
    for name in ("robot$team+ci", "robot$open+cd"):
        chosen = await site.exchange(site.token(GITHUB), audience=name)
        assert chosen.json()["username"] == name
    for name in ("robot$team+nobody", "team+ci", "robot$", "robot$team\0ci"):
        assert "no rule of" in await site.refusal(site.token(GITHUB), audience=name)


async def test_a_request_that_names_no_robot_account_is_told_how(site: Site) -> None:
    """Also when one rule alone would take the token: whose it is, a stranger could choose."""
    await site.make(site.robots["ci"], site.rule())
    why = await site.refusal(site.token(GITHUB), audience="")
    assert "audience=NAME" in why
    assert "robot$team+ci" in why


@pytest.mark.parametrize(
    "fields",
    [
        {"grant_type": "password"},
        {"grant_type": ""},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"subject_token": ""},
        {"subject_token": "a.b"},
        {"subject_token": "a.b.c"},
        {"subject_token": "e30.e30.e30"},
        {"subject_token": "e30." + base64.b64encode(b'{"iss": 1}').decode() + ".x"},
        {"subject_token": "e30." + "9" * 20000 + ".x"},
        {"subject_token": "é.é.é"},
        {"actor_token": "x"},
    ],
)
async def test_a_request_that_is_none_is_refused(site: Site, fields: dict[str, str]) -> None:
    """In the form of OAuth."""
    await site.refusal(**{"token": site.token(GITHUB), **fields})


async def test_a_pattern_sees_the_first_characters_of_a_claim(site: Site) -> None:
    """A long one would make everybody wait; what is exact has no such bound."""
    await site.make(site.robots["ci"], site.rule(claim("ref", "a+", "regex")))
    await site.lent(GITHUB, ref="a" * MAX_TEXT)
    await site.lent(GITHUB, ref=["b" * (MAX_TEXT - 1), "a"])
    assert NOT_TAKEN in await site.refused(GITHUB, ref="a" * (MAX_TEXT + 1))
    assert NOT_TAKEN in await site.refused(GITHUB, ref=["b" * MAX_TEXT, "a"])
    await site.make(site.robots["ci"], site.rule(claim("ref", "c"), name="exact"))
    await site.lent(GITHUB, ref=["b" * MAX_TEXT, "c"])


async def test_a_rule_that_cannot_be_is_refused(site: Site) -> None:
    """And none is made; each says why."""
    private = new_key("x").as_dict(private=True)
    octets = {"keys": [{"kty": "oct", "k": "AAAA"}]}
    short = ECKey.generate_key("P-256").as_dict(private=False)

    def rsa(bits: int, e: str) -> dict[str, str]:
        n = base64.urlsafe_b64encode(b"\xff" * (bits // 8)).decode().rstrip("=")
        return {"kty": "RSA", "n": n, "e": e}

    for body, why in (
        (site.rule(name=""), "name"),
        (site.rule(name="No"), "name"),
        (site.rule(audience=""), "audience"),
        (site.rule(issuer=""), "issuer"),
        (site.rule(issuer="http://issuer.example"), "https://"),
        (site.rule(issuer="https://user@issuer.example"), "https://"),
        (site.rule(issuer="https://issuer.example?x=1"), "https://"),
        (site.rule(issuer="https://[::1"), "https://"),
        (site.rule(lifetime=0), "lifetime"),
        (site.rule(lifetime=10**9), "lifetime"),
        (site.rule(jwks={"keys": [private]}), "private key"),
        (site.rule(jwks={"keys": []}), "no key"),
        (site.rule(jwks=octets), "private key"),
        (site.rule(jwks={"keys": [{"kty": "RSA"}]}), "jwks"),
        (site.rule(jwks={"x": "y" * 8200}), "bytes"),
        (site.rule(jwks={"keys": [short] * 11}), "10 keys"),
        (site.rule(jwks={"keys": [rsa(4096 + 8, "AQAB")]}), "4096 bits"),
        (site.rule(jwks={"keys": [rsa(2048, "_" * 340)]}), "65537"),
        (site.rule() | {"claims": []}, "claims"),
        (site.rule(claim("aud", HERE)), "aud"),
        (site.rule(claim("/iss", "x")), "iss"),
        (site.rule(claim("sub", "x", "like")), "kind"),
        (site.rule(claim("sub", "(", "regex")), "pattern"),
        (site.rule(claim("sub", "")), "pattern"),
        (site.rule(claim("", "x")), "claim"),
        (site.rule(*[claim(f"c{n}", "a*", "doublestar") for n in range(6)]), "5 claims"),
        (site.rule(claim("sub", r"(\pL|\pN){41}", "regex")), "pattern"),
        (site.rule(claim("sub", "**", "doublestar")), "everybody"),
        (site.rule(claim("sub", ".*", "regex"), claim("ref", ".+", "regex")), "everybody"),
    ):
        answer = await site.make(site.robots["ci"], body)
        assert answer.status_code == 400, (body, answer.text)
        assert why in answer.text, (body, answer.text)
    assert (await site.world.call("sysadmin", "GET", "/federation-rules")).json() == []


async def test_nobody_lends_more_than_he_holds(site: Site) -> None:
    """Who may not manage the robot account, or holds less, makes no rule for it."""
    robot = site.robots["ci"]
    for who in ("maintainer", "developer", "guest", "stranger"):
        assert (await site.make(robot, site.rule(), who)).status_code == 403
    elsewhere = await site.robot("cd", "other", "repository:pull")
    assert (await site.make(elsewhere, site.rule())).status_code == 403
    root = site.world.people["sysadmin"]
    made = await site.replica.robots.create(
        root, name="sys", level="system", permissions=[in_system("user:list")], duration=1
    )
    of_system = Principal("robot", made.robot.id, made.robot.name)
    assert (await site.make(of_system, site.rule())).status_code == 403
    assert (await site.make(of_system, site.rule(), "sysadmin")).status_code == 201


async def test_a_rule_is_reached_by_its_own_robot_account_alone(site: Site) -> None:
    """An id of another's rule answers as one that is not there, and nothing changes."""
    theirs = await site.robot("cd", "other", "repository:pull")
    location = (await site.make(theirs, site.rule(), "sysadmin")).headers["location"]
    rule = location.rpartition("/")[2]
    mine = f"/robots/{site.robots['ci'].id}/federation-rules"
    for method, body in (("GET", None), ("PUT", site.rule()), ("DELETE", None)):
        ours = await site.world.call("projectAdmin", method, f"{mine}/{rule}", body)
        assert ours.status_code in (403, 404), method
        path = f"/robots/{theirs.id}/federation-rules/{rule}"
        assert (await site.world.call("projectAdmin", method, path, body)).status_code == 403
    listed = await site.world.call("sysadmin", "GET", "/federation-rules")
    assert [item["name"] for item in listed.json()] == ["main"]
    assert (await site.world.call("projectAdmin", "GET", mine)).json() == []


async def test_rules_are_tried_without_a_token(site: Site) -> None:
    """It says which rule would lend, and why another would not."""
    robot = site.robots["ci"]
    await site.make(robot, site.rule())
    narrow = site.rule(claim("ref", "refs/tags/*", "doublestar"), name="tags", audience="x")
    await site.make(robot, narrow)
    path = f"/robots/{robot.id}/federation-rules/try"
    said = {"iss": site.issuer.issuer, "aud": HERE, **GITHUB}
    answer = await site.world.call("projectAdmin", "POST", path, {"claims": said})
    first, second = answer.json()
    assert (first["name"], first["lends"]) == ("main", True)
    assert (second["name"], second["lends"]) == ("tags", False)
    assert second["reasons"] == ["aud does not hold the audience", "ref does not match"]
    nothing = (await site.world.call("projectAdmin", "POST", path, {})).json()
    assert not any(item["lends"] for item in nothing)


async def test_names_of_rules_are_of_one_robot_account(site: Site) -> None:
    """Twice the same is a conflict, also by a change."""
    robot = site.robots["ci"]
    assert (await site.make(robot, site.rule())).status_code == 201
    assert (await site.make(robot, site.rule())).status_code == 409
    other = (await site.make(robot, site.rule(name="b"))).headers["location"]
    path = f"/robots/{robot.id}/federation-rules/{other.rpartition('/')[2]}"
    assert (await site.world.call("projectAdmin", "PUT", path, site.rule())).status_code == 409
    read = (await site.world.call("guest", "GET", path)).json()
    assert (read["name"], read["lifetime"], read["disable"]) == ("b", 3600, False)


async def test_no_token_is_kept_or_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Neither theirs nor ours: not in the database, not in a log."""
    caplog.set_level(logging.INFO)
    await site.make(site.robots["ci"], site.rule())
    theirs = site.token(GITHUB)
    _, ours = await site.lent(GITHUB)
    wrong = await site.exchange(site.token(GITHUB, repository="x"))
    rows = []
    async with site.db.read() as tx:
        for table in (tables.outbox, tables.audit_log, tables.federation_rules):
            rows += [str(tuple(row)) for row in await tx.execute(select(table))]
    everything = "\n".join([*rows, caplog.text, wrong.text])
    assert "main" in everything
    for token in (theirs, ours):
        assert token not in everything
        assert token.rpartition(".")[2] not in everything
