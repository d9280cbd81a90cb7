"""Harbor's REST API, as far as it is needed here."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

from moorage.errors import Denied, Invalid, Unreachable
from moorage.outgoing import Guard

ANSWER_BYTES = 32 << 20
SECONDS = 60.0
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any  # of JSON; None where there is none
    location: str

    @property
    def good(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    @property
    def id(self) -> int:
        """The number of what was made; 0 where the answer does not tell."""
        last = self.location.rstrip("/").rpartition("/")[2]
        return int(last) if last.isdigit() else 0

    @property
    def why(self) -> str:
        """What was wrong, in the other's words."""
        errors = self.body.get("errors") if isinstance(self.body, Mapping) else None
        if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
            return str(errors[0].get("message", ""))[:300] or f"status {self.status}"
        return f"status {self.status}"


class Harbor:
    """One of them; use as a context manager."""

    def __init__(
        self, guard: Guard, url: str, username: str, password: str, *, verify: bool = True
    ) -> None:
        """Raises Invalid for what is no URL."""
        if not url.startswith(("http://", "https://")):
            raise Invalid(f"{url}: an address begins with https://")
        self.url = url.rstrip("/")
        self._client = guard.client(
            verify=verify,
            seconds=SECONDS,
            limit=ANSWER_BYTES,
            auth=(username, password),
            base_url=f"{self.url}/api/v2.0/",
            headers={"accept": "application/json"},
        )

    async def __aenter__(self) -> "Harbor":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One request; raises Unreachable, AddressRefused, Denied (the credentials are wrong)."""
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        answer = await self._client.request(
            method, path.lstrip("/"), content=content, headers=headers, params=query
        )
        if answer.status_code == 401:
            raise Denied(f"{self.url} does not take these credentials")
        if answer.status_code >= 500:
            raise Unreachable(f"{self.url} answered {answer.status_code} to {method} {path}")
        try:
            read = answer.json() if answer.content else None
        except ValueError:
            read = None
        return Answer(answer.status_code, read, answer.headers.get("location", ""))

    async def get(self, path: str, **query: Any) -> Any:
        """What is there; None where it is not, or not shown to us."""
        answer = await self.ask("GET", path, **query)
        return answer.body if answer.good else None

    async def every(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        """All entries of a list; none where there is no such list."""
        page = 1
        while True:
            found = await self.get(path, **query, page=page, page_size=_PAGE)
            if not isinstance(found, list):  # an empty list may be `null`
                return
            for entry in found:
                yield entry
            if len(found) < _PAGE:
                return
            page += 1


def named(text: str) -> str:
    """A name as a part of a path; one with slashes is encoded twice, as Harbor wants it."""
    return quote(quote(text, safe=""), safe="") if "/" in text else quote(text, safe="")
