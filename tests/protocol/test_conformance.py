"""The OCI conformance suite with every option on, against each topology that users run.

    single      one process, SQLite and files
    objects     one process, PostgreSQL and an S3 server
    redirects   the same; blobs are fetched from S3 by signed URLs
    replicas    nginx before two registry processes in turn; PostgreSQL, S3 and Redis

Nothing may fail and nothing may be skipped. After a redirect it is S3 that answers, and S3 knows no
`Docker-Content-Digest`: that header is asked of blobs where the registry sends them itself.
"""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.databases import PostgresServer
from tests.support.nginx import Nginx
from tests.support.redis_server import RedisServer
from tests.support.requirements import path_of, require
from tests.support.serving import Registry
from tests.support.stores import SeaweedServer

#: Every switch of the suite (its config.go); many are off unless asked for.
SWITCHES = [
    "API_PING",
    "API_PULL",
    "API_PUSH",
    "API_REFERRER",
    "API_BLOBS_ATOMIC",
    "API_BLOBS_DELETE",
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_ATOMIC",
    "API_MANIFESTS_DELETE",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
    "API_TAGS_ATOMIC",
    "API_TAGS_DELETE",
    "API_TAGS_LIST",
    "DATA_IMAGE",
    "DATA_INDEX",
    "DATA_INDEX_LIST",
    "DATA_SPARSE",
    "DATA_ARTIFACT",
    "DATA_SUBJECT",
    "DATA_SUBJECT_MISSING",
    "DATA_ARTIFACT_LIST",
    "DATA_SUBJECT_LIST",
    "DATA_DATA_FIELD",
    "DATA_NONDISTRIBUTABLE",
    "DATA_CUSTOM_FIELDS",
    "DATA_NO_LAYERS",
    "DATA_EMPTY_BLOB",
    "DATA_SHA512",
]

COMMON: dict[str, object] = {"uploads.sparse_manifests": True}


@contextmanager
def single(folder: Path, _: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Address and administrator's password of one process on SQLite and files."""
    with Registry(folder, settings=COMMON).running() as registry:
        yield registry.host, registry.password


def shared(request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings of processes that share PostgreSQL and S3."""
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    weed: SeaweedServer = request.getfixturevalue("seaweed_server")
    section = {f"storage.s3.{name}": text for name, text in weed.bucket().section().items()}
    return {
        **COMMON,
        **section,
        "storage.driver": "s3",
        "storage.redirect.disable": True,
        "database.url": postgres.url(postgres.fresh()),
        "auth.secret_key": "the same on every replica",
    }


@contextmanager
def objects(folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """One process on PostgreSQL and S3."""
    with Registry(folder, settings=shared(request)).running() as registry:
        yield registry.host, registry.password


@contextmanager
def redirects(folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """One process that leaves downloads to S3."""
    settings = {**shared(request), "storage.redirect.disable": False}
    with Registry(folder, settings=settings).running() as registry:
        yield registry.host, registry.password


@contextmanager
def replicas(folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Two registry processes behind nginx, each request to the other one."""
    redis: RedisServer = request.getfixturevalue("redis_process")
    settings = shared(request)
    settings |= {"redis.url": redis.url, "http.trusted_proxies": ["127.0.0.1/32"]}
    with ExitStack() as stack:
        first = Registry(folder / "first", settings=settings)
        stack.enter_context(first.running())
        second = Registry(folder / "second", settings=settings, password=first.password)
        stack.enter_context(second.running())
        front = Nginx(folder / "nginx", [first.port, second.port])
        stack.callback(front.stop)
        front.start()
        yield front.host, first.password


TOPOLOGIES = {
    "single": single,
    "objects": objects,
    "redirects": redirects,
    "replicas": replicas,
}


@dataclass(frozen=True)
class Target:
    """What the suite is pointed at."""

    host: str
    password: str
    switches: dict[str, str]


@pytest.fixture(scope="module", params=TOPOLOGIES)
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """Each topology in turn."""
    require("conformance")
    switches = {f"OCI_{switch}": "true" for switch in SWITCHES}
    if request.param == "redirects":
        switches["OCI_API_BLOBS_DIGEST_HEADER"] = "false"
    with TOPOLOGIES[request.param](tmp_path_factory.mktemp(request.param), request) as found:
        yield Target(*found, switches)


def conformance(version: str, target: Target, folder: Path) -> list[ElementTree.Element]:
    """Run the suite; its test cases. What a failed run says goes into the assertion."""
    environment = {
        **target.switches,
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OCI_REGISTRY": target.host,
        "OCI_TLS": "disabled",
        "OCI_VERSION": version,
        "OCI_USERNAME": "admin",
        "OCI_PASSWORD": target.password,
        "OCI_REPO1": f"library/conformance-{version}/one",
        "OCI_REPO2": f"library/conformance-{version}/two",
        "OCI_RESULTS_DIR": str(folder),
    }
    subprocess.run(
        [path_of("conformance")],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        timeout=300,
    )
    return list(ElementTree.parse(folder / "junit.xml").iter("testcase"))


@pytest.mark.parametrize("version", ["1.1", "dev"])
def test_every_conformance_test_passes(version: str, registry: Target, tmp_path: Path) -> None:
    """Every API and every kind of content of the suite; none failed, none skipped."""
    cases = conformance(version, registry, tmp_path)
    others = [
        (case.get("status"), case.get("name"), "".join(case.itertext())[-800:])
        for case in cases
        if case.get("status") != "passed"
    ]
    assert not others
    assert len(cases) > 800
