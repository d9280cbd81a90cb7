"""Real registries that replicate: processes of this one, and distribution's."""

import asyncio
import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.support.content import image, index, sha256
from tests.support.serving import Registry

from moorage.oci import media_types
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote

HERE = Guard((ip_network("127.0.0.0/8"),))
SETTINGS: dict[str, object] = {
    "outgoing.allow": '["127.0.0.0/8"]',
    "jobs.poll_seconds": 0.5,
    "jobs.lease_seconds": 6,
}


def moorage(folder: Path, **more: object) -> Registry:
    """A process of this registry that may connect to this machine."""
    return Registry(folder, settings={**SETTINGS, **more})


def api(registry: Registry, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
    """Status, headers and document of a request of the administrator."""
    pair = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    request = urllib.request.Request(
        f"{registry.url}/api/v2.0{path}",
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Basic {pair}", "content-type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return answer.status, answer.headers, _document(text)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, _document(error.read())


def _document(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode()


def made(registry: Registry, path: str, body: Any) -> int:
    """Make something; its id."""
    status, headers, document = api(registry, "POST", path, body)
    assert status == 201, document
    return int(headers["location"].rpartition("/")[2])


def register(registry: Registry, name: str, kind: str, url: str, account: Any = None) -> int:
    """Let a registry know another one."""
    body: dict[str, Any] = {"name": name, "type": kind, "url": url}
    if isinstance(account, Registry):
        body["credential"] = {
            "type": "basic",
            "access_key": account.username,
            "access_secret": account.password,
        }
    return made(registry, "/registries", body)


async def replicate(registry: Registry, policy: int, seconds: float = 300) -> dict[str, Any]:
    """Run a policy to its end; the execution, with what its tasks moved."""
    execution = made(registry, "/replication/executions", {"policy_id": policy})
    return await finished(registry, execution, seconds)


async def finished(registry: Registry, execution: int, seconds: float = 300) -> dict[str, Any]:
    """An execution once it has ended, with the bytes that its tasks moved."""
    async with asyncio.timeout(seconds):
        while True:
            _, _, found = await asyncio.to_thread(
                api, registry, "GET", f"/replication/executions/{execution}"
            )
            if isinstance(found, dict) and found.get("status") != "InProgress":
                break
            await asyncio.sleep(0.3)
    tasks: list[Any] = []
    for page in range(1, 100):
        path = f"/replication/executions/{execution}/tasks?page={page}&page_size=100"
        _, _, some = await asyncio.to_thread(api, registry, "GET", path)
        tasks += some or []
        if not some or len(some) < 100:
            break
    moved = sum(task.get("moved_bytes", 0) for task in tasks)
    return {**found, "tasks": tasks, "moved_bytes": moved}


def remote(registry: Registry | str) -> Remote:
    """A client of a registry."""
    if isinstance(registry, Registry):
        account = registry.username, registry.password
        return Remote(HERE, Endpoint("harbor", registry.url, *account))
    return Remote(HERE, Endpoint("docker-registry", registry))


async def fill(client: Remote, count: int, size: int = 20_000) -> dict[tuple[str, str], str]:
    """Push so many artifacts, a fifth of them each: images, indexes, charts, signed, of cosign.

    Returns what each tag names, and under `@digest` every manifest that has no tag.
    """
    found: dict[tuple[str, str], str] = {}

    async def push(number: int) -> None:
        repository, tag = f"library/app-{number % 7}", f"v{number}"
        found.update(await _artifact(client, repository, tag, number, size))

    for start in range(0, count, 8):
        await asyncio.gather(*(push(each) for each in range(start, min(start + 8, count))))
    return found


async def _artifact(
    client: Remote, repository: str, tag: str, number: int, size: int
) -> dict[tuple[str, str], str]:
    config = b'{"architecture":"amd64","os":"linux","n":%d}' % number
    layers = [b"shared layer" * 1000, (b"%08d" % number) * (size // 8)]
    await _blobs(client, repository, [config, *layers])
    payload = image(config, layers)
    found: dict[tuple[str, str], str] = {}

    async def put(reference: str, data: bytes, media_type: str = media_types.OCI_MANIFEST) -> str:
        digest = await client.put_manifest(repository, reference, data, media_type)
        found[repository, reference if ":" not in reference else f"@{digest}"] = digest
        return digest

    match number % 5:
        case 1:
            await put(sha256(payload), payload)
            await put(tag, index([payload]), media_types.OCI_INDEX)
        case 2:
            chart = json.loads(payload)
            chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
            await put(tag, json.dumps(chart).encode())
        case 3:
            subject = await put(tag, payload)
            said = {
                "mediaType": media_types.OCI_MANIFEST,
                "digest": subject,
                "size": len(payload),
            }
            signature = image(config, layers[:1], subject=said, artifactType="x/signature")
            await put(sha256(signature), signature)
        case 4:
            digest = await put(tag, payload)
            await put(f"{digest.replace(':', '-')}.sig", image(config, layers[:1]))
        case _:
            await put(tag, payload)
    return found


async def _blobs(client: Remote, repository: str, blobs: Sequence[bytes]) -> None:
    for data in blobs:
        if await client.has_blob(repository, sha256(data)) is None:

            async def read(start: int, end: int, data: bytes = data) -> AsyncIterator[bytes]:
                yield data[start:end]

            await client.push_blob(repository, sha256(data), len(data), read)


async def lacking(
    client: Remote, wanted: dict[tuple[str, str], str], project: str = ""
) -> list[tuple[str, str]]:
    """What a registry does not hold of what it should, under another project if one is given."""
    missing = []
    for (repository, reference), digest in wanted.items():
        name = repository.replace("library/", f"{project}/", 1) if project else repository
        listed = await client.head(name, reference.removeprefix("@"))
        if listed is None or listed.digest != digest:
            missing.append((name, reference))
    return missing


async def unlisted(
    client: Remote, wanted: dict[tuple[str, str], str], project: str = ""
) -> list[tuple[str, str]]:
    """Referrers that a registry does not list with their subjects, of those that it should."""
    missing = []
    for (repository, reference), digest in wanted.items():
        if not reference.startswith("@"):
            continue
        name = repository.replace("library/", f"{project}/", 1) if project else repository
        payload = json.loads((await client.manifest(name, digest)).payload)
        if "subject" in payload:
            listed = await client.referrers(name, payload["subject"]["digest"])
            if digest not in {each.digest for each in listed}:
                missing.append((name, digest))
    return missing


async def stand_ins(client: Remote, wanted: dict[tuple[str, str], str]) -> list[str]:
    """Tags that stand in for lists of referrers."""
    repositories = {repository for repository, _ in wanted}
    tags = [tag for each in sorted(repositories) for tag in await client.tags(each)]
    return [tag for tag in tags if tag.startswith("sha256-") and "." not in tag]
