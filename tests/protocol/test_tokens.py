"""Tokens on `/v2`: forged, expired, for somebody else, from before."""

import base64
import hmac
import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from moorage.access.jwts import KeyRing, SigningKey
from moorage.access.tokens import Right, Tokens
from moorage.projects.projects import Projects
from tests.protocol.client import Client
from tests.protocol.registry import ISSUER, LIFETIME, PEOPLE, SERVICE, Registry, principal_of
from tests.support.clocks import TurnedClock

pytestmark = pytest.mark.anyio

REPO = "team/app"


def part(value: object) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def forge(registry: Registry, how: str) -> str:
    """A token for `dev` that is wrong in one way."""
    project = await registry.parts["grants"].project("team")
    access = {REPO: Right(frozenset({"pull", "push"}), (project.id, project.created_at))}
    standing = await registry.standings.of(principal_of("dev"))
    assert standing is not None
    ring, issuer, audience, clock = registry.ring, ISSUER, SERVICE, TurnedClock()
    if how == "expired":
        clock.advance(-LIFETIME - 120)
    elif how == "from the future":
        clock.advance(300)
    elif how == "another audience":
        audience = "somebody-else"
    elif how == "another issuer":
        issuer = "somebody-else"
    elif how == "another key":
        key = ECKey.generate_key("P-256")
        known = registry.ring.signer()[0]
        ring = KeyRing([SigningKey(known.kid, key.as_pem(private=True))])
    tokens = Tokens(ring, issuer=issuer, audience=audience, lifetime=LIFETIME, clock=clock)
    token = tokens.issue(principal_of("dev"), access, revision=standing.revision).token
    header, claims, signature = token.split(".")
    known_header = json.loads(base64.urlsafe_b64decode(header + "=="))
    if how == "no signature":
        return f"{header}.{claims}."
    if how == "algorithm none":
        return f"{part({**known_header, 'alg': 'none'})}.{claims}."
    if how == "a public key as secret":
        public = registry.ring.signer()[1].as_pem(private=False)
        signed = f"{part({**known_header, 'alg': 'HS256'})}.{claims}"
        mac = hmac.digest(public, signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    if how == "claims changed":
        body = json.loads(base64.urlsafe_b64decode(claims + "=="))
        body["who"] = ["user", PEOPLE["admin"], 1]
        return f"{header}.{part(body)}.{signature}"
    if how == "its own key":
        own = ECKey.generate_key("P-256")
        body = json.loads(base64.urlsafe_b64decode(claims + "=="))
        return jwt.encode({**known_header, "jwk": own.as_dict(private=False)}, body, own)
    return token


async def test_the_token_that_is_forged_below_works(registry: Registry, dev: Client) -> None:
    """Without a flaw it opens the repository, so that the flaws are what is refused."""
    await dev.push_image(REPO, "v1")
    client = Client(registry.app, f"Bearer {await forge(registry, 'nothing')}")
    assert (await client.ask("GET", f"/v2/{REPO}/manifests/v1")).status == 200


@pytest.mark.parametrize(
    "how",
    [
        "expired",
        "from the future",
        "another audience",
        "another issuer",
        "another key",
        "no signature",
        "algorithm none",
        "a public key as secret",
        "claims changed",
        "its own key",
    ],
)
async def test_forged_tokens(registry: Registry, dev: Client, how: str) -> None:
    """Each is 401, for reading and for writing, and asks for another token."""
    await dev.push_image(REPO, "v1")
    client = Client(registry.app, f"Bearer {await forge(registry, how)}")
    for method, path in (("GET", "manifests/v1"), ("POST", "blobs/uploads/")):
        answer = await client.ask(method, f"/v2/{REPO}/{path}")
        assert answer.status == 401
        assert 'error="invalid_token"' in (answer.header("www-authenticate") or "")


async def test_a_token_from_before_its_project_was_made_again(registry: Registry) -> None:
    """The new project of that name is another one: nothing opens it, nor mounts from it.

    Harbor 8b822331.
    """
    admin, projects = principal_of("admin"), Projects(registry.db)
    number = await projects.create(admin, "temp")
    old = await registry.bearer("admin", {"temp/app": "pull,push", REPO: "pull,push"})
    assert (await old.ask("POST", "/v2/temp/app/blobs/uploads/", length=0)).status == 202
    await projects.delete(admin, number)
    await projects.create(admin, "temp")
    digest = await registry.client("admin").push_blob("temp/app", b"new secret")
    for method, path in (("GET", f"blobs/{digest}"), ("POST", "blobs/uploads/")):
        assert (await old.ask(method, f"/v2/temp/app/{path}")).status == 401
    mount = f"/v2/{REPO}/blobs/uploads/?mount={digest}&from=temp/app"
    assert (await old.ask("POST", mount)).status == 202
