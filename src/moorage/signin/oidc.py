"""Sign-in by OpenID Connect with a browser, below `/c/oidc/`.

    GET  /c/oidc/login?redirect_url=/harbor   ─► 302 to the provider
    GET  /c/oidc/callback?code=…&state=…      ─► 302 to redirect_url with a session, or, for
                                                somebody new, to /oidc-onboard
    POST /c/oidc/onboard  {"username": "kim"} ─► 200 with a session; 409: taken, try another
    GET  /c/oidc/logout                       ─► 302 home, by the provider's page where it is set

The paths are Harbor's.
"""

from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from moorage.accounts.oidc import OidcAccounts, Onboarding, SignedIn
from moorage.accounts.sessions import Sessions
from moorage.errors import Invalid, TooLarge, Unauthenticated
from moorage.signin.forms import MAX_FORM, address, one, parameters
from moorage.signin.problems import NO_STORE
from moorage.web.csrf import SESSION_COOKIE, cookie, cookies

PENDING_COOKIE = "oidc"
CALLBACK = "/c/oidc/callback"
ONBOARD = "/oidc-onboard"
MAX_PATH = 2000
"""Characters of a path that is kept until the browser comes back."""


class OidcPages:
    """The pages; `external_url` is where the provider sends browsers back to."""

    def __init__(
        self, accounts: OidcAccounts, sessions: Sessions, *, external_url: str, secure: bool
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._external_url = external_url
        self._secure = secure

    async def login(self, request: Request) -> Response:
        """Send the browser to the provider."""
        target = own_path(one(parameters(request.scope["query_string"]), "redirect_url"))
        back = self._home(request) + CALLBACK
        began = await self._accounts.begin(back, target, address(request))
        return self._redirect(began.url, self._pending(began.cookie))

    async def callback(self, request: Request) -> Response:
        """Take the browser back from the provider."""
        fields = parameters(request.scope["query_string"])
        if one(fields, "error"):
            raise Unauthenticated("the provider did not sign anybody in")
        kept = cookies(request.scope).get(PENDING_COOKIE, "")
        done = await self._accounts.finish(kept, one(fields, "state"), one(fields, "code"))
        if isinstance(done, Onboarding):
            said = urlencode({"username": done.username, "redirect_url": done.target})
            return self._redirect(f"{ONBOARD}?{said}", self._pending(done.cookie))
        response = self._redirect(done.target, self._pending(""))
        return await self._signed_in(request, done, response)

    async def onboard(self, request: Request) -> Response:
        """Make the account under the name that somebody chose."""
        kept = cookies(request.scope).get(PENDING_COOKIE, "")
        done = await self._accounts.onboard(kept, await _username(request))
        response = Response(headers=NO_STORE)
        response.raw_headers.append((b"set-cookie", self._pending("").encode()))
        return await self._signed_in(request, done, response)

    async def logout(self, request: Request) -> Response:
        """End the session here, and at the provider where that is set."""
        secret = cookies(request.scope).get(SESSION_COOKIE)
        if secret:
            await self._sessions.close(secret)
        home = self._home(request) + "/"
        elsewhere = await self._accounts.end_session(home)
        ended = cookie(SESSION_COOKIE, "", secure=self._secure, ends=True)
        return self._redirect(elsewhere or "/", ended)

    async def _signed_in(self, request: Request, done: SignedIn, response: Response) -> Response:
        before = cookies(request.scope).get(SESSION_COOKIE)
        if before:
            await self._sessions.close(before)
        secret = await self._sessions.open(done.login)
        session = cookie(SESSION_COOKIE, secret, secure=self._secure)
        response.raw_headers.append((b"set-cookie", session.encode()))
        return response

    def _redirect(self, url: str, set_cookie: str) -> Response:
        return Response(
            status_code=302, headers={**NO_STORE, "Location": url, "Set-Cookie": set_cookie}
        )

    def _pending(self, value: str) -> str:
        return cookie(PENDING_COOKIE, value, secure=self._secure, ends=not value)

    def _home(self, request: Request) -> str:
        return self._external_url or str(request.base_url).rstrip("/")


def own_path(text: str) -> str:
    """A path of this server, never the address of another; "/" for anything else."""
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) <= MAX_PATH
    return text if fine and text.isascii() and text.isprintable() and "\\" not in text else "/"


async def _username(request: Request) -> str:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise TooLarge(f"the body has at most {MAX_FORM} bytes")
    try:
        said = orjson.loads(bytes(body))
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("username"), str):
        raise Invalid('the body is {"username": "the name"}')
    return str(said["username"])
