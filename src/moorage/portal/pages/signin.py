"""Signing in and out: /account/sign-in, /account/sign-out, /oidc-onboard; and the way home."""

import hmac
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from moorage.portal.client import Problem
from moorage.portal.i18n import COOKIE, LANGUAGES
from moorage.portal.visits import Visit
from moorage.web.csrf import SESSION_COOKIE, cookie

HOME = "/harbor/projects"
_YEAR = 365 * 86400


def own_path(text: str) -> str:
    """A path of this portal, never an address elsewhere."""
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and "\\" not in text
    fine = fine and text.isascii() and text.isprintable() and len(text) <= 2000
    return text if fine and not text.startswith("/account/sign-") else HOME


async def home(visit: Visit) -> Response:
    """The front door."""
    return RedirectResponse(HOME, 303)


async def sign_in(visit: Visit) -> Response:
    """Name and password, or the way to the provider."""
    shell = await visit.shell()
    target = own_path(visit.query.get("redirect_url", "") or visit.field("redirect_url"))
    if shell.user is not None and visit.problem is None:
        return visit.done(target)
    oidc = f"/c/oidc/login?{urlencode({'redirect_url': target})}"
    problem = visit.problem
    if problem is not None and problem.status == 401:
        message = visit.gettext("Wrong name or password.")
        visit.problem = Problem(401, problem.code, message)
    return await visit.render("sign_in.html", target=target, oidc=oidc)


async def enter(visit: Visit) -> Response:
    """Open a session."""
    answer = await visit.api.ask(
        visit.visitor,
        "POST",
        "/c/login",
        form={"principal": visit.field("principal"), "password": visit.raw("password")},
    )
    visit.keep(*answer.headers.getlist("set-cookie"))
    return visit.done(own_path(visit.field("redirect_url")))


async def leave(visit: Visit) -> Response:
    """End the session. The API takes that by GET, so the token of the form is compared here."""
    shell = await visit.shell()
    if not shell.csrf or not hmac.compare_digest(visit.visitor.csrf, shell.csrf):
        raise Problem(403, "FORBIDDEN", visit.gettext("The page was too old. Try again."))
    if shell.info.auth_mode == "oidc_auth":
        return RedirectResponse("/c/oidc/logout", 303)
    answer = await visit.api.ask(visit.visitor, "GET", "/c/log_out")
    visit.keep(*answer.headers.getlist("set-cookie"))
    visit.keep(cookie(SESSION_COOKIE, "", secure=visit.secure, ends=True))
    return visit.done("/account/sign-in")


async def onboarding(visit: Visit) -> Response:
    """Whoever came from the provider for the first time chooses a name."""
    return await visit.render("onboard.html", name=visit.query.get("username", "")[:255])


async def onboard(visit: Visit) -> Response:
    """Make the account under that name."""
    answer = await visit.api.ask(
        visit.visitor, "POST", "/c/oidc/onboard", body={"username": visit.field("username")}
    )
    visit.keep(*answer.headers.getlist("set-cookie"))
    return visit.done(own_path(visit.query.get("redirect_url", "")))


async def sign_up(visit: Visit) -> Response:
    """An account of one's own, where that is allowed."""
    shell = await visit.shell()
    if not shell.info.self_registration or shell.info.auth_mode != "db_auth":
        raise Problem(404, "NOT_FOUND", visit.gettext("There is no such page."))
    return await visit.render("sign_up.html")


async def register(visit: Visit) -> Response:
    """Make the account."""
    if visit.raw("password") != visit.raw("again"):
        raise Problem(400, "BAD_REQUEST", visit.gettext("The two passwords differ."))
    names = ("username", "email", "realname")
    body = {name: visit.field(name) for name in names} | {"password": visit.raw("password")}
    await visit.send("POST", "/users", body)
    return visit.done("/account/sign-in", visit.gettext("Your account is there. Sign in."))


async def language(visit: Visit) -> Response:
    """Keep the language that somebody chose."""
    chosen = visit.field("lang")
    target = own_path(visit.field("redirect_url"))
    if chosen not in LANGUAGES:
        return visit.done(target)
    visit.keep(f"{cookie(COOKIE, chosen, secure=visit.secure)}; Max-Age={_YEAR}")
    return visit.done(target)


ROUTES = (
    ("/", home, None),
    ("/harbor", home, None),
    ("/account/sign-in", sign_in, enter),
    ("/account/sign-out", home, leave),
    ("/account/sign-up", sign_up, register),
    ("/account/language", home, language),
    ("/oidc-onboard", onboarding, onboard),
)
