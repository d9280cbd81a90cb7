"""What may be cached, by which key, and which change ends it.

tag:<repository>:<tag>          Resolved   a push or delete of the tag
manifest:<repository>:<digest>  Resolved   the manifest's delete
blob:<repository>:<digest>      Blob       the collector, a heal, the blob's delete
"""

from dataclasses import astuple

import orjson

from moorage.artifacts.records import Blob, Resolved
from moorage.cache.base import Kind

TAG: Kind[Resolved] = Kind("tag", lambda v: orjson.dumps(astuple(v)), lambda b: _resolved(b))
MANIFEST: Kind[Resolved] = Kind("manifest", TAG.dumps, TAG.loads)
BLOB: Kind[Blob] = Kind(
    "blob", lambda v: orjson.dumps(astuple(v)), lambda b: Blob(*orjson.loads(b))
)


def _resolved(data: bytes) -> Resolved:
    return Resolved(*orjson.loads(data))
