"""What artifacts are, and what their configs say: types, attributes, icons."""

import asyncio
import base64
import json
from typing import Any
from xml.etree import ElementTree

import pytest
from sqlalchemy import select, update
from tests.api.artifacts import APP, IMAGE_CONFIG, MODEL, Counting, counted, get, shown
from tests.api.world import World
from tests.support.content import ALICE, CONFIG, image, index, sha256
from tests.support.packages import HELM, chart, push, push_chart
from tests.support.statements import statements

from moorage.artifacts import attributes
from moorage.blobstore.memory import MemoryStore
from moorage.db import tables
from moorage.errors import StorageUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(world: World) -> Counting:
    """The store, counting its reads."""
    return counted(world)


# --- attributes


async def test_an_image_shows_what_its_config_says(world: World) -> None:
    """In the list and by itself; fields of a wrong type are left out, the author is looked for."""
    config = json.dumps(IMAGE_CONFIG).encode()
    await world.content.push_image("team/app", "v1", config)
    for artifact in (await shown(world, "v1"), (await get(world, "")).json()[0]):
        assert artifact["extra_attrs"] == {
            "architecture": "arm64",
            "author": "nia",
            "config": {
                "Env": ["PATH=/bin"],
                "Labels": {"maintainer": "nia", "note": "\u0000é"},
            },
            "created": "2026-01-02T03:04:05Z",
            "os": "linux",
        }


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"nonsense",
        b"[1,2]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"config":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"config":{"Labels":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}}",
        b'{"architecture":1,"os":[],"config":3,"author":{},"created":false}',
        b'{"config":{"Labels":{"maintainer":7}}}',
        b'{"os":"\\ud800"}',
        b"1e999",
        b'{"config":{"Labels":{"n":%d}}}' % 10**400,
    ],
)
async def test_an_image_with_a_wrong_config_is_shown_without_it(
    world: World, config: bytes
) -> None:
    """And the others of its page with theirs."""
    await world.content.push_image("team/app", "odd", config)
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    for _ in range(2):
        listed = (await get(world, "")).json()
        assert [artifact["tags"][0]["name"] for artifact in listed] == ["v1", "odd"]
        assert listed[0]["extra_attrs"]["os"] == "linux"
        assert not listed[1].get("extra_attrs", {}).get("architecture")
    await get(world, "/odd")


async def test_a_config_is_read_once(world: World, store: Counting) -> None:
    """By the first who looks, not by the push; also one that says nothing."""
    for tag in ("v1", "v2", "v3"):
        await world.content.push_image("team/app", tag, json.dumps({"os": tag}).encode())
    await world.content.push_image("team/app", "broken", b"nonsense")
    assert store.reads == []
    first = (await get(world, "")).json()
    assert len(store.reads) == 4
    assert (await get(world, "")).json() == first
    await shown(world, "v1")
    assert len(store.reads) == 4


async def test_a_config_that_is_too_large_is_never_read(
    world: World, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the manifest says; its build history is refused."""
    large = b'{"os":"linux","note":"' + b"x" * (100 << 20) + b'"}'
    await world.content.push_image("team/app", "v1", large)
    assert "extra_attrs" not in await shown(world, "v1") or store.reads == []
    await get(world, "/v1/additions/build_history", 413)
    assert store.reads == []


async def test_a_store_that_fails_takes_nothing_but_attributes_away(
    world: World, store: Counting
) -> None:
    """The list is answered, and the next one has them."""
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    store.failure = StorageUnavailable("away")
    assert "extra_attrs" not in (await get(world, "")).json()[0]
    await get(world, "/v1/additions/build_history", 503)
    store.failure = None
    assert (await get(world, "")).json()[0]["extra_attrs"]["os"] == "linux"


async def test_a_blob_that_is_gone_takes_nothing_else_away(world: World) -> None:
    """Its object, or its row: the artifact is shown, the addition is 404."""
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    assert isinstance(world.content.store, MemoryStore)
    kept = dict(world.content.store.objects)
    world.content.store.objects.clear()
    assert "extra_attrs" not in await shown(world, "v1")
    await get(world, "/v1/additions/build_history", 404)
    world.content.store.objects.update(kept)
    async with world.content.db.write() as tx:
        await tx.execute(update(tables.blobs).values(state="suspect"))
    assert "extra_attrs" not in await shown(world, "v1")
    await get(world, "/v1/additions/build_history", 404)


async def test_a_page_reads_as_much_as_there_is_room_for(
    world: World, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one reads on."""
    for tag in ("v1", "v2", "v3"):
        config = json.dumps({"os": tag, "note": "x" * 1000}).encode()
        await world.content.push_image("team/app", tag, config)
    monkeypatch.setattr(attributes, "ROOM", 2500)

    async def systems() -> list[str]:
        listed = (await get(world, "")).json()
        return [artifact.get("extra_attrs", {}).get("os", "") for artifact in listed]

    assert await systems() == ["v3", "v2", ""]
    assert await systems() == ["v3", "v2", "v1"]
    assert len(store.reads) == 3


async def test_slow_configs_do_not_hold_a_list_up(
    world: World, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered without those that did not come in time, and they are read again."""
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    monkeypatch.setattr(attributes, "SECONDS", 0.01)
    store.gate = asyncio.Event()
    assert "extra_attrs" not in (await get(world, "")).json()[0]


async def test_many_configs_take_as_many_statements_as_one(world: World) -> None:
    """To find them and to keep what they say."""
    await get(world, "", 404)  # fills the caches
    found = []
    for round_, many in enumerate((1, 7)):
        for at in range(many):
            config = b'{"os":"%d.%d"}' % (round_, at)
            await world.content.push_image("team/app", f"v{round_}.{at}", config)
        with statements() as counted:
            listed = (await get(world, "")).json()
        assert all(artifact["extra_attrs"]["os"] for artifact in listed)
        found.append(len(counted))
    assert found[0] == found[1] <= 15


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite has no such locks
async def test_a_row_that_somebody_holds_is_not_waited_for(world: World) -> None:
    """A reader shows the attributes and leaves it to another to keep them."""
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    held = select(tables.manifests.c.extra_attrs)
    async with world.content.db.write() as tx:
        await tx.execute(held.with_for_update())
        assert (await shown(world, "v1"))["extra_attrs"]["os"] == "linux"
        assert (await tx.execute(held)).scalar_one() is None
    await shown(world, "v1")
    assert "linux" in await world.content.scalar(held)


# --- types


@pytest.mark.parametrize(
    ("config_type", "artifact_type", "expected", "attributes"),
    [
        (CONFIG, None, "IMAGE", None),
        ("application/vnd.docker.container.image.v1+json", None, "IMAGE", None),
        (HELM, None, "CHART", {"name": "x"}),
        (MODEL, None, "CNAI", {"name": "x"}),
        ("application/vnd.cnai.model.config.v1+json", None, "CNAI", {"name": "x"}),
        ("application/vnd.oci.empty.v1+json", "application/spdx+json", "SBOM", {}),
        ("application/vnd.goharbor.harbor.sbom.v1", None, "SBOM", {"name": "x"}),
        ("application/vnd.acme.rocket.config.v1+json", None, "ROCKET", {"name": "x"}),
        ("application/vnd.acme.a.b.config.v1+json", None, "A.B", {"name": "x"}),
        (
            "application/vnd.oci.empty.v1+json",
            "application/vnd.acme.probe.config.v2+json",
            "PROBE",
            {},
        ),
        ("application/vnd.cncf.notary.signature", None, "UNKNOWN", {}),
        ("text/plain", None, "UNKNOWN", {}),
    ],
)
async def test_the_type_follows_from_the_media_types(
    world: World,
    config_type: str,
    artifact_type: str | None,
    expected: str,
    attributes: dict[str, str] | None,
) -> None:
    """A list is narrowed by it; the config is shown where its type has a name."""
    more: dict[str, Any] = {"artifactType": artifact_type} if artifact_type else {}
    config = b"{}" if "empty" in config_type else b'{"name":"x"}'
    await push(world.content, "team/app", "v1", config, config_type, **more)
    await push(world.content, "team/app", "other", b"{ }", "application/vnd.x.other.config.v1+json")
    artifact = await shown(world, "v1")
    assert artifact["type"] == expected
    assert artifact["media_type"] == config_type
    if attributes is not None:
        assert artifact.get("extra_attrs", {}) == attributes
    for kind in (expected, expected.lower(), f"~{expected[1:]}", f"{{{expected} x}}"):
        listed = await world.call("guest", "GET", APP, params={"q": f"type={kind}"})
        assert [item["tags"][0]["name"] for item in listed.json()] == ["v1"], kind


async def test_a_config_may_ask_to_leave_fields_out(world: World) -> None:
    """By an annotation of its descriptor."""
    config = b'{"git":"x","name":"y","metrics":[1]}'
    kind = "application/vnd.acme.rocket.config.v1+json"
    note = {"io.goharbor.artifact.v1alpha1.skip-list": "metrics,git"}
    described = {
        "mediaType": kind,
        "digest": sha256(config),
        "size": len(config),
        "annotations": note,
    }
    await push(world.content, "team/app", "v1", config, kind, config=described)
    assert (await shown(world, "v1"))["extra_attrs"] == {"name": "y"}


async def test_a_module_of_webassembly_is_known_in_each_of_its_forms(world: World) -> None:
    """An annotated image, and configs of its own."""
    content = world.content
    await content.push_image(
        "team/app",
        "image",
        json.dumps(IMAGE_CONFIG).encode(),
        annotations={"module.wasm.image/variant": "compat"},
    )
    module = (b"\0asm", "application/wasm", {"org.opencontainers.image.title": "m.wasm"})
    await push(content, "team/app", "v1", b"{}", "application/vnd.wasm.config.v1+json", [module])
    config = b'{"architecture":"wasm","os":"wasip1","component":{}}'
    await push(content, "team/app", "v0", config, "application/vnd.wasm.config.v0+json", [module])
    first, second, third = [await shown(world, tag) for tag in ("image", "v1", "v0")]
    assert {first["type"], second["type"], third["type"]} == {"WASM"}
    assert first["media_type"] == "application/vnd.wasm.config.v1+json"
    assert first["extra_attrs"]["manifest.config.mediaType"] == CONFIG
    assert first["extra_attrs"]["architecture"] == "arm64"
    assert second["extra_attrs"] == {
        "manifest.config.mediaType": "application/vnd.wasm.config.v1+json",
        "manifest.layers.mediaType": "application/wasm",
        "org.opencontainers.image.title": "m.wasm",
    }
    assert third["extra_attrs"]["os"] == "wasip1"
    history = await get(world, "/image/additions/build_history")
    assert history.json()[0]["created_by"] == "COPY . /"


async def test_a_bundle_shows_the_config_of_its_child(world: World) -> None:
    """CNAB says in annotations which one that is."""
    content = world.content
    bundle = b'{"name":"bundle","version":"1"}'
    child = await push(
        content, "team/app", "child", bundle, "application/vnd.cnab.bundle.config.v1+json"
    )
    document = json.loads(index([child]))
    document["annotations"] = {
        "org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1"
    }
    document["manifests"][0]["annotations"] = {"io.cnab.manifest.type": "config"}
    whole = json.dumps(document).encode()
    await content.manifests.put(ALICE, "team/app", "v1", whole, "")
    artifact = await shown(world, "v1")
    assert artifact["type"] == "CNAB"
    assert artifact["extra_attrs"] == {"name": "bundle", "version": "1"}
    assert "addition_links" not in artifact


async def test_an_index_has_no_config_and_no_history(world: World) -> None:
    """Whatever its annotations say it is."""
    content = world.content
    child = await content.push_image("team/app", "child")
    for tag, named in (("plain", "x" * 300), ("image", CONFIG), ("chart", HELM), ("nul", "\x01")):
        annotations = {"org.opencontainers.artifactType": named, "tag": tag}
        await content.manifests.put(
            ALICE, "team/app", tag, index([child], annotations=annotations), ""
        )
        await shown(world, tag)
        for addition in ("build_history", "values.yaml", "dependencies", "files"):
            answer = await world.call("guest", "GET", f"{APP}/{tag}/additions/{addition}")
            assert answer.status_code in (400, 404), answer.text
    artifact = await shown(world, "plain")
    assert artifact["type"] == "IMAGE"
    assert artifact["media_type"] == artifact["manifest_media_type"]
    assert "extra_attrs" not in artifact
    assert "addition_links" not in artifact


# --- icons


async def test_every_artifact_has_an_icon_that_is_served(world: World) -> None:
    """Drawings without anything that runs or is loaded from elsewhere, for anybody."""
    content = world.content
    subject = await content.push_image("team/app", "image")
    await push_chart(content, chart({}))
    named = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sha256(subject),
        "size": len(subject),
    }
    signature = image(
        b"{}", [b"layer"], subject=named, artifactType="application/vnd.cncf.notary.signature"
    )
    await content.manifests.put(ALICE, "team/app", "sig", signature, "")
    listed = (await world.call("guest", "GET", APP, params={"with_accessory": "true"})).json()
    icons = {item["type"]: item["icon"] for item in listed}
    icons |= {item["type"]: item["icon"] for one in listed for item in one["accessories"] or ()}
    assert set(icons) == {"IMAGE", "CHART", "signature.notation"}
    assert len(set(icons.values())) == 3
    for digest in icons.values():
        icon = (await world.call("", "GET", f"/icons/{digest}")).json()
        assert icon["content-type"] == "image/svg+xml"
        drawing = base64.b64decode(icon["content"])
        assert sha256(drawing) == digest
        tags = {
            element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawing).iter()
        }
        assert tags <= {"svg", "path", "circle"}


@pytest.mark.parametrize(
    ("digest", "status"), [("sha256:" + "0" * 64, 404), ("nonsense", 400), ("sha256:x", 400)]
)
async def test_an_icon_that_is_not_there(world: World, digest: str, status: int) -> None:
    """Not any digest is served: a blob of somebody's is no icon."""
    assert (await world.call("", "GET", f"/icons/{digest}")).status_code == status
    blob = await world.content.push_blob("open/app", b"<svg/>")
    assert (await world.call("", "GET", f"/icons/{blob}")).status_code == 404
