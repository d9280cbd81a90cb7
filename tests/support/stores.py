"""Real object stores for tests, each a process of its own on the loopback interface.

    seaweed_server   one SeaweedFS for the whole session; can be killed and started again
    seaweed          a fresh bucket on it: endpoint, bucket, access_key, secret_key, settings
    gcs              a fresh folder on a server that speaks the GCS protocol
    azure            a fresh container on Azurite

A server whose program is missing skips the test by name.
"""

import base64
import hmac
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.requirements import path_of, require
from tests.support.storeproxy import StoreProxy
from tools.ports import free_port, free_ports

from moorage.config.storage import StorageSettings

ACCESS_KEY = "test-access"
SECRET_KEY = "test-secret-of-this-machine"
OPEN_BUCKET = "open-to-everyone"
PORTS = [
    f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")
]


OPTIONS = [
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-dir=data",
    "-master.volumeSizeLimitMB=256",
    "-master.telemetry=false",
    "-master.electionTimeout=1s",  # or a restart takes 16 seconds
    "-master.heartbeatInterval=200ms",
    "-volume.max=0",
    "-s3",
    "-s3.config=keys.json",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
]


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 180) -> None:
    """Return when the server answers anything at all on `url`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no answer from {url}: {log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True)
class Bucket:
    """One bucket of a server that speaks S3, and who may use it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    @property
    def settings(self) -> StorageSettings:
        """Settings of the driver `s3` for this bucket."""
        return StorageSettings.model_validate({"driver": "s3", "s3": self.section()})

    def section(self, **more: object) -> dict[str, object]:
        """The `s3` section of the settings."""
        return {
            "regionendpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "accesskey": self.access_key,
            "secretkey": self.secret_key,
            **more,
        }


class SeaweedServer:
    """One SeaweedFS with its S3 face; what it acknowledged survives `kill`."""

    def __init__(self, directory: Path, binary: str) -> None:
        self._directory = directory
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        (directory / "data").mkdir()
        # One volume for each new bucket instead of seven.
        (directory / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "test", "credentials": credentials, "actions": actions}
        guest = {"name": "anonymous", "actions": [f"{may}:{OPEN_BUCKET}" for may in actions]}
        (directory / "keys.json").write_text(json.dumps({"identities": [identity, guest]}))

    def start(self) -> None:
        """Start, or start again on the same data, and wait until it serves."""
        log = self._directory / "log"
        arguments = [f"-{name}={port}" for name, port in self._ports.items()]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, "server", *OPTIONS, *arguments],
                cwd=self._directory,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self.endpoint, self._process, log)
        # The S3 face listens before the volume server has reported to the master.
        until = time.monotonic() + 180
        assign = f"http://127.0.0.1:{self._ports['master.port']}/dir/assign"
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(assign, timeout=5) as answer:
                    if "fid" in json.load(answer):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError(
            f"SeaweedFS assigns no volume: {log.read_text(errors='replace')[-2000:]}"
        )

    def signal(self, number: int) -> None:
        """Send a signal, as SIGSTOP, to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pending(self, bucket: str) -> list[str]:
        """Keys of the unfinished multipart uploads of a bucket."""
        url = f"http://127.0.0.1:{self._ports['filer.port']}/buckets/{bucket}/.uploads/?limit=1000"
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return [entry["FullPath"] for entry in json.load(answer)["Entries"] or []]
        except urllib.error.HTTPError as answer:
            answer.close()
            return []

    def bucket(self, name: str = "") -> Bucket:
        """A new bucket."""
        from obstore import sign
        from obstore.store import S3Store

        name = name or f"test-{secrets.token_hex(6)}"
        store = S3Store(
            name,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )
        url = sign(store, "PUT", "", timedelta(seconds=60))
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=30).close()
        return Bucket(self.endpoint, name, ACCESS_KEY, SECRET_KEY)


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """One SeaweedFS for the session."""
    server = SeaweedServer(tmp_path_factory.mktemp("seaweed"), path_of("weed"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def seaweed(seaweed_server: SeaweedServer) -> Bucket:
    """A fresh bucket on a real S3 server."""
    return seaweed_server.bucket()


@pytest.fixture(scope="session")
def gcs_server(seaweed_server: SeaweedServer) -> Iterator[StoreProxy]:
    """A server that speaks the XML protocol of GCS, which S3 shares but for the signatures."""
    seaweed_server.bucket(OPEN_BUCKET)
    proxy = StoreProxy(seaweed_server.endpoint, anonymous=True)
    yield proxy
    proxy.close()


@pytest.fixture
def gcs(gcs_server: StoreProxy) -> StorageSettings:
    """Settings for a fresh folder of a bucket on the GCS server."""
    section = {
        "bucket": OPEN_BUCKET,
        "endpoint": gcs_server.url,
        "anonymous": True,
        "rootdirectory": secrets.token_hex(6),
    }
    return StorageSettings.model_validate({"driver": "gcs", "gcs": section})


def _azure_request(method: str, url: str, path: str) -> None:
    """One request with the account's shared key; the client makes no containers."""
    resource, _, query = path.partition("?")
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    account = f"/{AZURE_ACCOUNT}{urlsplit(url).path}/{resource}"
    parameters = "".join("\n" + each.replace("=", ":") for each in sorted(query.split("&")))
    text = f"{method}" + "\n" * 12 + canonical + account + parameters
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), "sha256").digest()
    signature = base64.b64encode(digest).decode()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{signature}"
    request = urllib.request.Request(f"{url}/{path}", method=method, headers=headers)
    urllib.request.urlopen(request, timeout=30).close()


AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (  # the emulator's own well-known account
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def azurite() -> str:
    """The program of Azurite, which npm may have put into a folder of its own."""
    program = Path(os.environ.get("TESTS_NODE_BIN", ""), "azurite-blob")
    if os.environ.get("TESTS_NODE_BIN") and program.exists():
        require("node")
        return str(program)
    return path_of("azurite-blob")


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one Azurite for the session."""
    program = azurite()
    directory = tmp_path_factory.mktemp("azurite")
    port = free_port()
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent",
             "--location", str(directory), "--skipApiVersionCheck", "--disableTelemetry"],
            stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    wait_for(url, process, log)
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def azure(azure_server: str) -> StorageSettings:
    """Settings for a fresh container on Azurite."""
    name = f"test-{secrets.token_hex(6)}"
    _azure_request("PUT", azure_server, f"{name}?restype=container")
    section = {
        "accountname": AZURE_ACCOUNT,
        "accountkey": AZURE_KEY,
        "container": name,
        "endpoint": azure_server,
    }
    return StorageSettings.model_validate({"driver": "azure", "azure": section})
