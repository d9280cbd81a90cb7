"""Whose tokens a federation rule believes: keys, issuers that are asked, and what that costs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from tests.api.federation import GITHUB, KUBERNETES, NOT_TAKEN, Site, claim, opened
from tests.api.world import World
from tests.support.oidc_server import LyingProvider, new_key

from moorage.accounts.federation import Exchange, FederationRules, Rule
from moorage.accounts.federation.exchange import ISSUER_AWAY, MAX_KEY_SETS
from moorage.accounts.issuers import LOOK_AGAIN, TRY_AGAIN, Issuers, secure

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(world: World, lying_provider: LyingProvider) -> AsyncIterator[Site]:
    """With a robot account `ci` of `team` that pushes."""
    async with opened(world, lying_provider) as made:
        yield made


async def test_a_token_that_somebody_else_signed_opens_nothing(site: Site) -> None:
    """Neither by another key under the same id, nor by no key, a MAC or a key of its own."""
    await site.make(site.robots["ci"], site.rule())
    honest, thief = site.issuer.key, new_key(site.issuer.key.kid or "")
    site.issuer.published = [honest]
    site.issuer.key = thief
    public = thief.as_dict(private=False)
    for header in (
        {},
        {"kid": "unknown"},
        {"jwk": public},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
    ):
        site.issuer.header = header
        assert NOT_TAKEN in await site.refused(GITHUB)
    site.issuer.key, site.issuer.header, site.issuer.mac = honest, {}, True
    assert NOT_TAKEN in await site.refused(GITHUB)
    site.issuer.mac, site.issuer.none = False, True
    assert NOT_TAKEN in await site.refused(GITHUB)
    site.issuer.none = False
    await site.lent(GITHUB)


async def test_only_issuers_that_a_rule_believes_are_asked(site: Site) -> None:
    """Nobody makes this server call a URL of his choice."""
    assert NOT_TAKEN in await site.refused(GITHUB)
    assert site.issuer.looks == 0
    made = await site.make(site.robots["ci"], site.rule(disable=True))
    assert made.status_code == 201
    assert NOT_TAKEN in await site.refused(GITHUB)
    assert site.issuer.looks == 0


async def test_an_issuer_is_not_hammered(site: Site) -> None:
    """Tokens of unknown keys make it look for new ones twice a minute at most."""
    moment = [1000.0]
    site.world.issuers._monotonic = lambda: moment[0]
    await site.make(site.robots["ci"], site.rule())
    await site.lent(GITHUB)
    honest = site.issuer.key
    site.issuer.published = [honest]
    site.issuer.key = new_key("thief")
    for _ in range(5):
        await site.refused(GITHUB)
    assert site.issuer.looks == 1
    site.issuer.published = []  # the issuer has a new key now
    moment[0] += LOOK_AGAIN
    await site.lent(GITHUB)
    assert site.issuer.looks == 2


async def test_an_issuer_that_is_down_is_told_apart(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The job may try again; anybody may ask, so all of it answers the same, the log knows more."""
    caplog.set_level(logging.INFO)
    site.issuer.said_issuer = "https://somebody.example"
    for issuer, why in (
        (site.issuer.issuer, "another name"),
        ("http://127.0.0.1:1", "cannot be reached"),
        ("https://169.254.169.254", "outgoing.allow"),
    ):
        made = await site.make(site.robots["ci"], site.rule(issuer=issuer, name=f"r{len(issuer)}"))
        assert made.status_code == 201
        for _ in range(2):
            answer = await site.exchange(site.token(GITHUB, iss=issuer))
            assert answer.status_code == 503
            assert answer.json() == {
                "error": "temporarily_unavailable",
                "error_description": ISSUER_AWAY,
            }
            assert answer.headers["retry-after"]
        assert why in caplog.text


async def test_keys_that_anybody_on_the_way_could_change_are_not_fetched(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """An issuer by https, or on this machine, cannot name a place without https for them."""
    caplog.set_level(logging.INFO)
    await site.make(site.robots["ci"], site.rule())
    site.issuer.keys_uri = "http://issuer.example/keys"
    assert (await site.exchange(site.token(GITHUB))).status_code == 503
    assert "jwks_uri is no https:// URL" in caplog.text


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://issuer.example", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]/", True),
        ("http://issuer.example", False),
        ("http://127.0.0.1.example", False),
        ("ftp://localhost", False),
        ("https://", False),
        ("https://[::1", False),
    ],
)
def test_which_urls_nobody_on_the_way_can_change(url: str, good: bool) -> None:
    """Those of https, and those of this machine."""
    assert secure(url) is good


async def test_an_issuer_without_keys_is_not_hammered(site: Site) -> None:
    """Requests at once and shortly after one another make one look."""
    moment = [1000.0]
    site.world.issuers._monotonic = lambda: moment[0]
    await site.make(site.robots["ci"], site.rule())
    site.issuer.keys_status = 500
    for looks in (1, 2):
        answers = [site.exchange(site.token(GITHUB)) for _ in range(3)]
        assert {answer.status_code for answer in await asyncio.gather(*answers)} == {503}
        assert (await site.exchange(site.token(GITHUB))).status_code == 503
        assert site.issuer.looks == looks
        moment[0] += TRY_AGAIN
    site.issuer.keys_status = 200
    await site.lent(GITHUB)


async def test_the_issuer_that_was_asked_longest_ago_is_forgotten(world: World) -> None:
    """Rules of others cannot push out one that is in use."""
    issuers = Issuers(world.guard)
    used, idle = issuers._entry("https://used", True), issuers._entry("https://idle", True)
    for number in range(100):
        issuers._entry(f"https://{number}", True)
        assert issuers._entry("https://used", True) is used
    assert issuers._entry("https://idle", True) is not idle
    assert len(issuers._known) < 100


async def test_keys_of_a_rule_need_no_discovery(site: Site) -> None:
    """For clusters that nobody outside can ask; another key under the id is refused."""
    key = new_key("cluster")
    jwks = {"keys": [key.as_dict(private=False)]}
    inside = "https://kubernetes.default.svc.cluster.local"
    rule = site.rule(claim("/kubernetes.io/namespace", "build"), issuer=inside, jwks=jwks)
    made = await site.make(site.robots["ci"], rule)
    assert made.status_code == 201, made.text
    now = int(time.time())

    def token(key: RSAKey) -> str:
        claims = {**KUBERNETES, "iss": inside, "iat": now, "exp": now + 60}
        return jwt.encode({"alg": "RS256", "kid": "cluster"}, claims, key)

    assert (await site.exchange(token(key))).status_code == 200
    assert NOT_TAKEN in await site.refusal(token(new_key("cluster")))
    assert site.issuer.looks == 0


async def test_a_rule_whose_issuer_is_down_does_not_stop_another(site: Site) -> None:
    """Keys that a rule brings along need nobody to be reached."""
    key = new_key("cluster")
    dead = "http://127.0.0.1:1"
    await site.make(site.robots["ci"], site.rule(issuer=dead, name="asks"))
    jwks = {"keys": [key.as_dict(private=False)]}
    await site.make(site.robots["ci"], site.rule(issuer=dead, name="brings", jwks=jwks))
    site.issuer.key = key
    assert (await site.exchange(site.token(GITHUB, iss=dead))).status_code == 200


class Looks(Exchange):
    """Counts the looks at signatures."""

    looks = 0

    async def _verified(self, rule: Rule, token: str) -> Mapping[str, Any]:
        self.looks += 1
        return await super()._verified(rule, token)


async def test_what_fits_no_rule_costs_no_signature(site: Site) -> None:
    """And what fits many costs a few, of which the keys were imported once."""
    exchanges = site.exchanges = Looks(
        site.db, FederationRules(site.db), site.world.issuers, site.replica.lending
    )
    for number in range(MAX_KEY_SETS + 2):
        jwks = {"keys": [ECKey.generate_key("P-256", {"kid": "one"}).as_dict(private=False)]}
        made = await site.make(site.robots["ci"], site.rule(name=f"r{number}", jwks=jwks))
        assert made.status_code == 201, made.text
        copy = await site.make(site.robots["ci"], site.rule(name=f"r{number}b", jwks=jwks))
        assert copy.status_code == 201, copy.text
    await site.refused(GITHUB, repository="acme/other")
    await site.refused(GITHUB, aud="other")
    assert exchanges.looks == 0
    await site.refused(GITHUB)
    assert exchanges.looks == MAX_KEY_SETS
    assert len(exchanges._imported) == MAX_KEY_SETS
    imported = [keys for keys, _ in exchanges._imported._map.values()]
    await site.refused(GITHUB)
    again = [keys for keys, _ in exchanges._imported._map.values()]
    assert all(one is other for one, other in zip(imported, again, strict=True))
