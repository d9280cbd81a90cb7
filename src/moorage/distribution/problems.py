"""Errors as `/v2` clients read them (OCI distribution-spec, "Error Codes").

One literal table, along the tree of `moorage.errors`: a class without a line of its own takes its
base's. The documentation prints this table. Codes outside the specification's list are those that
Harbor and distribution send for statuses which the specification leaves open.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from moorage import errors


@dataclass(frozen=True, slots=True)
class Problem:
    """How one class of errors is answered."""

    status: int
    code: str
    retry_after: int | None = None  # seconds, for failures that pass


PROBLEMS: dict[type[errors.MoorageError], Problem] = {
    errors.Invalid: Problem(400, "UNSUPPORTED"),
    errors.NameInvalid: Problem(400, "NAME_INVALID"),
    errors.TagInvalid: Problem(400, "TAG_INVALID"),
    errors.DigestInvalid: Problem(400, "DIGEST_INVALID"),
    errors.ManifestInvalid: Problem(400, "MANIFEST_INVALID"),
    errors.SizeInvalid: Problem(400, "SIZE_INVALID"),
    errors.RangeInvalid: Problem(416, "BLOB_UPLOAD_INVALID"),
    errors.Unsupported: Problem(400, "UNSUPPORTED"),
    errors.PaginationInvalid: Problem(400, "PAGINATION_NUMBER_INVALID"),
    errors.TooLarge: Problem(413, "SIZE_INVALID"),
    errors.Unauthenticated: Problem(401, "UNAUTHORIZED"),
    errors.Denied: Problem(403, "DENIED"),
    errors.NotFound: Problem(404, "NAME_UNKNOWN"),
    errors.ProjectUnknown: Problem(404, "NAME_UNKNOWN"),
    errors.RepositoryUnknown: Problem(404, "NAME_UNKNOWN"),
    errors.ManifestUnknown: Problem(404, "MANIFEST_UNKNOWN"),
    errors.TagUnknown: Problem(404, "MANIFEST_UNKNOWN"),
    errors.BlobUnknown: Problem(404, "BLOB_UNKNOWN"),
    errors.UploadUnknown: Problem(404, "BLOB_UPLOAD_UNKNOWN"),
    # The manifest is at fault here, not the path: distribution answers 400 too.
    errors.ManifestBlobUnknown: Problem(400, "MANIFEST_BLOB_UNKNOWN"),
    errors.Conflict: Problem(409, "CONFLICT"),
    errors.PreconditionFailed: Problem(412, "PRECONDITION"),
    errors.TooManyRequests: Problem(429, "TOOMANYREQUESTS", retry_after=5),
    errors.ClientGone: Problem(408, "BLOB_UPLOAD_INVALID"),
    errors.Unavailable: Problem(503, "UNAVAILABLE", retry_after=5),
    errors.StorageFull: Problem(507, "UNAVAILABLE"),
}

NO_ENDPOINT = Problem(404, "UNSUPPORTED")
NO_METHOD = Problem(405, "UNSUPPORTED")
INTERNAL = Problem(500, "UNKNOWN")
"""Anything else: the log knows what it was, the client does not."""


def problem_of(error: BaseException) -> Problem:
    """The nearest line of the table along the error's classes."""
    for cls in type(error).__mro__:
        if cls in PROBLEMS:
            return PROBLEMS[cls]
    return INTERNAL


def body_of(code: str, message: str, detail: Any = None) -> bytes:
    """The JSON body of one error."""
    entry: dict[str, Any] = {"code": code, "message": message}
    if detail is not None:
        entry["detail"] = detail
    return orjson.dumps({"errors": [entry]}, default=str)
