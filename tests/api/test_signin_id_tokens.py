"""ID tokens as credentials, and what else a provider must not talk this server into."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api.test_signin_oidc import HOME, Site, attempt
from tests.support.oidc_server import LyingProvider, new_key

from moorage.access.principals import COMMAND_LINE
from moorage.accounts.oidc import IdTokens, Onboarding
from moorage.accounts.oidc.provider import LEEWAY
from moorage.db.engine import Database
from moorage.errors import Invalid, Unauthenticated
from moorage.signin.oidc import CALLBACK
from moorage.web.callers import Caller

pytestmark = pytest.mark.anyio

HERE = "10.0.0.1"


@pytest.fixture
async def known(database: Database, lying_provider: LyingProvider) -> AsyncIterator[Site]:
    """Alice has signed in with a browser once; her tokens are credentials."""
    site = Site(database, lying_provider.issuer)
    site.settings.turn(oidc_auto_onboard=True, oidc_groups_claim="")
    replica = site.replica
    lender = IdTokens(database, site.settings, site.provider, replica.standings)
    replica.logins._lenders = (*replica.logins._lenders, lender)
    await replica.keys.start()
    await replica.user("root", sysadmin=True)
    await attempt(site, lying_provider)
    yield site
    await replica.close()


async def bearer(site: Site, token: str) -> Caller:
    return await site.replica.callers.identify(f"Bearer {token}".encode(), HERE)


async def basic(site: Site, name: str, token: str) -> Caller:
    pair = b64encode(f"{name}:{token}".encode())
    return await site.replica.callers.identify(b"Basic " + pair, HERE)


async def test_an_id_token_opens_the_account_of_its_subject(
    known: Site, lying_provider: LyingProvider
) -> None:
    """As Bearer, and as a password under the account's name; but no session and no credentials."""
    token = lying_provider.token("")
    caller = await bearer(known, token)
    assert (caller.principal.kind, caller.principal.name) == ("user", "alice")
    assert caller.principal.via, "what was lent makes no credentials"
    assert caller.access is None
    assert (await basic(known, "alice", token)).principal == caller.principal
    assert (await basic(known, "bob", token)).principal.kind == "anonymous"
    login = await known.replica.logins.verify("alice", token, HERE)
    assert login is not None
    assert not login.opens_session
    assert login.expires_at is not None
    issued = known.replica.tokens.issue(
        caller.principal, {}, revision=login.revision, until=login.expires_at
    )
    again = await bearer(known, issued.token)
    assert again.principal.via == caller.principal.via
    assert await known.replica.callers.current(again) is not None
    known.replica.clock.advance(300 + LEEWAY + 600)
    assert await known.replica.callers.current(again) is None, "it ends with the ID token"


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"aud": "somebody-else"}),
        ({}, {"azp": "somebody-else"}),
        ({}, {"aud": ["client", "somebody-else"]}),
        ({}, {"iss": "https://other.example"}),
        ({}, {"exp": 1}),
        ({}, {"exp": None}),
        ({}, {"sub": "2"}),
        ({}, {"sub": None}),
        ({"typ": "at+jwt"}, {}),
        ({"typ": "logout+jwt"}, {}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({}, {"typ": "Bearer"}),
        ({}, {"typ": "Logout"}),
    ],
)
async def test_another_token_of_the_provider_is_none(
    known: Site, lying_provider: LyingProvider, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """For another client, of somebody without an account, over, or made for something else."""
    lying_provider.header, lying_provider.claims = header, claims
    token = lying_provider.token("")
    with pytest.raises(Unauthenticated):
        await bearer(known, token)
    assert (await basic(known, "alice", token)).principal.kind == "anonymous"


async def test_a_token_of_nobody_we_know_is_none(
    known: Site, lying_provider: LyingProvider
) -> None:
    """Unsigned, under a MAC, under another key; nor does one of the provider in another mode."""
    fine = lying_provider.token("")
    for lie in ("none", "mac"):
        setattr(lying_provider, lie, True)
        with pytest.raises(Unauthenticated):
            await bearer(known, lying_provider.token(""))
        setattr(lying_provider, lie, False)
    lying_provider.published, lying_provider.key = [lying_provider.key], new_key("one")
    with pytest.raises(Unauthenticated):
        await bearer(known, lying_provider.token(""))
    assert (await bearer(known, fine)).principal.name == "alice"
    known.settings.turn(auth_mode="db_auth")
    with pytest.raises(Unauthenticated):
        await bearer(known, fine)


async def test_an_account_that_is_deleted_takes_its_tokens_along(
    known: Site, lying_provider: LyingProvider
) -> None:
    """At once, although the provider still vouches for its owner."""
    token = lying_provider.token("")
    caller = await bearer(known, token)
    await known.replica.users.delete(COMMAND_LINE, caller.principal.id)
    with pytest.raises(Unauthenticated):
        await bearer(known, token)


async def test_a_name_is_not_chosen_for_somebody_of_a_former_provider(
    known: Site, lying_provider: LyingProvider
) -> None:
    """Who waited on that page while the provider was changed begins anew."""
    known.settings.turn(oidc_auto_onboard=False)
    lying_provider.claims = {"sub": "2", "name": "bob"}
    began = await known.accounts.begin(HOME + CALLBACK, "/")
    done = await known.accounts.finish(began.cookie, *lying_provider.authorize(began.url))
    assert isinstance(done, Onboarding)
    known.settings.turn(oidc_endpoint="https://other.example")
    with pytest.raises(Unauthenticated):
        await known.accounts.onboard(done.cookie, "bob")
    known.settings.turn(oidc_endpoint=lying_provider.issuer)
    assert (await known.accounts.onboard(done.cookie, "bob")).login.principal.name == "bob"


@pytest.mark.parametrize(
    "page",
    ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint"],
)
async def test_the_client_secret_goes_over_tls_where_the_provider_has_it(
    known: Site, lying_provider: LyingProvider, page: str
) -> None:
    """Whoever can write the discovery document's pages cannot have it sent in plain text."""
    lying_provider.pages = {page: "http://198.51.100.7/"}
    with pytest.raises(Invalid, match=page):
        await known.provider.discover(lying_provider.issuer, verify=True)
