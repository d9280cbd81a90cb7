"""Who gets in, what a refusal says, and what it must not say."""

import statistics
import time

import pytest

from moorage.distribution import Options
from moorage.distribution.routes import ROUTES, Route
from moorage.oci import digest as digests
from tests.protocol.client import Client
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
BODY = b"secret layer"
DIGEST = digests.of(BODY)
ABSENT = "sha256:" + "0" * 64
SESSION = "00000000-0000-0000-0000-000000000000"


def filled(path: str, repository: str) -> str:
    """A path of the route table with something in its places."""
    return (
        path.replace("<name>", repository)
        .replace("<reference>", "v1")
        .replace("<digest>", DIGEST)
        .replace("<session>", SESSION)
    )


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
async def test_nobody_gets_in_without_saying_who(registry: Registry, route: Route) -> None:
    """Every route answers 401 with a challenge, on public projects too.

    GO-2022-0785.
    """
    answer = await registry.client().ask(route.method, filled(route.path, "open/app"))
    assert answer.status == 401
    challenge = answer.header("www-authenticate") or ""
    if route.endpoint == "catalog":
        assert challenge == 'Basic realm="harbor"'
        return
    expected = 'Bearer realm="http://registry.test/service/token",service="harbor-registry"'
    actions = {"pull": "pull", "push": "pull,push", "delete": "pull,delete"}.get(route.right)
    if actions:
        expected += f',scope="repository:open/app:{actions}"'
    assert challenge == expected


GUARDED = [route for route in ROUTES if route.right in ("pull", "push", "delete")]


@pytest.mark.parametrize("route", GUARDED, ids=lambda r: f"{r.method} {r.path}")
async def test_every_route_asks_for_its_right(registry: Registry, route: Route) -> None:
    """A token with every right but the one of the route is refused and told which one lacks."""
    others = ",".join({"pull", "push", "delete"} - {route.right})
    client = await registry.bearer("dev", {REPO: others})
    answer = await client.ask(route.method, filled(route.path, REPO))
    assert answer.status == 401
    assert 'error="insufficient_scope"' in (answer.header("www-authenticate") or "")
    full = await registry.bearer("dev", {REPO: route.right})
    assert (await full.ask(route.method, filled(route.path, REPO))).status != 401


async def test_mounting_asks_for_both_scopes(registry: Registry) -> None:
    """A client learns from the challenge that it needs the source as well."""
    target = f"/v2/{REPO}/blobs/uploads/?mount={ABSENT}&from=other/base"
    answer = await registry.client().ask("POST", target)
    assert (answer.header("www-authenticate") or "").endswith(
        'scope="repository:team/app:pull,push repository:other/base:pull"'
    )
    injected = target + '",error="x'
    answer = await registry.client().ask("POST", injected)
    assert (answer.header("www-authenticate") or "").endswith(
        'scope="repository:team/app:pull,push"'
    )


async def test_bad_credentials(registry: Registry) -> None:
    """A wrong password is asked for again by Basic, a bad token for another token."""
    basic = await registry.client("dev", "wrong").ask("GET", f"/v2/{REPO}/manifests/v1")
    assert (basic.status, basic.header("www-authenticate")) == (401, 'Basic realm="harbor"')
    token = await Client(registry.app, "Bearer bad").ask("GET", f"/v2/{REPO}/manifests/v1")
    assert token.status == 401
    assert (token.header("www-authenticate") or "").endswith(',error="invalid_token"')


@pytest.mark.parametrize(
    ("options", "host", "scheme", "realm"),
    [
        (Options(), "r.example:5000", "http", "http://r.example:5000"),
        (Options(), "[::1]:5000", "http", "http://[::1]:5000"),
        (Options(), "r.example", "https", "https://r.example"),
        (Options(external_url="https://ext.example"), "r.example", "http", "https://r.example"),
        (Options(external_url="https://ext.example"), 'x",y="', "http", "https://ext.example"),
        (Options(external_url="https://e.example/reg/"), "h", "http", "https://h/reg"),
    ],
)
async def test_where_the_token_service_is(
    registry: Registry, options: Options, host: str, scheme: str, realm: str
) -> None:
    """The host that the client used under the scheme of the external URL; never an injected one."""
    client = Client(registry.reopened(options))
    answer = await client.ask("GET", "/v2/", headers={"host": host}, scheme=scheme)
    assert (answer.header("www-authenticate") or "").startswith(
        f'Bearer realm="{realm}/service/token"'
    )


@pytest.mark.parametrize(
    "target",
    [
        "/v2/team/appx/manifests/v1",
        "/v2/team/ap/manifests/v1",
        "/v2/team/app/sub/manifests/v1",
        "/v2/team/manifests/v1",
        "/v2/Team/app/manifests/v1",
        "/v2/team/app/../app/manifests/v1",
        "/v2/team/x/../app/manifests/v1",
        "/v2/team/x/%2e%2e/app/manifests/v1",
        "/v2/team%2fapp/manifests/v1",
        "/v2/team//app/manifests/v1",
        "/v2//team/app/manifests/v1",
        "/v2/team/app%00/manifests/v1",
        "/v2/team/app/manifests/v1/",
        "/v2/other/app/manifests/v1",
    ],
)
async def test_a_token_opens_one_repository_only(
    registry: Registry, dev: Client, target: str
) -> None:
    """No spelling of a path makes a token for one repository work on another."""
    await dev.push_image(REPO, "v1")
    token = await registry.bearer("dev", {REPO: "pull"})
    for _ in range(2):
        assert (await token.ask("GET", f"/v2/{REPO}/manifests/v1")).status == 200
        answer = await token.ask("GET", target)
        assert answer.status in (400, 401, 404), answer
        assert b"schemaVersion" not in answer.body


async def test_an_encoded_name_is_the_same_name(registry: Registry, dev: Client) -> None:
    """Harmless percent-encoding is understood, and needs the same right."""
    digest = await dev.push_image(REPO, "v1")
    token = await registry.bearer("dev", {REPO: "pull"})
    encoded = digest.replace(":", "%3A")
    for target in (f"/v2/t%65am/app/manifests/{encoded}", f"/v2/team/app/blobs/{encoded}"):
        answer = await token.ask("GET", target)
        assert answer.status == (200 if "manifests" in target else 404)
        other = await registry.bearer("dev", {"team/else": "pull"})
        assert (await other.ask("GET", target)).status == 401


async def test_push_does_not_imply_pull(registry: Registry, dev: Client) -> None:
    """A token with push alone cannot read what it wrote."""
    writer = await registry.bearer("dev", {REPO: "push"})
    digest = await writer.push_blob(REPO, BODY)
    assert (await writer.ask("GET", f"/v2/{REPO}/blobs/{digest}")).status == 401


async def test_an_account_that_was_locked_cannot_write(registry: Registry, dev: Client) -> None:
    """A token outlives its account's rights for reading at the most."""
    token = await registry.bearer("dev", {REPO: "pull,push,delete"})
    await token.push_image(REPO, "v1")
    await registry.change_account("dev")
    for method, path in (
        ("POST", "blobs/uploads/"),
        ("PUT", "manifests/v2"),
        ("DELETE", "manifests/v1"),
        ("DELETE", f"blobs/{DIGEST}"),
    ):
        answer = await token.ask(method, f"/v2/{REPO}/{path}")
        assert answer.status == 401, (method, path)
    assert (await dev.ask("GET", f"/v2/{REPO}/tags/list")).status == 200


# --- existence


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_unknown_and_foreign_blobs_answer_alike(
    registry: Registry, dev: Client, method: str
) -> None:
    """Whether somebody else has a blob cannot be seen: same status, headers and body.

    CVE-2024-39897, openshift/origin#9819.
    """
    await registry.client("stranger").push_blob("other/app", BODY)
    await dev.push_blob(REPO, b"mine")
    foreign = await dev.ask(method, f"/v2/{REPO}/blobs/{DIGEST}")
    unknown = await dev.ask(method, f"/v2/{REPO}/blobs/{ABSENT}")
    assert foreign.status == 404
    assert foreign.status == unknown.status
    assert foreign.headers == unknown.headers
    assert foreign.body.replace(DIGEST.encode(), ABSENT.encode()) == unknown.body
    guest = registry.client("guest")
    seen = await guest.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}")
    assert seen.headers == (await guest.ask("HEAD", f"/v2/{REPO}/blobs/{ABSENT}")).headers


async def test_mounting_unknown_and_foreign_blobs_answers_alike(
    registry: Registry, dev: Client
) -> None:
    """202 and a session in every case: absent, not readable, in a project that is not there.

    CVE-2024-39897, pulp_container#1286.
    """
    await registry.client("stranger").push_blob("other/app", BODY)
    answers = []
    for digest, query in (
        (DIGEST, "&from=other/app"),
        (ABSENT, "&from=other/app"),
        (DIGEST, "&from=missing/app"),
        (DIGEST, ""),
        (ABSENT, ""),
        (DIGEST, "&from=..%2f..%2fother/app"),
    ):
        answer = await dev.ask("POST", f"/v2/{REPO}/blobs/uploads/?mount={digest}{query}", length=0)
        varying = ("location", "docker-upload-uuid")
        answers.append((answer.status, [h for h in answer.headers if h[0] not in varying]))
        status = await dev.ask("GET", answer.location)
        assert status.header("range") == "0-0"
    assert answers[0][0] == 202
    assert all(answer == answers[0] for answer in answers)


async def test_a_source_in_another_project_needs_its_own_right(
    registry: Registry, dev: Client
) -> None:
    """A token for the target alone mounts within its project, and nothing from another one.

    The account behind the token has the right, but whoever holds the token need not.
    """
    await dev.push_blob("team/base", BODY)
    within = await registry.bearer("dev", {REPO: "pull,push"})
    target = f"/v2/{REPO}/blobs/uploads/?mount={DIGEST}"
    assert (await within.ask("POST", f"{target}&from=team/base")).status == 201
    blind = await registry.bearer("dev", {"team/new": "push"})
    mount = f"/v2/team/new/blobs/uploads/?mount={DIGEST}&from=team/base"
    assert (await blind.ask("POST", mount)).status == 202
    content = b"of others"
    digest = await registry.client("stranger").push_blob("other/base", content)
    target = f"/v2/{REPO}/blobs/uploads/?mount={digest}"
    narrow = await registry.bearer("admin", {REPO: "pull,push"})
    for query in ("&from=other/base", ""):
        assert (await narrow.ask("POST", target + query)).status == 202
    wide = await registry.bearer("admin", {REPO: "pull,push", "other/base": "pull"})
    assert (await wide.ask("POST", f"{target}&from=other/base")).status == 201


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("who", ["stranger", "guest", None])
async def test_unknown_and_forbidden_projects_answer_alike(
    registry: Registry, dev: Client, method: str, who: str | None
) -> None:
    """To somebody without rights a private project looks like none at all."""
    await registry.client("stranger").push_image("other/app", "v1")
    await dev.push_image(REPO, "v1")
    closed = "team" if who == "stranger" else "other"
    client = registry.client(who)
    answers = [
        await client.ask(method, f"/v2/{project}/app/manifests/v1")
        for project in (closed, "missing")
    ]
    assert answers[0].status == 401
    first, second = (
        (a.status, str(a.headers).replace(p, "P"), a.body.replace(p.encode(), b"P"))
        for a, p in zip(answers, (closed, "missing"), strict=True)
    )
    strip = [
        (k, v) for k, v in answers[0].headers if k not in ("content-length", "www-authenticate")
    ]
    assert strip == [
        (k, v) for k, v in answers[1].headers if k not in ("content-length", "www-authenticate")
    ]
    assert (first[0], first[2]) == (second[0], second[2])


async def test_an_upload_of_known_content_sends_all_of_it(registry: Registry, dev: Client) -> None:
    """Knowing a digest is no proof of having the content.

    CVE-2024-39897.
    """
    await registry.client("stranger").push_blob("other/app", BODY)
    where = (await dev.ask("POST", f"/v2/{REPO}/blobs/uploads/", length=0)).location
    answer = await dev.ask("PUT", f"{where}?digest={DIGEST}", length=0)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}")).status == 404


async def test_time_does_not_tell_either(registry: Registry, dev: Client) -> None:
    """Medians of looking for unknown and foreign blobs differ less than they scatter."""
    await registry.client("stranger").push_blob("other/app", BODY)
    await dev.push_blob(REPO, b"mine")
    times: dict[str, list[float]] = {DIGEST: [], ABSENT: []}
    for _ in range(120):
        for digest, taken in times.items():
            start = time.perf_counter()
            await dev.ask("HEAD", f"/v2/{REPO}/blobs/{digest}")
            taken.append(time.perf_counter() - start)
    foreign, unknown = (statistics.median(taken) for taken in times.values())
    scatter = max(statistics.pstdev(taken) for taken in times.values())
    assert abs(foreign - unknown) < max(scatter, 0.5 * min(foreign, unknown))


async def test_who_runs_the_registry_is_told_that_a_project_lacks(registry: Registry) -> None:
    """Everybody else is told the same as of a project that is not theirs."""
    uploads = "/v2/none/app/blobs/uploads/"
    refused = await registry.client("admin").ask("POST", uploads)
    assert refused.status == 401
    assert refused.json()["errors"][0]["message"] == "project none not found"
    refused = await registry.client("dev").ask("POST", uploads)
    other = await registry.client("dev").ask("POST", uploads.replace("none", "other"))
    assert refused.status == other.status == 401
    assert refused.body.replace(b"none", b"other") == other.body
