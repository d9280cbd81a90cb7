"""Artifacts of every type, and tars of every kind, made by hand."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tests.support.content import ALICE, Content, descriptor

from moorage.oci import media_types

HELM = "application/vnd.cncf.helm.config.v1+json"
PACKAGE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
Layer = tuple[bytes, str, Mapping[str, str]]
Form = Literal[0, 1, 2]


def entry(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """An entry of a tar; `fields` go before what the data says."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(
    *entries: tuple[tarfile.TarInfo, bytes],
    form: Form = tarfile.PAX_FORMAT,
    ended: bool = True,
) -> bytes:
    """A tar of these entries, whether or not their headers tell the truth."""
    whole = io.BytesIO()
    for info, data in entries:
        whole.write(info.tobuf(form))
        whole.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
    return whole.getvalue() + bytes(2 * tarfile.BLOCKSIZE if ended else 0)


def packed(*entries: tuple[tarfile.TarInfo, bytes], form: Form = tarfile.PAX_FORMAT) -> bytes:
    """The same in gzip."""
    return gzip.compress(tar(*entries, form=form), mtime=0)


def chart(files: Mapping[str, str], folder: str = "demo") -> bytes:
    """The package of a chart."""
    return packed(*(entry(f"{folder}/{name}", data.encode()) for name, data in files.items()))


async def push(
    content: Content,
    repository: str,
    tag: str,
    config: bytes,
    config_type: str,
    layers: Iterable[Layer] = (),
    /,
    **more: Any,
) -> bytes:
    """Push an artifact with its blobs; returns its manifest."""
    for data in (config, *(layer[0] for layer in layers)):
        await content.push_blob(repository, data)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(config, config_type),
            "layers": [
                {**descriptor(data, kind), "annotations": dict(annotations)}
                for data, kind, annotations in layers
            ],
            **more,
        }
    ).encode()
    await content.manifests.put(ALICE, repository, tag, manifest, media_types.OCI_MANIFEST)
    return manifest


async def push_chart(
    content: Content, package: bytes, *, repository: str = "team/app", tag: str = "1.0.0"
) -> bytes:
    """Push a chart whose config says its name only."""
    config = b'{"apiVersion":"v2","name":"demo","version":"1.0.0"}'
    return await push(content, repository, tag, config, HELM, [(package, PACKAGE, {})])
