"""What an operator may set about `/v2`, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the `/v2` face; sizes in bytes, times in seconds."""

    external_url: str = ""
    """The URL under which clients reach the server; empty: take it from the request."""
    relative_locations: bool = True
    """Send `Location` without scheme and host, which survives every proxy."""
    accel_redirect: str = ""
    """Prefix of nginx's internal location over the blob directory; empty: stream blobs here."""
    redirect: bool = True
    """Redirect blob downloads to presigned URLs where the store offers them."""
    token_service: str = "harbor-registry"  # noqa: S105 - the name of a service, no secret
    """The `service` that clients ask the token endpoint for."""
    chunk_min_length: int = 0
    """Told to clients as OCI-Chunk-Min-Length; 0: any chunk will do."""
    notice: str = ""
    """A text for every user, sent as `Warning` (OCI distribution-spec, "Warnings")."""
    patience: float = 60
    """How long a body may stand still, or crawl below `min_rate`, before it is given up."""

    # No settings: what depends on the network is `patience`, and these only have to be small.
    min_rate: int = 256
    """Bytes a second that a body must bring over `patience`."""
    drain_bytes: int = 16 << 20
    """How much of a refused body is read and thrown away, so that a proxy passes our answer on."""
    drain_seconds: float = 10
