"""Signing in and out with a browser: `/c/login`, `/c/log_out`, `/c/userExists`.

    POST /c/login        form principal, password ─► 200 and the cookie `sid`; 401
    GET  /c/log_out      the session ends
    /c/oidc/…            by OpenID Connect: see `oidc`
    POST /c/userExists   form target (username or email), value ─► true or false

The paths and fields are Harbor's.
"""

import logging
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moorage.accounts.sessions import Sessions
from moorage.accounts.users import Users
from moorage.errors import Denied, Invalid, MoorageError, Unauthenticated
from moorage.settings import Current
from moorage.signin.forms import address, form, one
from moorage.signin.oidc import OidcPages
from moorage.signin.problems import NO_STORE, problem, render
from moorage.web.callers import Callers
from moorage.web.csrf import SESSION_COOKIE, cookie, cookies
from moorage.web.failures import report

log = logging.getLogger(__name__)

PREFIX = "/c/"

Page = Callable[[Request], Awaitable[Response]]


class SigninPages:
    """An ASGI application for the paths below `/c/`."""

    def __init__(
        self,
        callers: Callers,
        sessions: Sessions,
        users: Users,
        settings: Current,
        oidc: OidcPages | None = None,
        *,
        secure: bool,
    ) -> None:
        """`secure` says that browsers reach this installation by https alone."""
        self._callers = callers
        self._sessions = sessions
        self._users = users
        self._settings = settings
        self._secure = secure
        self._pages: dict[tuple[str, str], Page] = {
            ("/c/login", "POST"): self._login,
            ("/c/log_out", "GET"): self._log_out,
            ("/c/userExists", "POST"): self._user_exists,
        }
        if oidc is not None:
            self._pages |= {
                ("/c/oidc/login", "GET"): oidc.login,
                ("/c/oidc/callback", "GET"): oidc.callback,
                ("/c/oidc/onboard", "POST"): oidc.onboard,
                ("/c/oidc/logout", "GET"): oidc.logout,
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{PREFIX} speaks only HTTP, not {scope['type']}")
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, method = request.scope["path"], request.method
        page = self._pages.get((path, method))
        if page is None:
            allowed = [known for known_path, known in self._pages if known_path == path]
            if allowed:
                allow = {"Allow": ", ".join(allowed)}
                return problem(405, "METHOD_NOT_ALLOWED", "method not allowed", allow)
            return problem(404, "NOT_FOUND", "not found")
        try:
            return await page(request)
        except MoorageError as error:
            report(error, method, path)
            return render(error, challenge=False)
        except ClientDisconnect:
            return problem(400, "BAD_REQUEST", "the client is gone")
        except Exception:
            log.exception("%s %s failed", method, path)
            return problem(500, "UNKNOWN", "internal server error")

    async def _login(self, request: Request) -> Response:
        fields = await form(request)
        name, password = one(fields, "principal"), one(fields, "password")
        login = await self._callers.check(name, password, address(request))
        if login is None or not login.opens_session:
            raise Unauthenticated("wrong name or password")
        await self._end(request)
        secret = await self._sessions.open(login)
        return self._done(cookie(SESSION_COOKIE, secret, secure=self._secure))

    async def _log_out(self, request: Request) -> Response:
        await self._end(request)
        return self._done(cookie(SESSION_COOKIE, "", secure=self._secure, ends=True))

    async def _user_exists(self, request: Request) -> Response:
        """For whoever may make an account, so that a taken name is told before the form is sent."""
        settings = await self._settings.current()
        secret = cookies(request.scope).get(SESSION_COOKIE, "")
        login = await self._sessions.find(secret) if secret else None
        admin = login is not None and login.principal.sysadmin
        if not settings.self_registration and not admin:
            raise Denied("self registration is switched off")
        fields = await form(request)
        target, value = one(fields, "target"), one(fields, "value")
        if target == "username":
            exists = await self._users.exists(username=value)
        elif target == "email":
            exists = await self._users.exists(email=value)
        else:
            raise Invalid("target is username or email")
        return Response(orjson.dumps(exists), headers=NO_STORE, media_type="application/json")

    async def _end(self, request: Request) -> None:
        secret = cookies(request.scope).get(SESSION_COOKIE)
        if secret:
            await self._sessions.close(secret)

    def _done(self, set_cookie: str) -> Response:
        return Response(headers={**NO_STORE, "Set-Cookie": set_cookie})
