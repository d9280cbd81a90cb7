"""The storage settings: names of other registries, and what is refused with a sentence."""

import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.stores import Bucket, SeaweedServer

import moorage.blobstore
from moorage.blobstore.base import BlobStore
from moorage.config.storage import StorageSettings
from moorage.errors import BlobUnknown, StorageUnavailable


def read(data: dict[str, Any]) -> StorageSettings:
    """Settings from a mapping, as the settings file gives it."""
    return StorageSettings.model_validate(data)


def test_nothing_is_needed() -> None:
    """Without settings, blobs are files and redirects are on."""
    settings = read({})
    assert settings.driver == "filesystem"
    assert settings.redirect.seconds == 1200
    assert not settings.redirect.disable


def test_the_section_names_the_driver() -> None:
    """One section alone is enough, as in the configuration of the well-known registry."""
    assert read({"s3": {"bucket": "b"}}).driver == "s3"
    assert read({"gcs": {"bucket": "b"}}).driver == "gcs"
    azure = {"accountname": "a", "container": "c"}
    assert read({"azure": azure, "redirect": {"disable": True}}).driver == "azure"
    assert read({"filesystem": {"rootdirectory": "/srv"}}).driver == "filesystem"
    assert read({"driver": "s3", "s3": {"bucket": "b"}, "gcs": {"bucket": "b"}}).driver == "s3"


def test_names_of_the_chart() -> None:
    """`type`, `disableredirect` and the chart's s3 section as they stand."""
    settings = read(
        {
            "type": "s3",
            "disableredirect": True,
            "s3": {
                "region": "ap-northeast-2",
                "bucket": "my-harbor-bucket",
                "regionendpoint": "https://s3.example.test",
                "encrypt": False,
                "secure": True,
                "skipverify": False,
                "chunksize": "5242880",
                "rootdirectory": "/s3/object/name/prefix",
                "storageclass": "STANDARD",
            },
        }
    )
    assert settings.redirect.disable
    assert settings.s3 is not None
    assert settings.s3.rootdirectory == "s3/object/name/prefix"
    assert settings.s3.chunksize == 5 << 20
    gcs = read({"gcs": {"bucket": "b", "useWorkloadIdentity": True}}).gcs
    assert gcs is not None
    assert gcs.useworkloadidentity


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"driver": "ftp"}, "no driver `ftp`; there are filesystem, s3, gcs, azure, memory"),
        ({"type": "oss"}, "use the driver `s3` with the `regionendpoint`"),
        ({"driver": "swift"}, "Swift's S3 face"),
        ({"driver": "s3"}, "needs its section `s3`"),
        ({"s3": {"bucket": "b"}, "gcs": {"bucket": "b"}}, "set `driver`"),
        ({"s3": {"bucket": "b", "v4auth": True}}, "signed with version 4"),
        ({"s3": {"bucket": "b", "multipartcopythresholdsize": 1}}, "never copied"),
        ({"s3": {"bucket": "b", "bukket": "c"}}, "Extra inputs are not permitted"),
        ({"s3": {"bucket": ""}}, "at least 1 character"),
        ({"s3": {"bucket": "b", "accesskey": "a"}}, "belong together"),
        ({"s3": {"bucket": "b", "secretkey": "hidden"}}, "belong together"),
        ({"s3": {"bucket": "b", "keyid": "k"}}, "`keyid` needs `encrypt`"),
        ({"s3": {"bucket": "b", "chunksize": 1000}}, "greater than or equal to 5242880"),
        ({"s3": {"bucket": "b", "storageclass": "GLACIER"}}, "cannot be read at once"),
        ({"s3": {"bucket": "b", "regionendpoint": "ftp://x"}}, "http:// or https://"),
        ({"s3": {"bucket": "b", "rootdirectory": "a/../b"}}, "no `.` or `..`"),
        ({"gcs": {"bucket": "b", "keyfile": "/k", "anonymous": True}}, "only one of"),
        ({"cache": {"blobdescriptor": "redis"}}, "known from the database"),
        ({"maintenance": {}}, "collected online"),
        ({"delete": {"enabled": True}}, "a matter of roles"),
        ({"redirect": {"seconds": 1201}}, "less than or equal to 1200"),
        ({"type": "s3", "driver": "s3", "s3": {"bucket": "b"}}, "say the same"),
    ],
)
def test_what_is_refused(data: dict[str, Any], says: str) -> None:
    """An unknown or meaningless key is an error that says what to do, and shows no secret."""
    with pytest.raises(ValidationError) as caught:
        read(data)
    messages = " ".join(error["msg"] for error in caught.value.errors())
    assert says in messages
    assert "hidden" not in messages


def test_secrets_are_not_printed() -> None:
    """Settings can be logged."""
    settings = read(
        {
            "driver": "s3",
            "s3": {
                "bucket": "b",
                "accesskey": "a",
                "secretkey": "canary",
                "sessiontoken": "canary",
            },
            "azure": {"accountname": "a", "container": "c", "accountkey": "canary"},
            "gcs": {"bucket": "b", "encodedkey": "canary"},
        }
    )
    assert "canary" not in repr(settings)
    assert "canary" not in settings.model_dump_json()


def test_every_setting_is_described() -> None:
    """The reference of the settings is made from these descriptions."""
    schema = StorageSettings.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    missing = [
        name for model in models for name, field in model["properties"].items()
        if not field.get("description")
    ]  # fmt: skip
    assert missing == []


def fetch(request: urllib.request.Request) -> tuple[bytes, Message]:
    """What a client without credentials gets."""
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), answer.headers


@pytest.mark.anyio
async def test_redirects(seaweed_server: SeaweedServer, seaweed: Bucket) -> None:
    """A signed URL serves GET of just its object for a while; disabled, there is none."""

    def opened(**more: object) -> BlobStore:
        settings = read({"s3": seaweed.section(rootdirectory="deep/root"), **more})
        return moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))

    store = opened()
    for key in ("blobs/x", "blobs/other"):
        writer = store.create(key)
        await writer.write(b"content of " + key.encode())
        await writer.commit()
    url = await store.presign("blobs/x", seconds=60, filename="x")
    assert url is not None
    content, headers = fetch(urllib.request.Request(url))
    assert content == b"content of blobs/x"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    for wrong in (
        urllib.request.Request(url.replace("blobs/x", "blobs/other")),
        urllib.request.Request(url, method="DELETE"),
        urllib.request.Request(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")),
        urllib.request.Request(url.partition("?")[0]),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetch(wrong)
    disabled = opened(redirect={"disable": True})
    assert await disabled.presign("blobs/x", seconds=60, filename="x") is None


@pytest.mark.anyio
async def test_actions_are_measured(tmp_path: Path) -> None:
    """Every action tells its driver, its name and its seconds, also when it fails."""
    seen: list[tuple[str, str]] = []

    def observe(driver: str, action: str, seconds: float) -> None:
        assert seconds >= 0
        seen.append((driver, action))

    store = moorage.blobstore.open(read({}), data_dir=tmp_path, observe=observe)
    writer = store.create("blobs/x")
    await writer.write(b"12345")
    assert writer.size == 5
    await writer.commit()
    await writer.abort()
    assert [piece async for piece in store.read("blobs/x")] == [b"12345"]
    assert await store.size("blobs/x") == 5
    assert await store.join(["blobs/x", "blobs/x"], "blobs/y") == 10
    await store.delete(["blobs/x"])
    with pytest.raises(BlobUnknown):
        await anext(store.read("blobs/x"))
    await store.ping()
    await store.close()
    actions = ["Commit", "Reader", "Stat", "Join", "Delete", "Reader", "Ping"]
    assert seen == [("filesystem", action) for action in actions]


@pytest.mark.anyio
@pytest.mark.parametrize("driver", ["gcs", "azure"])
async def test_a_bucket_that_does_not_exist(driver: str, request: pytest.FixtureRequest) -> None:
    """`ping` of a missing bucket or container fails, on the other clouds too."""
    section = getattr(request.getfixturevalue(driver), driver).model_dump()
    section["bucket" if driver == "gcs" else "container"] = "none-such"
    settings = read({"driver": driver, driver: {**section, "retries": 0}})
    with pytest.raises(StorageUnavailable):
        await moorage.blobstore.open(settings, data_dir=Path("/nonexistent")).ping()
