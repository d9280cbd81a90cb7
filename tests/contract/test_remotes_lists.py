"""Lists of another registry that have no end, or hold what is no name."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from tests.support.content import sha256
from tests.support.otherregistry import Answer, OtherRegistry, Request

from moorage.errors import Unreachable
from moorage.oci import media_types
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote, lists, reading
from moorage.remotes.reading import entries

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


def remote(stack: AsyncExitStack, other: OtherRegistry, kind: str = "docker-registry") -> Remote:
    """A client of it."""
    made = Remote(Guard((ip_network("127.0.0.0/8"),)), Endpoint(kind, other.url))
    stack.push_async_callback(made.close)
    return made


@dataclass
class Endless(OtherRegistry):
    """Whatever is listed, another page follows."""

    names: list[Any] = field(default_factory=list)
    annotation: str = ""
    pages: int = 0

    def _answer(self, request: Request) -> Answer:
        self.pages += 1
        link = {"link": f'<{request.path}?page={self.pages}>; rel="next"'}
        if "/referrers/" in request.path:
            listed = [
                {
                    "digest": sha256(b"%d" % self.pages),
                    "size": 1,
                    "annotations": {"a": self.annotation, "none": [1]},
                }
            ]
            kind = {"content-type": media_types.OCI_INDEX}
            return Answer(200, json.dumps({"manifests": listed}).encode(), link | kind)
        if request.path.startswith("/api/"):
            rows = [{"name": name, "path": name} for name in (self.names * 100)[:100]]
            found: Any = (
                {"repositories": rows, "next_page": "x"} if "/v1/" in request.path else rows
            )
            return Answer(200, json.dumps(found).encode())
        if "/v2/repositories/" in request.path:
            rows = [{"name": name} for name in self.names]
            body_ = {"results": rows, "next": f"{self.url}/v2/repositories/x/?{self.pages}"}
            return Answer(200, json.dumps(body_).encode())
        found = dict.fromkeys(("tags", "repositories"), self.names)
        return Answer(200, json.dumps(found).encode(), link)


@pytest.mark.parametrize("names", [[7, "x" * 600, "a\nb"], ["name"], ["n" * 500] * 50])
async def test_a_list_without_an_end_comes_to_one(
    stack: AsyncExitStack, names: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its pages hold names or not: neither time nor memory is for others to fill."""
    monkeypatch.setattr(lists, "MOST_PAGES", 30)
    monkeypatch.setattr(lists, "MOST_CHARACTERS", 100_000)
    other = Endless(names=names)
    async with other.serving():
        for kind in ("docker-registry", "quay", "docker-hub", "gitlab", "harbor"):
            client = remote(stack, other, kind)
            other.pages = 0
            assert client.adapter.catalog is not None
            with pytest.raises(Unreachable, match="without an end"):
                await client.adapter.catalog(client, "group/")
            assert 0 < other.pages <= 31, kind
        other.pages = 0
        with pytest.raises(Unreachable, match="without an end"):
            await client.tags(APP)
        assert other.pages <= 31


async def test_only_names_are_listed(stack: AsyncExitStack) -> None:
    """What has lines or is none would stand in the log of a job as something else."""
    other = await stack.enter_async_context(OtherRegistry().serving())
    client = remote(stack, other)
    for kept, sent in (
        (["a"], ["a", "b\nERROR c", "", 7, None, "x" * 600]),
        (["b", "a"], ["b", "a", "b", *["a"] * 1000]),
        ([], "abc"),
    ):
        other.answers = [Answer(200, json.dumps({"tags": sent}).encode())]
        assert await client.tags(APP) == kept


async def test_referrers_that_are_too_large_are_no_list(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their annotations are texts; what is none is left out."""
    monkeypatch.setattr(reading, "REFERRERS_BYTES", 100_000)
    other = Endless(annotation="x" * 1000)
    async with other.serving():
        client = remote(stack, other)
        with pytest.raises(Unreachable, match="without an end"):
            await client.referrers(APP, sha256(b""))
        assert other.pages < 110
    assert entries(
        b'{"manifests":[{"digest":"%s","size":1,"annotations":{"a":"b","c":[1]}}]}'
        % sha256(b"").encode()
    )[0].annotations == {"a": "b"}
