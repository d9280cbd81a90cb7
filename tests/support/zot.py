"""A registry that answers as zot does, where that differs from others.

From its public issues and code; no zot has answered to any test here.

    lists         all repositories, whatever number is asked for; for tags a Link without brackets,
                  also on the last page                               (its first versions)
    HEAD          of a manifest says a length of 0                    (its first versions)
    manifests     415 or 400 for Docker's media types, unless `compat`
    referrers     404 without a body for a subject that it has not; one entry for each tag
    sessions      PATCH says how long the last piece was (early in 2025); a piece out of order is
                  416 without a Range; a session with nothing in it has "0--1"
    blobs         an empty one does not come with the POST; a mount finds what is anywhere
    deletes       400 NAME_UNKNOWN for a repository that it has not
    signing in    `public` repositories are shown to anybody, and /v2/ asks nobody
"""

import json
from dataclasses import dataclass

from tests.support.content import sha256
from tests.support.otherregistry import Answer, OtherRegistry, Request

from moorage.oci import media_types

_OCI = (media_types.OCI_MANIFEST, media_types.OCI_INDEX)


@dataclass
class Zot(OtherRegistry):
    """Of any of its versions."""

    compat: bool = False
    refuses: int = 415
    public: set[str] | None = None  # repositories that anybody may read; None: all, by anybody
    at_once: bool = True

    def _challenge(self, request: Request) -> Answer | None:
        if self.public is None:
            return None
        asked = Answer(401, headers={"www-authenticate": 'Basic realm="zot"'})
        if "authorization" in request.headers:
            return None if self._known(request) else asked
        name = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/tags/")[0]
        return None if name in ("", "_catalog", *self.public) else asked

    def _list(self, request: Request, key: str, names: list[str]) -> Answer:
        if key == "repositories":
            shown = self.public is None or "authorization" in request.headers
            some = names if shown else [each for each in names if each in (self.public or ())]
            return Answer(200, json.dumps({key: some}).encode())
        answer = super()._list(request, key, names)
        found = json.loads(answer.body)[key]
        count, last = request.query["n"][0], found[-1] if found else ""
        answer.headers["link"] = f'{request.path}?n={count}&last={last}; rel="next"'
        return answer

    def _manifest(self, request: Request, name: str, reference: str) -> Answer:
        kind = request.headers.get("content-type", "")
        if request.method == "PUT" and kind not in _OCI and not self.compat:
            return Answer(self.refuses, b'{"errors":[{"code":"MANIFEST_INVALID"}]}')
        if request.method == "DELETE" and not any(each == name for each, _ in self.manifests):
            return Answer(400, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
        answer = super()._manifest(request, name, reference)
        if request.method == "HEAD" and answer.status == 200:
            answer.length = 0
        return answer

    def _referrers(self, request: Request, name: str, digest: str) -> Answer:
        if (name, digest) not in self.manifests:
            return Answer(404)
        document = json.loads(super()._referrers(request, name, digest).body)
        wanted = request.query.get("artifactType")
        held = [
            each for each in document["manifests"] if not wanted or each["artifactType"] in wanted
        ]
        document["manifests"] = [
            each
            for each in held
            for _ in range(1 + sum(tagged == each["digest"] for tagged in self.tags.values()))
        ]
        headers = {"content-type": media_types.OCI_INDEX}
        if wanted:
            headers["oci-filters-applied"] = "artifactType"
        return Answer(200, json.dumps(document).encode(), headers)

    def _start(self, request: Request, name: str) -> Answer:
        wanted = request.query.get("mount")
        if wanted:
            found = [data for (_, each), data in self.blobs.items() if each == wanted[0]]
            if found:
                self.blobs[name, wanted[0]] = found[0]
                return Answer(201, headers={"location": f"/v2/{name}/blobs/{wanted[0]}"})
            request.query.pop("from", None)
        if request.query.get("digest") == [sha256(b"")]:
            return Answer(400, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}')
        return super()._start(request, name)

    def _session(self, request: Request, name: str, session: str) -> Answer:
        answer = super()._session(request, name, session)
        if answer.status == 416:
            return Answer(416, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}')
        if request.method == "PATCH" and answer.status == 202:
            answer.headers["range"] = f"0-{len(request.body) - 1}"
        if request.method == "GET" and answer.status == 204:
            answer.headers["range"] = f"bytes=0-{len(self.uploads[session]) - 1}"
        return answer
