"""Sign-in by OpenID Connect with a browser: against a real provider, and against one that lies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from tests.support.accounts import PASSWORD, SECRET_KEY, Replica
from tests.support.oidc_server import LyingProvider, RealProvider, new_key

from moorage.access.principals import COMMAND_LINE
from moorage.access.secretbox import SecretBox
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.issuers import LOOK_AGAIN, Issuers
from moorage.accounts.oidc import OidcAccounts, OidcSettings, Provider, SignedIn
from moorage.accounts.oidc.accounts import MOST, Began
from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.errors import (
    Conflict,
    Invalid,
    PreconditionFailed,
    TooManyRequests,
    Unauthenticated,
)
from moorage.outgoing import Guard
from moorage.signin.oidc import CALLBACK, ONBOARD, OidcPages, own_path
from moorage.signin.pages import SigninPages
from moorage.web.csrf import CsrfGuard

pytestmark = pytest.mark.anyio

HOME = "https://registry.example"
TOKEN = "X-Harbor-CSRF-Token"
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Settings:
    """Settings that a test turns."""

    def __init__(self, issuer: str) -> None:
        self.values = Configuration(
            auth_mode="oidc_auth",
            oidc_endpoint=issuer,
            oidc_client_id="client",
            oidc_client_secret=SecretStr("canary-client-secret"),
            oidc_scope="openid,profile,email",
            oidc_groups_claim="groups",
            oidc_user_claim="name",
        )

    async def current(self) -> Configuration:
        """As they are now."""
        return self.values

    def turn(self, **values: Any) -> None:
        """Set some of them."""
        self.values = self.values.model_copy(update=values)


class Site:
    """One replica with its pages of sign-in; another one may share its database."""

    def __init__(self, db: Database, issuer: str) -> None:
        self.settings = Settings(issuer)
        self.replica = Replica(db, settings=self.settings)
        self.db = db
        self.app = self.another_replica()

    def another_replica(self) -> Any:
        """The pages of a process of its own."""
        guard = Guard(LOOPBACK)
        self.issuers = Issuers(guard)
        self.provider = Provider(guard, self.issuers)
        self.accounts = OidcAccounts(self.db, self.settings, self.provider, SecretBox(SECRET_KEY))
        sessions = self.replica.sessions
        oidc = OidcPages(self.accounts, sessions, external_url=HOME, secure=True)
        pages = SigninPages(
            self.replica.callers, sessions, self.replica.users, self.settings, oidc, secure=True
        )
        return CsrfGuard(pages, key=b"k" * 32, secure=True)

    def browser(self, app: Any = None) -> httpx2.AsyncClient:
        """A client with cookies of its own."""
        transport = httpx2.ASGITransport(app=app or self.app)
        return httpx2.AsyncClient(transport=transport, base_url=HOME)

    async def who(self, browser: httpx2.AsyncClient) -> Any:
        """Whom the browser's session belongs to."""
        secret = browser.cookies.get("sid")
        return None if not secret else await self.replica.sessions.find(secret)

    async def users(self) -> int:
        """How many there are."""
        async with self.db.read() as tx:
            query = select(func.count()).select_from(tables.users)
            return int((await tx.execute(query)).scalar_one())

    async def groups(self) -> set[str]:
        """Groups that somebody belongs to."""
        member, group = tables.user_group_members, tables.user_groups
        query = select(group.c.name).join(member, member.c.group_id == group.c.id)
        async with self.db.read() as tx:
            return set((await tx.execute(query)).scalars())


@pytest.fixture
async def site(database: Database, oidc_provider: RealProvider) -> AsyncIterator[Site]:
    """With the local administrator, and somebody called kim at the provider."""
    made = Site(database, oidc_provider.issuer)
    await first_admin(database, made.replica.passwords, "admin", PASSWORD)
    oidc_provider.user("kim-id", name="kim", email="kim@example.com", groups=["staff", "other"])
    yield made
    await made.replica.close()


async def to_provider(
    site: Site, provider: RealProvider, browser: httpx2.AsyncClient, sub: str = "kim-id"
) -> str:
    """From the first click to where the provider sends the browser back."""
    began = await browser.get("/c/oidc/login?redirect_url=/harbor/projects")
    assert began.status_code == 302, began.text
    assert began.headers["location"].startswith(f"{provider.issuer}/oauth2/authorize?")
    back = provider.authorize(began.headers["location"], sub)
    assert back.startswith(HOME + CALLBACK)
    return back


async def sign_in(
    site: Site, provider: RealProvider, browser: httpx2.AsyncClient, sub: str = "kim-id"
) -> httpx2.Response:
    return await browser.get(await to_provider(site, provider, browser, sub))


async def onboard(browser: httpx2.AsyncClient, username: str) -> httpx2.Response:
    token = (await browser.get("/c/oidc/nothing")).headers[TOKEN]
    return await browser.post(
        "/c/oidc/onboard", json={"username": username}, headers={TOKEN: token}
    )


async def test_somebody_new_chooses_a_name_and_is_known_afterwards(
    site: Site, oidc_provider: RealProvider
) -> None:
    """The provider's groups count from the first sign-in on."""
    browser = site.browser()
    asked = await sign_in(site, oidc_provider, browser)
    assert asked.status_code == 302
    target = urlsplit(asked.headers["location"])
    assert target.path == "/oidc-onboard"
    assert parse_qs(target.query) == {"username": ["kim"], "redirect_url": ["/harbor/projects"]}
    assert await site.who(browser) is None
    done = await onboard(browser, "kim.r")
    assert done.status_code == 200, done.text
    login = await site.who(browser)
    assert login.principal.name == "kim.r"
    assert not login.principal.sysadmin
    assert await site.groups() == {"staff", "other"}
    assert (await onboard(browser, "again")).status_code == 401
    second = site.browser()
    again = await sign_in(site, oidc_provider, second)
    assert again.headers["location"] == "/harbor/projects"
    assert (await site.who(second)).principal == login.principal
    assert await site.users() == 2


async def test_a_name_that_is_taken_is_refused_and_another_may_be_tried(
    site: Site, oidc_provider: RealProvider
) -> None:
    """Whoever is called admin at the provider does not become the administrator.

    GHSA-xvh7-74g6-29xw.
    """
    oidc_provider.user("evil", name="admin", email="admin@example.com")
    browser = site.browser()
    await sign_in(site, oidc_provider, browser, "evil")
    taken = await onboard(browser, "admin")
    assert taken.status_code == 409
    assert "taken" in taken.text
    assert await site.who(browser) is None
    assert (await onboard(browser, "a b")).status_code == 400
    assert (await onboard(browser, "robot$x")).status_code == 400
    assert (await onboard(browser, "other")).status_code == 200
    assert not (await site.who(browser)).principal.sysadmin
    site.settings.turn(oidc_auto_onboard=True)
    oidc_provider.user("evil2", name="admin", email="x@example.com")
    second = site.browser()
    assert (await sign_in(site, oidc_provider, second, "evil2")).status_code == 409
    assert await site.who(second) is None


async def test_accounts_are_made_by_themselves_where_that_is_set(
    site: Site, oidc_provider: RealProvider
) -> None:
    """Under the name that a claim holds; who is renamed there keeps the account."""
    site.settings.turn(oidc_auto_onboard=True)
    browser = site.browser()
    assert (await sign_in(site, oidc_provider, browser)).headers["location"] == "/harbor/projects"
    login = await site.who(browser)
    user = await site.replica.users.get(login.principal.id)
    assert (user.username, user.email) == ("kim", "kim@example.com")
    oidc_provider.user("kim-id", name="kimberley", email="other@example.com")
    second = site.browser()
    await sign_in(site, oidc_provider, second)
    assert (await site.who(second)).principal == login.principal
    oidc_provider.user("someone-else", name="kim", email="kim@example.com")
    third = site.browser()
    assert (await sign_in(site, oidc_provider, third, "someone-else")).status_code == 409


async def test_groups_and_administrators_are_those_of_the_last_sign_in(
    site: Site, oidc_provider: RealProvider
) -> None:
    """Only groups that fit the filter; the group of administrators counts all the same.

    GO-2025-3409, CVE-2025-23208.
    """
    site.settings.turn(oidc_auto_onboard=True, oidc_group_filter="st.*", oidc_admin_group="bosses")
    oidc_provider.user("kim-id", name="kim", groups=["staff", "bosses", 7, "x" * 999])
    browser = site.browser()
    await sign_in(site, oidc_provider, browser)
    login = await site.who(browser)
    assert login.principal.sysadmin
    assert await site.groups() == {"staff"}
    oidc_provider.user("kim-id", name="kim", groups=["store"])
    second = site.browser()
    await sign_in(site, oidc_provider, second)
    assert not (await site.who(second)).principal.sysadmin
    assert await site.who(browser) is None, "rights that ended end everywhere"
    assert await site.groups() == {"store"}


async def test_a_callback_works_once_and_in_one_browser(
    site: Site, oidc_provider: RealProvider
) -> None:
    """Neither again, nor in another browser, nor with another state or code."""
    site.settings.turn(oidc_auto_onboard=True)
    victim, attacker = site.browser(), site.browser()
    back = await to_provider(site, oidc_provider, attacker)
    assert (await victim.get(back)).status_code == 401, "no cookie"
    other = await to_provider(site, oidc_provider, victim)
    assert (await victim.get(back)).status_code == 401, "the attacker's state"
    assert (await victim.get(other)).status_code == 401, "its row went with the wrong try"
    mine = await to_provider(site, oidc_provider, victim)
    swapped = mine.replace(
        parse_qs(urlsplit(mine).query)["code"][0], parse_qs(urlsplit(back).query)["code"][0]
    )
    assert (await victim.get(swapped)).status_code == 401, "the attacker's code: PKCE"
    last = await to_provider(site, oidc_provider, victim)
    cookies = dict(victim.cookies)
    assert (await victim.get(last)).status_code == 302
    replay = site.browser()
    replay.cookies.update(cookies)
    assert (await replay.get(last)).status_code == 401
    assert await site.who(replay) is None
    for query in ("", "?error=access_denied", "?state=x", "?code=x&code=y&state=z"):
        assert (await victim.get(CALLBACK + query)).status_code == 401
    assert await site.users() == 2


async def test_another_replica_finishes_what_one_began(
    site: Site, oidc_provider: RealProvider
) -> None:
    """And after a restart: the row is in the database."""
    site.settings.turn(oidc_auto_onboard=True)
    browser = site.browser()
    back = await to_provider(site, oidc_provider, browser)
    other = site.browser(site.another_replica())
    other.cookies.update(browser.cookies)
    assert (await other.get(back)).status_code == 302
    assert (await site.who(other)).principal.name == "kim"


async def test_two_who_want_one_name_get_one_account(
    site: Site, oidc_provider: RealProvider
) -> None:
    """The other is told, and may choose again."""
    oidc_provider.user("lee-id", name="lee")
    browsers = [site.browser(), site.browser()]
    for browser, sub in zip(browsers, ("kim-id", "lee-id"), strict=True):
        await sign_in(site, oidc_provider, browser, sub)
    answers = await asyncio.gather(*(onboard(browser, "star") for browser in browsers))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    loser = browsers[[answer.status_code for answer in answers].index(409)]
    assert (await onboard(loser, "moon")).status_code == 200


async def test_the_cli_secret_outlives_the_session_and_opens_none(
    site: Site, oidc_provider: RealProvider
) -> None:
    """For docker and the like; stored hashed, and a new one counts at once."""
    site.settings.turn(oidc_auto_onboard=True)
    browser = site.browser()
    await sign_in(site, oidc_provider, browser)
    kim = (await site.who(browser)).principal
    users, logins = site.replica.users, site.replica.logins
    assert await logins.verify("kim", "", "10.0.0.1") is None
    made = await users.set_cli_secret(kim, kim.id, None)
    login = await logins.verify("kim", made, "10.0.0.1")
    assert login is not None
    assert login.principal.id == kim.id
    assert await site.replica.standings.of(login.principal)
    await browser.get("/c/oidc/logout")
    assert await site.who(browser) is None
    assert await logins.verify("kim", made, "10.0.0.1")
    token = (await browser.get("/c/oidc/nothing")).headers[TOKEN]
    form = {"principal": "kim", "password": made}
    refused = await browser.post("/c/login", data=form, headers={TOKEN: token})
    assert refused.status_code == 401
    await users.set_cli_secret(kim, kim.id, "Chosen-secret-1")
    assert await site.replica.standings.of(login.principal) is None
    assert await logins.verify("kim", made, "10.0.0.1") is None
    assert await logins.verify("kim", "Chosen-secret-1", "10.0.0.1")
    with pytest.raises(Invalid):
        await users.set_cli_secret(kim, kim.id, "weak")
    admin = (await logins.verify("admin", PASSWORD, "10.0.0.1")).principal  # type: ignore[union-attr]
    with pytest.raises(PreconditionFailed):
        await users.set_cli_secret(admin, admin.id, None)
    async with site.db.read() as tx:
        stored = (await tx.execute(select(tables.users.c.cli_secret_hash))).scalars().all()
    assert "Chosen-secret-1" not in str(stored)


async def test_local_accounts_sign_in_beside_it(site: Site) -> None:
    """The administrator gets in whatever the provider does."""
    browser = site.browser()
    token = (await browser.get("/c/oidc/nothing")).headers[TOKEN]
    form = {"principal": "admin", "password": PASSWORD}
    assert (await browser.post("/c/login", data=form, headers={TOKEN: token})).status_code == 200
    assert (await site.who(browser)).principal.sysadmin


async def test_signing_out_ends_the_session_at_the_provider_too(
    site: Site, oidc_provider: RealProvider
) -> None:
    """Where that is set; home otherwise."""
    browser = site.browser()
    assert (await browser.get("/c/oidc/logout")).headers["location"] == "/"
    site.settings.turn(oidc_logout=True)
    there = (await browser.get("/c/oidc/logout")).headers["location"]
    assert there.startswith(f"{oidc_provider.issuer}/oauth2/end_session?")
    assert parse_qs(urlsplit(there).query)["post_logout_redirect_uri"] == [f"{HOME}/"]


async def test_in_another_mode_there_is_no_such_sign_in(
    site: Site, oidc_provider: RealProvider
) -> None:
    """403, without asking the provider; nor for whoever was about to choose a name."""
    began = site.browser()
    assert ONBOARD in (await sign_in(site, oidc_provider, began)).headers["location"]
    site.settings.turn(auth_mode="db_auth")
    assert (await onboard(began, "kim")).status_code == 403
    assert (await site.browser().get("/c/oidc/login")).status_code == 403
    assert (await site.browser().get(CALLBACK + "?state=x&code=y")).status_code == 403


async def test_no_secret_is_logged(
    site: Site, oidc_provider: RealProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the client's, nor codes, tokens and cookies, when it works and when it fails."""
    caplog.set_level(logging.DEBUG)
    site.settings.turn(oidc_auto_onboard=True)
    browser = site.browser()
    back = await to_provider(site, oidc_provider, browser)
    code = parse_qs(urlsplit(back).query)["code"][0]
    pending = browser.cookies["oidc"]
    await browser.get(back)
    await browser.get(back)
    ours = [r for r in caplog.records if r.name.startswith("moorage")]
    text = "\n".join(record.getMessage() for record in ours)
    for secret in ("canary-client-secret", code, pending, browser.cookies["sid"]):
        assert secret not in text
    async with site.db.read() as tx:
        facts = str((await tx.execute(select(tables.outbox.c.payload))).all())
    assert code not in facts
    assert pending not in facts


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/harbor/projects?x=1", "/harbor/projects?x=1"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("javascript:alert(1)", "/"),
        ("/" + "a" * 1999, "/" + "a" * 1999),
        ("/" + "a" * 2000, "/"),
    ],
)
def test_a_browser_is_only_sent_to_paths_of_this_server(text: str, path: str) -> None:
    """No open redirect, and no header of somebody else's.

    GO-2024-2915, zot 3844.
    """
    assert own_path(text) == path


# --- a provider that lies


@pytest.fixture
async def lied_to(database: Database, lying_provider: LyingProvider) -> AsyncIterator[Site]:
    """Accounts are made by themselves."""
    made = Site(database, lying_provider.issuer)
    made.settings.turn(oidc_auto_onboard=True, oidc_groups_claim="")
    yield made
    await made.replica.close()


async def attempt(site: Site, lying: LyingProvider) -> SignedIn:
    """A sign-in without pages."""
    began = await site.accounts.begin(HOME + CALLBACK, "/")
    state, code = lying.authorize(began.url)
    done = await site.accounts.finish(began.cookie, state, code)
    assert isinstance(done, SignedIn)
    return done


async def test_the_truth_signs_in(lied_to: Site, lying_provider: LyingProvider) -> None:
    """So that the lies below fail for what is wrong about them; the verifier is sent."""
    assert (await attempt(lied_to, lying_provider)).login.principal.name == "alice"
    assert len(lying_provider.verifiers[0]) >= 43


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "somebody-else"},
        {"aud": ["client", "somebody-else"]},
        {"aud": ["client", "somebody-else"], "azp": "somebody-else"},
        {"azp": "somebody-else"},
        {"nonce": "of-another-sign-in"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"iat": 99999999999},
        {"sub": ""},
        {"sub": None},
        {"sub": "x" * 300},
        {"sub": ["a"]},
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    lied_to: Site, lying_provider: LyingProvider, claims: dict[str, Any]
) -> None:
    """And makes no account."""
    lying_provider.claims = claims
    with pytest.raises(Unauthenticated):
        await attempt(lied_to, lying_provider)
    assert await lied_to.users() == 0


async def test_several_audiences_are_fine_when_it_was_issued_to_us(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """As azp says."""
    lying_provider.claims = {"aud": ["client", "another"], "azp": "client"}
    assert await attempt(lied_to, lying_provider)


async def test_a_token_that_nobody_we_know_signed_is_refused(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """No signature, a MAC under the public key, another key, and a key that the header brings."""
    for lie in ("none", "mac"):
        setattr(lying_provider, lie, True)
        with pytest.raises(Unauthenticated):
            await attempt(lied_to, lying_provider)
        setattr(lying_provider, lie, False)
    stranger, known = new_key("one"), lying_provider.key
    lying_provider.published = [known]
    lying_provider.key = stranger
    with pytest.raises(Unauthenticated):
        await attempt(lied_to, lying_provider)
    lying_provider.header = {"jwk": stranger.as_dict(private=False)}
    with pytest.raises(Unauthenticated):
        await attempt(lied_to, lying_provider)
    assert await lied_to.users() == 0


async def test_a_new_key_is_found_and_an_unknown_one_is_no_lever(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """Keys are looked for again, but not at everybody's bidding."""
    moment = [1000.0]
    lied_to.issuers._monotonic = lambda: moment[0]
    await attempt(lied_to, lying_provider)
    assert lying_provider.looks == 1
    lying_provider.key = new_key("two")
    moment[0] += LOOK_AGAIN
    assert await attempt(lied_to, lying_provider)
    assert lying_provider.looks == 2
    lying_provider.published = [lying_provider.key]
    lying_provider.key = new_key("three")
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await attempt(lied_to, lying_provider)
    assert lying_provider.looks == 2


async def test_a_provider_that_calls_itself_otherwise_is_none(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """A mix-up with another issuer ends before anything is sent to it."""
    lying_provider.said_issuer = "https://other.example"
    with pytest.raises(Invalid):
        await lied_to.accounts.begin(HOME + CALLBACK, "/")
    settings = OidcSettings.of(lied_to.settings.values)
    lying_provider.said_issuer = ""
    assert (await lied_to.provider.discover(settings.issuer, verify=True)).issuer


async def test_one_network_begins_so_many_sign_ins(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """Those that were finished do not count, and other networks are not in its way."""

    async def begin(address: str) -> Began:
        return await lied_to.accounts.begin(HOME + CALLBACK, "/", address)

    begun = [await begin(f"10.0.0.{number}") for number in range(MOST)]
    with pytest.raises(TooManyRequests):
        await begin("::ffff:10.0.0.200")
    assert await begin("10.0.1.1")
    state, code = lying_provider.authorize(begun[0].url)
    assert await lied_to.accounts.finish(begun[0].cookie, state, code)
    assert await begin("10.0.0.200")
    with pytest.raises(TooManyRequests):
        await begin("10.0.0.200")
    async with lied_to.db.write() as tx:
        await tx.execute(tables.pending_sign_ins.update().values(expires_at=from_now(-1)))
    assert await begin("10.0.0.200")


async def test_too_many_sign_ins_are_told_when_to_come_back(
    site: Site, oidc_provider: RealProvider
) -> None:
    """By a status that says so."""
    row = {"data": b"", "network": "127.0.0.0/24", "expires_at": from_now(60)}
    async with site.db.write() as tx:
        for number in range(MOST):
            await tx.execute(tables.pending_sign_ins.insert().values(digest=str(number), **row))
    refused = await site.browser().get("/c/oidc/login")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"


async def test_a_code_that_the_provider_refuses_signs_nobody_in(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """Whatever its answer holds."""
    lying_provider.token_status = 400
    with pytest.raises(Unauthenticated):
        await attempt(lied_to, lying_provider)


async def test_a_local_account_of_that_name_stays_its_own(
    lied_to: Site, lying_provider: LyingProvider
) -> None:
    """One without a password as well."""
    await lied_to.replica.users.create(COMMAND_LINE, "alice", None)
    with pytest.raises(Conflict):
        await attempt(lied_to, lying_provider)


def test_settings_that_cannot_work_say_so() -> None:
    """Before anybody signs in."""
    good: dict[str, Any] = {"oidc_endpoint": "https://x.example/realm/", "oidc_client_id": "c"}
    assert OidcSettings.of(Configuration(**good)).issuer == "https://x.example/realm"
    for wrong in (
        {"oidc_endpoint": ""},
        {"oidc_endpoint": "x.example"},
        {"oidc_endpoint": "https://u:p@x.example"},
        {"oidc_endpoint": "https://x.example?y=1"},
        {"oidc_client_id": ""},
        {"oidc_extra_redirect_parms": "[]"},
        {"oidc_extra_redirect_parms": '{"state": "mine"}'},
        {"oidc_extra_redirect_parms": '{"a": 1}'},
    ):
        with pytest.raises(Invalid):
            OidcSettings.of(Configuration(**{**good, **wrong}))
