"""One request to the portal: who asks, in which language, and how an answer is made.

The shell of a page (who is signed in, the installation, the CSRF token) is asked for while the page
asks for its own data. The token is the API's; what stands in forms is masked anew in every page, so
that compressed answers do not give it away letter by letter (BREACH).
"""

import asyncio
import base64
import binascii
import re
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from moorage.portal import amounts, i18n
from moorage.portal.client import (
    CSRF_HEADER,
    PREFIX,
    Listing,
    PortalApi,
    Problem,
    Visitor,
    listing,
    plain,
)
from moorage.portal.core import Answer
from moorage.portal.parts import DEFAULT_SIZE, PAGE_SIZES, Form, View
from moorage.portal.shapes.accounts import User
from moorage.portal.shapes.installation import SystemInfo
from moorage.portal.shapes.shape import Shape
from moorage.web.csrf import CSRF_COOKIE, SESSION_COOKIE, cookie, cookies

if TYPE_CHECKING:
    from moorage.portal.rendering import Templates

T = TypeVar("T", bound=Shape)
R = TypeVar("R", bound=Response)
A = TypeVar("A")

FLASH = "flash"
_PASSED = (SESSION_COOKIE, CSRF_COOKIE, "oidc")
_PLAIN = re.compile(r"[!#-+\--:<-\[\]-~]+")  # RFC 6265, "cookie-octet"
_MOST_PAGES = 10**6
_MOST_ASKED = 50
"""Pages of a list of choices: nobody finds anything among more."""
OF_A_LIST = frozenset(
    (
        *("q", "sort", "page", "size"),
        *("view", "type", "tagged", "label", "public", "kind"),
        *("who", "operation", "status", "days"),
        *("tokens", "execution", "run", "task", "job"),  # opened beside it
    )
)
"""Parameters of the list that a page shows: each link back to it says them again."""
_LONGEST_KEPT = 2048
"""Characters of them, escaped: no name of anything is longer, and there are links in every line."""
_DEFAULTS: Mapping[str, Any] = {
    "title": "",
    "glyph": "box",
    "subtitle": "",
    "badges": (),
    "crumbs": (),
    "tabs": (),
    "views": (),  # of the tab that is open
    "stats": (),
    "actions": (),
    "form": None,
    "secret": None,
    "sections": (),
    "live": False,
}
"""What a template may leave out."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What stands around every page."""

    user: User | None
    info: SystemInfo
    csrf: str

    @property
    def admin(self) -> bool:
        """Whether the visitor administers the installation."""
        return self.user is not None and (self.user.sysadmin_flag or self.user.admin_role_in_auth)


class Visit:
    """A request, and everything a page needs to answer it."""

    def __init__(
        self,
        api: PortalApi,
        templates: "Templates",
        request: Request,
        form: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.api = api
        self.request = request
        self.path = request.scope["path"]
        self.params: Mapping[str, Any] = request.path_params
        self.query = request.query_params
        self.form = form or {}
        self.problem: Problem | None = None
        self.notice = ""
        """What came of a form that is shown again as it was typed: a test, a preview."""
        self._templates = templates
        self._cookies = cookies(request.scope)
        self.language = i18n.choose(
            self._cookies.get(i18n.COOKIE, ""), request.headers.get("accept-language", "")
        )
        self._texts = templates.texts[self.language]
        self.visitor = self._visitor(quiet="live" in self.query)
        self._shell: asyncio.Task[Shell] | None = None
        self._set: list[str] = []

    def _visitor(self, *, quiet: bool) -> Visitor:
        request = self.request
        known = {name: self._cookies.get(name, "") for name in _PASSED}
        # Ours are plain; what is not cannot be in a header, or would be another cookie.
        passed = {name: value for name, value in known.items() if _PLAIN.fullmatch(value)}
        return Visitor(
            cookies="; ".join(f"{name}={value}" for name, value in passed.items()),
            address=request.client.host if request.client else "",
            scheme=request.scope["scheme"],
            csrf=unmasked(self.field("csrf")),
            quiet=quiet,
        )

    # --- what was sent

    def field(self, name: str) -> str:
        """A field of the form that was posted; nothing when it is not there."""
        values = self.form.get(name, ())
        return values[0].strip() if values else ""

    def raw(self, name: str) -> str:
        """The same with its spaces: passwords and texts."""
        values = self.form.get(name, ())
        return values[0] if values else ""

    def fields(self, name: str) -> Sequence[str]:
        """All values of a field."""
        return self.form.get(name, ())

    def checked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.form.get(name))

    def integer(self, name: str, default: int = 0) -> int:
        """A number of the form; raises Problem."""
        said = self.field(name)
        if not said:
            return default
        try:
            return int(said)
        except ValueError:
            raise Problem(400, "BAD_REQUEST", self.gettext("Give a number.")) from None

    def amount(self, name: str) -> int:
        """Bytes of the form, -1 for no limit; raises Problem."""
        try:
            return amounts.read(self.field(name))
        except ValueError:
            message = self.gettext(
                "Give a size such as 512 MiB, 1.5 GiB or 2 TiB, or -1 for no limit."
            )
            raise Problem(400, "BAD_REQUEST", message) from None

    def chosen(self, *names: str) -> dict[str, str]:
        """Those parameters of the URL that are there."""
        return {name: self.query[name] for name in names if self.query.get(name)}

    def view(self, *kept: str, sort: str = "") -> View:
        """What the URL says of the list on this page; strange values mean the first page."""
        page = _bounded(self.query.get("page"), 1, 1, _MOST_PAGES)
        size = _bounded(self.query.get("size"), DEFAULT_SIZE, 1, max(PAGE_SIZES))
        return View(
            self.path,
            page=page,
            size=size if size in PAGE_SIZES else DEFAULT_SIZE,
            sort=self.query.get("sort", "") or sort,
            kept=self.chosen("q", *kept),
        )

    # --- the API

    async def get(self, shape: type[T], path: str, **query: Any) -> T:
        """One thing; raises Problem."""
        return await self.api.get(self.visitor, shape, path, **query)

    async def all(self, shape: type[T], path: str, **query: Any) -> Listing[T]:
        """Items of a list; raises Problem."""
        return await self.api.all(self.visitor, shape, path, **query)

    async def every(self, shape: type[T], path: str, **query: Any) -> Sequence[T]:
        """All of a list, by name, for forms to choose from; raises Problem."""
        found: list[T] = []
        for page in range(1, _MOST_ASKED + 1):
            more = await self.all(shape, path, page=page, page_size=100, sort="name", **query)
            found += more.items
            if not more.items or len(found) >= more.total:
                break
        return found

    async def page(self, shape: type[T], path: str, view: View, **query: Any) -> Listing[T]:
        """One page of a list as the view says; raises Problem."""
        query.setdefault("sort", view.sort)
        return await self.all(shape, path, page=view.page, page_size=view.size, **query)

    async def unless_gone(self, asked: Awaitable[A]) -> A | None:
        """What a part of the page is about. What is not there any more takes only its own part
        away: the page says so. Raises Problem."""
        try:
            return await asked
        except Problem as problem:
            if problem.status != 404:
                raise
            self.problem = self.problem or problem
            return None

    async def text(self, path: str) -> str:
        """A document; raises Problem."""
        return await self.api.text(self.visitor, path)

    async def prose(self, text: str) -> Markup:
        """Markdown as HTML."""
        return await self._templates.prose.html(text)

    async def send(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """Change something in the visitor's name; raises Problem."""
        return await self.api.send(self.visitor, method, path, body, **query)

    async def preview(
        self, shape: type[T], path: str, body: Any, view: View, csrf: str
    ) -> Listing[T]:
        """A page of what something would do: asked by POST, and nothing changes. Raises Problem."""
        visitor = replace(self.visitor, csrf=csrf)
        query = {"page": view.page, "page_size": view.size}
        return listing(shape, await self.api.send(visitor, "POST", path, body, **query))

    async def made(self, shape: type[T], path: str, body: Any) -> T:
        """Make something and get what the API tells of it this once; raises Problem."""
        answer = await self.send("POST", path, body)
        return shape.model_validate(plain(answer.content) or {})

    def begin(self) -> None:
        """Ask for the shell."""
        self._shell = asyncio.create_task(self._ask_shell())

    async def end(self) -> None:
        """Leave nothing running."""
        if self._shell is not None and not self._shell.done():
            self._shell.cancel()
        if self._shell is not None:
            await asyncio.gather(self._shell, return_exceptions=True)

    async def shell(self) -> Shell:
        """Who is signed in, and where; raises Problem."""
        if self._shell is None:
            self.begin()
        assert self._shell is not None
        return await self._shell

    async def _ask_shell(self) -> Shell:
        asked = [self.api.ask(self.visitor, "GET", f"{PREFIX}/systeminfo")]
        if SESSION_COOKIE in self._cookies:
            asked.append(self.api.ask(self.visitor, "GET", f"{PREFIX}/users/current"))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        first = answers[0]
        if isinstance(first, BaseException):
            raise first
        user = None
        if len(answers) > 1:
            second = answers[1]
            if isinstance(second, Answer):
                user = User.model_validate(plain(second.content))
            elif not (isinstance(second, Problem) and second.status in (401, 412)):
                raise second
        self._set += first.headers.getlist("set-cookie")
        info = SystemInfo.model_validate(plain(first.content))
        return Shell(user, info, first.headers.get(CSRF_HEADER, ""))

    # --- answers

    @property
    def secure(self) -> bool:
        """Whether the browser came by https."""
        return self.visitor.scheme == "https"

    @property
    def host(self) -> str:
        """The registry's name as clients say it, when the installation does not know its own."""
        return self.request.headers.get("host", "")

    def gettext(self, text: str, **values: object) -> str:
        """A text in the visitor's language."""
        found = self._texts.gettext(text)
        return found % values if values else found

    def ngettext(self, one: str, many: str, count: int, **values: object) -> str:
        """A text about several things in the visitor's language."""
        return self._texts.ngettext(one, many, count) % {"count": count, **values}

    async def render(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page; one with a problem has the problem's status."""
        if self.problem is not None and status == 200:
            status = self.problem.status
        page = await self.text_of(template, **context)
        response = HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
        if self._cookies.get(FLASH) and "live" not in self.query:
            self._set.append(cookie(FLASH, "", secure=self.secure, ends=True))
        return self.with_cookies(response)

    async def text_of(self, template: str, **context: Any) -> str:
        """A template with what every page knows; raises Problem."""
        shell = await self.shell()
        return self._templates.render(
            self.language,
            template,
            {
                "visit": self,
                "shell": shell,
                "csrf": masked(shell.csrf),
                "problem": self.problem,
                "astray": self._astray(context),
                "notice": self.notice,
                "flash": "" if "live" in self.query else unquote(self._cookies.get(FLASH, "")),
                **_DEFAULTS,
                **context,
            },
        )

    def _astray(self, context: Mapping[str, Any]) -> bool:
        """Whether what went wrong stands in no form of the page: the one that was sent has it."""
        shown = (context.get("form"), *context.get("sections", ()))
        forms = [each for each in shown if isinstance(each, Form)]
        return not any(each.sends(self.field("op")) for each in forms)

    def done(self, url: str, said: str = "") -> Response:
        """Go on to another page, which says what happened."""
        response = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
        if said:
            text = cookie(FLASH, quote(said[:300], safe=""), secure=self.secure)
            self._set.append(f"{text}; Max-Age=30")
        return self.with_cookies(response)

    def keep(self, *set_cookies: str) -> None:
        """Hand these cookies to the browser with the answer."""
        self._set += set_cookies

    def with_cookies(self, response: R) -> R:
        """The answer with every cookie that was set on the way."""
        for text in self._set:
            response.raw_headers.append((b"set-cookie", text.encode("latin-1")))
        self._set = []
        return response

    @cached_property
    def kept(self) -> Mapping[str, str]:
        """What the address says of the list of this page, and nothing else that stands in it."""
        found, room = {}, _LONGEST_KEPT
        for name, text in self.query.items():
            length = len(urlencode({name: text})) if name in OF_A_LIST else 0
            if text and 0 < length <= room:
                found[name] = text
                room -= length
        return found

    @cached_property
    def back(self) -> str:
        """The list of this page as it stands: filtered, sorted and turned."""
        return self.listed({})

    def doing(self, do: str, number: object = "") -> str:
        """The same with a form over it, which may be about one of its lines."""
        said = urlencode({"do": do, "id": number} if number else {"do": do})
        return f"{self.back}{'&' if self.kept else '?'}{said}"

    def listed(self, more: Mapping[str, str]) -> str:
        """The same with more in its address, or without what is empty."""
        return self.here(**{**self.kept, **more})

    def here(self, **changes: str) -> str:
        """This page with other parameters."""
        said = {name: value for name, value in changes.items() if value}
        return f"{self.path}?{urlencode(said)}" if said else self.path


def masked(token: str) -> str:
    """A token under a pad of its own."""
    raw = token.encode()
    pad = secrets.token_bytes(len(raw))
    mixed = bytes(a ^ b for a, b in zip(raw, pad, strict=True))
    return base64.urlsafe_b64encode(pad + mixed).decode()


def unmasked(text: str) -> str:
    """What `masked` was given; nothing for anything else."""
    try:
        both = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        pad, mixed = both[: len(both) // 2], both[len(both) // 2 :]
        token = bytes(a ^ b for a, b in zip(pad, mixed, strict=True)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return token if token.isprintable() else ""


def _bounded(text: str | None, default: int, least: int, most: int) -> int:
    try:
        found = int(text) if text else default
    except ValueError:
        return default
    return found if least <= found <= most else default
