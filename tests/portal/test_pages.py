"""Pages of the portal without a browser: what is shown, what forms do, what is refused."""

import json
import re
import time

import httpx2
import pytest
from tests.portal.crawl import template
from tests.portal.data import CONFIG, EMPTY, MANIFEST, SIGNATURE, Maker
from tests.portal.html import Harmful
from tests.portal.paths import NO_PAGES, every, strangers
from tests.portal.visitor import Site, Visitor

from moorage.portal import Portal, PortalApi
from moorage.portal.core import OverHttp
from moorage.portal.pages import ROUTES
from moorage.portal.parts import MOST_LINES

MOST_CALLS = 12
"""How often a page asks the API, with all that stands around it."""


def test_every_page_is_whole_and_harmless(site: Site) -> None:
    """200, under the policy, and nothing that somebody wrote is HTML.

    GO-2025-3825, CVE-2025-32019.
    """
    pages = [(site.admin(), path) for path in every(site)]
    pages += [(site.visitor(), path) for path in strangers(site)]
    for visitor, path in pages:
        answer = visitor.client.get(path, follow_redirects=True)
        assert answer.status_code == 200, (path, answer.text[:500])
        assert (
            "default-src 'self'; script-src 'self'; style-src 'self'"
            in (answer.headers["content-security-policy"])
        )
        assert answer.headers["cache-control"] == "no-store"
        assert Harmful.found_in(answer.text) == [], path
        assert answer.text.rstrip().endswith("</html>"), path


def test_no_page_is_forgotten(site: Site) -> None:
    """Tests that look at every page see each route: by a link, or because it is listed."""
    seen = {template(path) for path in [*every(site), *strangers(site), *NO_PAGES]}
    assert {path for path, *_ in ROUTES} == seen


@pytest.mark.anyio
async def test_a_page_asks_the_api_a_few_times(site: Site) -> None:
    """However much is on it; and the portal works as well from another process, over HTTP."""
    async with (
        OverHttp(httpx2.AsyncHTTPTransport(), site.registry.url) as core,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(Portal(api := PortalApi(core))),
            base_url=site.registry.url,
        ) as client,
    ):
        client.cookies = site.admin().client.cookies
        wrong = {}
        for path in every(site):
            before = api.calls
            answer = await client.get(path)
            assert answer.status_code in (200, 303), path
            if api.calls - before > MOST_CALLS:
                wrong[path] = api.calls - before
        assert wrong == {}


@pytest.mark.anyio
async def test_a_tower_of_signatures_is_no_lever(site: Site) -> None:
    """Whoever pushes signatures of signatures does not decide how much work a page is."""
    maker = site.maker()
    top = maker.image("payments/tower", "v1")
    below = [signature(maker, top, f"{n}") for n in range(7)]
    above = [signature(maker, subject, f"{subject}{n}") for subject in below for n in range(4)]
    place = f"/harbor/projects/{site.project('payments')}/repositories/tower/artifacts-tab"
    async with (
        OverHttp(httpx2.AsyncHTTPTransport(), site.registry.url) as core,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(Portal(api := PortalApi(core))),
            base_url=site.registry.url,
        ) as client,
    ):
        client.cookies = site.admin().client.cookies
        answer = await client.get(f"{place}/artifacts/{top}", params={"tab": "referrers"})
        assert answer.status_code == 200
        assert all(each in answer.text for each in (*below, *above))
        assert api.calls <= MOST_CALLS


def signature(maker: Maker, subject: str, text: str) -> str:
    """Push something that is attached to `subject`."""
    repository = "payments/tower"
    empty = maker.blob(repository, b"{}", EMPTY)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SIGNATURE,
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1},
        "annotations": {"text": text},
    }
    return maker.manifest(repository, "", document)


def test_whoever_pushes_does_not_decide_how_long_a_page_is(site: Site) -> None:
    """Of a hundred thousand annotations and steps of a build some are shown, in a moment."""
    maker, repository = site.maker(), "payments/long"
    notes = {f"n{n}": "v" for n in range(100_000)}
    history = [{"created_by": f"step {n}", "empty_layer": True} for n in range(50_000)]
    for tag, config, annotations in (("notes", {}, notes), ("steps", {"history": history}, {})):
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": maker.blob(repository, json.dumps(config).encode(), CONFIG),
            "layers": [],
            "annotations": annotations,
        }
        maker.manifest(repository, tag, document)
    place = f"/harbor/projects/{site.project('payments')}/repositories/long/artifacts-tab"
    visitor = site.admin()
    overview = visitor.get(f"{place}/artifacts/notes")
    assert overview.count("<dt>n") == MOST_LINES
    assert f"{len(notes) - MOST_LINES} more are not shown" in overview
    compared = visitor.get(f"{place.removesuffix('artifacts-tab')}compare?a=notes&b=steps")
    assert f"{len(notes) - MOST_LINES} more are not shown" in compared
    assert len(compared) < 1 << 20
    layers = visitor.get(f"{place}/artifacts/steps?tab=layers")
    assert "step 1" not in layers
    assert len(layers) < 1 << 17


def test_the_front_door(site: Site) -> None:
    """Home leads to the projects; a private one leads strangers to the sign-in and back."""
    nobody = site.visitor()
    for path in ("/", "/harbor"):
        assert nobody.client.get(path).headers["location"] == "/harbor/projects"
    private = f"/harbor/projects/{site.project('payments')}/repositories"
    answer = nobody.client.get(private)
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where.startswith("/account/sign-in?redirect_url=%2Fharbor%2Fprojects")
    assert 'name="redirect_url" value="' + private in nobody.get(where)
    answer = nobody.post(where, principal="mara", password="wrong", redirect_url=private)
    assert answer.status_code == 401
    assert "Wrong name or password." in answer.text
    assert 'value="mara"' in answer.text
    answer = nobody.post(where, principal="mara", password="Work-2026-Long", redirect_url=private)
    assert answer.headers["location"] == private
    assert "Developer" in nobody.get(private)


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_signing_in_leads_to_no_other_site(site: Site, elsewhere: str) -> None:
    """Only a path of the portal is a place to go to.

    GO-2024-2915, zot 3844.
    """
    answer = site.visitor().post(
        "/account/sign-in", principal="mara", password="Work-2026-Long", redirect_url=elsewhere
    )
    assert answer.headers["location"] == "/harbor/projects"


def test_strangers_see_public_projects(site: Site) -> None:
    """Without an account, and without what only members may see."""
    nobody = site.visitor()
    text = nobody.get(f"/harbor/projects/{site.project('checkout')}/repositories")
    assert "/repositories/api" in text
    assert "Members" not in text
    assert "payments" not in nobody.get("/harbor/projects")


def test_forms_need_the_token_of_their_page(site: Site) -> None:
    """Without it, or with another's, nothing happens and the page says so.

    GO-2022-0876.
    """
    admin, other = site.admin(), site.admin()
    for token in ("", "x", other.token("/harbor/projects")):
        answer = admin.client.post(
            "/harbor/projects", data={"csrf": token, "op": "create", "name": "by-csrf"}
        )
        assert answer.status_code == 403
        assert "CSRF" in answer.text
    planted = {"csrf": admin.token("/harbor/projects"), "op": "create", "name": "by-csrf"}
    for where in ("same-site", "cross-site"):
        headers = {"Sec-Fetch-Site": where}
        answer = admin.client.post("/harbor/projects", data=planted, headers=headers)
        assert answer.status_code == 403
    assert "by-csrf" not in admin.get("/harbor/projects")


def test_a_refused_form_shows_the_page_again(site: Site) -> None:
    """With the reason and with what was typed."""
    admin = site.admin()
    answer = admin.post("/harbor/projects?do=new", op="create", name="Not A Name")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert 'value="Not A Name"' in answer.text


def test_projects_and_members(site: Site) -> None:
    """Made, filled with people, changed and deleted, by forms alone."""
    admin = site.admin()
    page = admin.done("/harbor/projects?do=new", op="create", name="made-here", public="true")
    assert "Public" in page
    base = f"/harbor/projects/{site.project('made-here')}"
    page = admin.done(f"{base}/members?do=new", op="add", kind="user", name="amina", role="2")
    assert "amina" in page
    assert "Developer" in page
    number = re.search(r'"Actions for amina".*?do=role&amp;id=(\d+)', page, re.DOTALL)
    assert number is not None
    assert "Guest" in admin.done(f"{base}/members", op="role", id=number[1], role="3")
    assert "amina" not in admin.done(f"{base}/members", op="remove", id=number[1])
    admin.done(f"{base}/configs", op="save")
    assert "Private" in admin.get(f"{base}/summary")
    answer = admin.post(f"{base}/configs", op="delete", name="another")
    assert answer.status_code == 400
    assert "made-here is deleted." in admin.done(f"{base}/configs", op="delete", name="made-here")


def test_a_secret_is_shown_once(site: Site) -> None:
    """In the answer to the form, and nowhere afterwards; it opens what it should."""
    admin = site.admin()
    base = f"/harbor/projects/{site.project('payments')}/robot-account"
    answer = admin.post(
        f"{base}?do=new",
        op="create",
        name="once",
        duration="5",
        right=["project:repository:pull", "project:repository:push"],
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    secret = re.search(r"<code data-secret>([^<]+)</code>", answer.text)
    assert secret is not None
    assert secret[1] not in admin.get(base)
    maker = site.maker("robot$payments+once", secret[1])
    maker.image("payments/by-robot", "v1")
    page = admin.get(f"/harbor/projects/{site.project('payments')}/repositories/by-robot")
    assert "v1" in page
    answer = admin.post("/account/tokens?do=new", op="create", name="script", days="3")
    shown = re.search(r"<code data-secret>([^<]+)</code>", answer.text)
    assert shown is not None
    page = admin.get("/account/tokens")
    assert "script" in page
    assert shown[1] not in page


def test_artifacts_by_forms(site: Site) -> None:
    """A tag added and removed, a label on and off, a copy, a delete and its way back."""
    admin = site.admin()
    site.maker().image("payments/forms", "one")
    project = site.project("payments")
    base = f"/harbor/projects/{project}/repositories/forms/artifacts-tab"
    one = f"{base}/artifacts/one"
    assert "stable" in admin.done(f"{one}?do=tag", op="tag", name="stable")
    assert "stable" not in admin.done(one, op="untag", name="stable")
    label = re.search(r'<option value="(\d+)">production', admin.get(one))
    assert label is not None
    assert "Take the label production off" in admin.done(one, op="label", label=label[1])
    admin.done(one, op="unlabel", label=label[1])
    admin.done(f"{one}?do=copy", op="copy", project="checkout", repository="copied")
    assert "one" in admin.get(f"/harbor/projects/{site.project('checkout')}/repositories/copied")
    page = admin.get(f"{base}?do=delete&id=one")
    assert "Delete an artifact?" in page
    assert "The artifact is deleted." in admin.done(base, op="delete", id="one")
    trash = f"/harbor/projects/{project}/trash"
    digest = re.search(r'name="digest" value="(sha256:[0-9a-f]+)"', admin.get(trash))
    assert digest is not None
    done = admin.done(trash, op="restore", repository="payments/forms", digest=digest[1])
    assert "Restored: one" in done


def test_rules_and_their_preview(site: Site) -> None:
    """What retention would keep is shown before anything goes."""
    admin = site.admin()
    base = f"/harbor/projects/{site.project('checkout')}/tag-strategy"
    page = admin.done(
        f"{base}/tag-retention?do=new",
        op="create",
        repo_how="matches",
        repositories="**",
        tag_how="matches",
        tags="**",
        template="latestPushedK",
        count="1",
        untagged="true",
    )
    assert "the most recently pushed" in page
    preview = admin.get(f"{base}/tag-retention?do=preview")
    assert "stays" in preview
    assert "goes" in preview
    assert "#" in admin.done(f"{base}/tag-retention", op="dry")
    page = admin.done(
        f"{base}/tag-retention?do=schedule", op="schedule", when="0 0 0 * * *", cron=""
    )
    assert admin.done(f"{base}/tag-retention", op="delete", rule="0")
    page = admin.done(
        f"{base}/immutable-tag?do=new",
        op="create",
        repo_how="matches",
        repositories="nothing",
        tag_how="matches",
        tags="v*",
    )
    assert "nothing" in page


def test_people_settings_and_operations(site: Site) -> None:
    """The pages of an administrator do what they say."""
    admin = site.admin()
    page = admin.done(
        "/harbor/users?do=new",
        op="create",
        username="yuna",
        email="yuna@example.com",
        realname="Yuna",
        password="Work-2026-Long",
    )
    assert "yuna" in page
    assert "Backend" in admin.done("/harbor/groups?do=new", op="create", kind="3", name="Backend")
    label = {"op": "create", "name": "every", "color": "#0065AB", "description": "x"}
    assert "every" in admin.done("/harbor/labels?do=new", **label)
    assert "7.0 GiB" in admin.done("/harbor/project-quotas", op="edit", id="1", limit="7")
    page = admin.done("/harbor/clearing-job/gc", op="schedule", type="Daily", workers="1")
    assert "every day" in page
    admin.done("/harbor/clearing-job/gc", op="schedule", type="None", workers="1")
    assert "#" in admin.done(
        "/harbor/clearing-job/gc?do=run", op="run", workers="1", dry_run="true"
    )
    jobs = "/harbor/job-service-dashboard"
    assert "held" in admin.done(f"{jobs}/pending-jobs", op="pause", type="GARBAGE_COLLECTION")
    admin.done(f"{jobs}/pending-jobs", op="resume", type="GARBAGE_COLLECTION")
    page = admin.done("/harbor/configs/setting", op="save", **settings(admin.get, "tide & wind"))
    assert "tide &amp; wind" in page
    admin.done("/harbor/configs/setting", op="save", **settings(admin.get, ""))


def settings(get: object, banner: str) -> dict[str, str]:
    """The fields of the page as they stand, with another banner."""
    assert callable(get)
    text = get("/harbor/configs/setting")
    fields = dict(re.findall(r'<input id="i-\w+" name="(\w+)" type="\w+" value="([^"]*)"', text))
    checked = re.findall(r'type="checkbox" name="(\w+)" value="true" checked', text)
    fields |= dict.fromkeys(checked, "true")
    fields |= {"project_creation_restriction": "everyone", "banner_message": banner}
    return fields


def test_harbors_paths_stay_good(site: Site) -> None:
    """A name escaped once, twice or not at all; an artifact inside an index."""
    admin = site.admin()
    project = site.project("payments")
    for name in ("charts%2Fpayments", "charts%252Fpayments", "charts/payments"):
        for end in ("", "/info-tab", "/artifacts-tab", "/artifacts-tab/artifacts/0.4.2"):
            admin.get(f"/harbor/projects/{project}/repositories/{name}{end}")
    index = admin.get(f"/harbor/projects/{project}/repositories/api/artifacts-tab")
    child = re.search(r'href="([^"]+/depth/sha256:\w+/artifacts/sha256:\w+)"', index)
    assert child is not None
    admin.get(child[1])


def test_what_is_not_there(site: Site) -> None:
    """Has a page of its own, in the shell; so has a number that is too long to be read."""
    admin = site.admin()
    for path in (
        *("/nothing", "/harbor/nothing", "/harbor/projects%0A"),
        *("/harbor/projects/99999/repositories", f"/harbor/replications/{'9' * 5000}"),
    ):
        assert "Not found" in admin.get(path, 404)
    assert site.visitor().client.get("/static/none.js").status_code == 404
    assert site.visitor().client.put("/harbor/projects").status_code == 405


def test_a_stream_tells_of_changes(site: Site) -> None:
    """The live part of a page comes as an event at once."""
    admin = site.admin()
    with admin.client.stream("GET", "/harbor/job-service-dashboard/workers?live=1") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines) == "retry: 1000"
        assert next(lines).startswith("data: ")


def test_korean_for_whoever_wants_it(site: Site) -> None:
    """By the browser's wish, or by choice."""
    admin = site.admin()
    page = admin.client.get("/harbor/projects", headers={"Accept-Language": "ko,en;q=0.5"}).text
    assert '<html lang="ko">' in page
    assert "프로젝트" in page
    token = admin.token("/account/profile")
    admin.done("/account/language", lang="ko", redirect_url="/account/profile", csrf=token)
    assert "액세스 토큰" in admin.get("/account/tokens")


def test_assets_are_kept_for_ever(site: Site) -> None:
    """Under the version that a page names, compressed; and asked about by their tag otherwise."""
    nobody = site.visitor()
    found = re.search(r'href="(/static/app\.css\?v=\w+)"', nobody.get("/account/sign-in"))
    assert found is not None
    answer = nobody.client.get(found[1])
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    again = nobody.client.get("/static/app.css", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_names_lead_to_no_other_resource(site: Site) -> None:
    """What stands in a path of the portal is one name in the API, however it is written."""
    admin = site.admin()
    for path in (
        "/harbor/projects/%2e%2e/repositories",
        "/harbor/projects/payments/repositories/%2e%2e/artifacts-tab",
        "/harbor/projects/payments/repositories/api/artifacts-tab/artifacts/%2e%2e",
    ):
        assert admin.client.get(httpx2.URL(site.registry.url).join(path)).status_code == 404, path


def test_cookies_of_others_are_not_passed_on(site: Site) -> None:
    """What cannot be ours is as good as none, and breaks no page."""
    for sid in (b"\xff\xfe", b'"a\\015\\012x: y"', b'"a\\073 b=c"'):
        headers = {b"cookie": b"sid=" + sid}
        answer = site.visitor().client.get("/harbor/projects", headers=headers)
        assert answer.status_code == 200, sid


def test_visitors_do_not_share_cookies(site: Site) -> None:
    """The portal asks the API for many people at once: nobody is taken for the one before."""
    site.visitor("mara", "Work-2026-Long").get("/account/profile")
    assert site.visitor().client.get("/account/profile").status_code == 303
    assert ">amina<" in site.visitor("amina", "Work-2026-Long").get("/account/profile")
    assert ">mara<" not in site.visitor("amina", "Work-2026-Long").get("/account/profile")


def test_signing_out_ends_the_session(site: Site) -> None:
    """The cookie is worth nothing afterwards."""
    admin = site.admin()
    kept = dict(admin.client.cookies)
    stranger = site.visitor().token("/account/sign-in")  # as another site can get one
    for wrong in ("x", stranger):
        answer = admin.client.post("/account/sign-out", data={"csrf": wrong})
        assert answer.headers["location"] == "/harbor/projects"
        assert "sid=" not in answer.headers.get("set-cookie", "")
    answer = admin.post("/account/sign-out", csrf=admin.token("/harbor/projects"))
    assert answer.headers["location"] == "/account/sign-in"
    old = site.visitor()
    for name, value in kept.items():
        old.client.cookies.set(name, value)
    assert old.client.get("/harbor/users").status_code == 303


def test_the_audit_log_narrows_to_whom_it_is_for(site: Site) -> None:
    """Who administers one project reads of it alone; a guest of it, neither there nor in all."""
    maker = site.maker()
    maker.people(["log-admin", "log-guest"])
    number = maker.project("log-of-one")
    for role, name in ((1, "log-admin"), (3, "log-guest")):
        member = {"role_id": role, "member_user": {"username": name}}
        maker.api("POST", f"/projects/{number}/members", member)
    one = f"/harbor/projects/{number}"
    admin, guest = (site.visitor(name, "Work-2026-Long") for name in ("log-admin", "log-guest"))
    others = "/harbor/logs?q=payments"
    assert rows(site.admin(), others, "payments")
    assert "Nothing matches" in admin.get(others)
    for page in ("/harbor/logs?size=100", f"{one}/logs?size=100"):
        of_one = rows(admin, page, "log-guest")
        assert "payments" not in of_one
        assert "checkout" not in of_one
    assert f'href="{one}/logs"' in admin.get(f"{one}/members")
    assert f'href="{one}/logs"' not in guest.get(f"{one}/members")
    guest.get(f"{one}/logs", 403)
    assert "Nothing happened yet" in guest.get("/harbor/logs")


def rows(visitor: Visitor, page: str, text: str) -> str:
    """The rows of its table, as soon as one has the text: what is told to the log comes later."""
    until = time.monotonic() + 60
    while text not in (found := visitor.get(page).partition("<tbody>")[2]):
        assert time.monotonic() < until, text
        time.sleep(0.1)
    return found.partition("</tbody>")[0]
