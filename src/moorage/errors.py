"""Every way in which a request can fail, as a tree without HTTP in it.

MoorageError
├── Invalid             the request itself is wrong
│   ├── NameInvalid, TagInvalid, DigestInvalid, ManifestInvalid, SizeInvalid
│   ├── RangeInvalid    a chunk or byte range that does not fit
│   ├── Unsupported     well formed, but this registry does not do it
│   ├── PaginationInvalid
│   ├── AddressRefused  no server that this one may connect to
│   └── TooLarge        over a documented limit
├── Unauthenticated     nobody we know
├── Denied              known, not allowed
│   └── QuotaExceeded
├── NotFound
│   ├── ProjectUnknown, RepositoryUnknown, ManifestUnknown, TagUnknown
│   ├── BlobUnknown, UploadUnknown
│   └── ManifestBlobUnknown   a manifest names content that is not there
├── Conflict            exists already, or somebody else is at it
├── PreconditionFailed  a rule or a reference forbids it now
│   └── TagImmutable
├── TooManyRequests
├── ClientGone          nobody reads the answer
└── Unavailable         try again: the request was right
    ├── DatabaseUnavailable, StorageUnavailable
    ├── Unreachable     another server, which the work needs
    └── StorageFull

Faces map these along the method resolution order; a class that no face maps fails a test.
"""

from typing import Any


class MoorageError(Exception):
    """A failure with a message for the user and optional detail (JSON data) for its client."""

    def __init__(self, message: str = "", *, detail: Any = None) -> None:
        super().__init__(message or self.__class__.__doc__ or "")
        self.message = message or (self.__class__.__doc__ or "").strip().rstrip(".")
        self.detail = detail


class Invalid(MoorageError):
    """The request is not valid."""


class NameInvalid(Invalid):
    """Invalid repository name."""


class TagInvalid(Invalid):
    """Invalid tag."""


class DigestInvalid(Invalid):
    """The digest is malformed or does not match the content."""


class ManifestInvalid(Invalid):
    """The manifest is not valid."""


class SizeInvalid(Invalid):
    """The length does not match the content."""


class RangeInvalid(Invalid):
    """The range does not fit the content."""


class Unsupported(Invalid):
    """The operation is not supported."""


class PaginationInvalid(Invalid):
    """Invalid number of results requested."""


class AddressRefused(Invalid):
    """Connections to that address are not allowed."""


class TooLarge(Invalid):
    """The content is over the limit."""


class Unauthenticated(MoorageError):
    """Authentication is required."""


class Denied(MoorageError):
    """Access is denied."""


class ReadOnly(Denied):
    """An administrator has switched changes off for a while."""


class QuotaExceeded(Denied):
    """The project's storage quota is exceeded."""


class NotFound(MoorageError):
    """Not found."""


class ProjectUnknown(NotFound):
    """The project is not known."""


class RepositoryUnknown(NotFound):
    """The repository is not known."""


class ManifestUnknown(NotFound):
    """The manifest is not known."""


class TagUnknown(NotFound):
    """The tag is not known."""


class BlobUnknown(NotFound):
    """The blob is not known."""


class UploadUnknown(NotFound):
    """The upload is not known; start a new one."""


class ManifestBlobUnknown(NotFound):
    """The manifest refers to content that this repository does not hold."""


class Conflict(MoorageError):
    """It exists already."""


class PreconditionFailed(MoorageError):
    """A rule or a reference forbids this now."""


class TagImmutable(PreconditionFailed):
    """A rule of the project keeps the tag as it is."""


class TooManyRequests(MoorageError):
    """Too many requests; wait and try again."""


class ClientGone(MoorageError):
    """The client closed the connection before it had sent everything."""


class Unavailable(MoorageError):
    """The service cannot answer now; try again."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer; try again."""


class StorageUnavailable(Unavailable):
    """The blob storage does not answer; try again."""


class Unreachable(Unavailable):
    """Another server does not answer as it should."""


class StorageFull(Unavailable):
    """The storage is full; free space or grow it, then try again."""
