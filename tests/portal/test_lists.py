"""Lists stay as they stand: whatever is in them, whatever was done, whatever was refused."""

import ast
import hashlib
import inspect
import json
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx2
import pytest
from tests.portal.data import CONFIG, INDEX, MANIFEST
from tests.portal.html import Document
from tests.portal.visitor import Site

from moorage.portal import pages
from moorage.portal.visits import OF_A_LIST

SHA512 = 33
"""Artifacts whose digests are too long for one question to the API."""


def pushed(site: Site, repository: str, tag: str, document: dict[str, Any]) -> dict[str, Any]:
    """Push a manifest under a tag and its sha512; its descriptor."""
    content = json.dumps(document).encode()
    digest = f"sha512:{hashlib.sha512(content).hexdigest()}"
    answer = httpx2.put(
        f"{site.registry.url}/v2/{repository}/manifests/{digest}",
        params={"tag": tag},
        content=content,
        headers={"Content-Type": document["mediaType"]},
        auth=(site.registry.username, site.registry.password),
    )
    assert answer.status_code == 201, answer.text
    return {"mediaType": document["mediaType"], "digest": digest, "size": len(content)}


def test_many_long_digests_are_one_page(site: Site) -> None:
    """Fifty lines, and the children of an index, whose digests are sha512: each is looked up."""
    maker, admin, name = site.maker(), site.admin(), "payments/long-digests"
    config = maker.blob(name, b"{}", CONFIG)
    children = []
    for number in range(SHA512):
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [],
            "annotations": {"number": str(number)},
        }
        children.append(pushed(site, name, f"1.{number}.0", document))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    whole = pushed(site, name, "2.0.0", index)["digest"]
    base = f"/harbor/projects/{site.project('payments')}/repositories/long-digests/artifacts-tab"
    page = admin.get(f"{base}?size=50")
    assert page.count('<span class="muted">Image</span>') == SHA512 + 1
    assert page.count('<td class="muted">Image</td>') == SHA512
    inside = admin.get(f"{base}/artifacts/{whole}?tab=children")
    assert inside.count("</td><td>Image</td>") == SHA512


def test_a_typo_in_a_comparison_can_be_corrected(site: Site) -> None:
    """The page says what is not there, between the two fields with what was typed."""
    admin = site.admin()
    base = f"/harbor/projects/{site.project('payments')}/repositories/api/compare"
    for typed in ("no-such-tag", "no tag at all", "sha256:12"):
        page = admin.client.get(base, params={"a": "latest", "b": typed})
        assert page.status_code in (400, 404), page.text
        assert "That did not work" in page.text
        assert 'name="a" type="text" value="latest"' in page.text
        assert f'name="b" type="text" value="{typed}"' in page.text
    assert "That did not work" not in admin.get(f"{base}?a=latest&b=latest")


def test_many_are_done_where_the_list_stands(site: Site) -> None:
    """Filtered, sorted and turned: the form for what was chosen says so, and so does the way back
    from it, from one that was done and from many; and what failed is tried again there."""
    maker, admin = site.maker(), site.admin()
    for number in range(16):
        maker.image("payments/turned", f"1.{number}.0")
    project = f"/harbor/projects/{site.project('payments')}/repositories"
    base, stands = f"{project}/turned/artifacts-tab", "q=1.&sort=version&page=2&size=15"
    page = Document.read(f"{base}?{stands}", admin.get(f"{base}?{stands}"))
    form = next(each for each in page.forms if ("do", "untag") in each.buttons)
    said = form.filled(("do", "untag"), {"id": ["1.15.0"]})
    assert {name: [text] for name, text in parse_qsl(stands)}.items() <= said.items()
    asked = f"{form.action.partition('?')[0]}?{urlencode(said, doseq=True)}"
    assert f'href="{escape(f"{base}?{stands}")}">Cancel' in admin.get(asked)
    one = admin.post(asked, op="untag", id="1.15.0")
    assert one.headers["location"] == f"{base}?{stands}"
    ended = Document.read(base, admin.post(asked, op="untag", id=["1.0.0", "none"]).text)
    assert {f"{base}?{stands}", f"{base}?{stands}&do=untag&id=none"} <= set(ended.links)
    listed = f"{project}?q=pay&sort=-name&size=25"
    page = Document.read(listed, admin.get(f"{project}?q=turned&sort=-name&size=25"))
    form = next(each for each in page.forms if ("do", "delete") in each.buttons)
    said = form.filled(("do", "delete"), {})
    assert (said["q"], said["sort"], said["size"]) == (["turned"], ["-name"], ["25"])
    ended = Document.read(listed, admin.post(listed, op="delete", id=["none", "no-other"]).text)
    assert listed in ended.links


def test_a_filter_narrows_the_list_as_it_stands(site: Site) -> None:
    """In its order, with as many rows, from the first page on; also what is no filter stays."""
    admin = site.admin()
    base = f"/harbor/projects/{site.project('payments')}/repositories/api/artifacts-tab"
    for path, stands in (
        ("/harbor/users", {"sort": "-username", "size": "25"}),
        (base, {"sort": "push_time", "size": "50", "view": "artifacts"}),
    ):
        asked = f"{path}?{urlencode({**stands, 'page': '2'})}"
        page = Document.read(asked, admin.get(asked))
        mine = [each for each in page.forms if each.action.partition("?")[0] == path]
        (form,) = (each for each in mine if "q" in each.names("search"))
        said = form.filled(("", ""), {"q": ["a"]})
        told = {name: text for name, text in said.items() if text != [""]}
        assert told == {"q": ["a"], **{name: [text] for name, text in stands.items()}}


def test_tags_and_artifacts_have_buttons_of_their_own(site: Site) -> None:
    """Links lead from one to the other, to a page that is all of that view; what is searched for
    comes along, and what only one of them knows does not."""
    admin = site.admin()
    base = f"/harbor/projects/{site.project('payments')}/repositories/api/artifacts-tab"
    tags = Document.read(base, admin.get(f"{base}?q=1.&sort=version&size=25"))
    other = f"{base}?view=artifacts&q=1.&size=25"
    assert other in tags.links
    artifacts = Document.read(other, admin.get(other))
    assert f"{base}?q=1.&size=25" in artifacts.links

    def done(page: Document) -> set[str]:
        return {op for each in page.forms for name, op in each.buttons if name == "do"}

    assert done(tags) - done(artifacts) == {"untag"}


def test_every_label_can_be_chosen(site: Site) -> None:
    """Also the one behind the first hundred."""
    maker, admin = site.maker(), site.admin()
    made = maker.api("POST", "/projects", {"project_name": "labelled"})
    number = int(made.headers["location"].rpartition("/")[2])
    for place in range(101):
        said = {"name": f"label-{place:03}", "scope": "p", "project_id": number}
        maker.api("POST", "/labels", said)
    maker.image("labelled/app", "1.0.0")
    base = f"/harbor/projects/{number}/repositories/app/artifacts-tab"
    for path in (f"{base}?do=label&id=1.0.0", f"{base}/artifacts/1.0.0", f"{base}?view=artifacts"):
        page = admin.get(path)
        assert all(f">label-{place:03}</option>" in page for place in (0, 99, 100)), path


def test_a_rule_is_changed_where_the_list_stands(site: Site) -> None:
    """Rules of replication are found again by the filter that was typed."""
    admin, rule = site.admin(), site.elsewhere["rule"]
    listed = "/harbor/replications?sort=-name&size=25"
    page = Document.read(listed, admin.get(listed))
    assert {f"{listed}&do=edit&id={rule}", f"{listed}&do=delete&id={rule}"} <= set(page.links)
    for _ in range(2):
        answer = admin.post(listed, op="switch", id=rule)
        assert answer.headers["location"] == listed


def test_a_link_says_what_the_list_is_and_no_more(site: Site) -> None:
    """Whoever makes an address does not decide how long each of the links on its page is."""
    admin = site.admin()
    long = urlencode({"x": "y" * 8000, "live": "0", "z": "1"})
    assert admin.get(f"/harbor/users?{long}&q=a&sort=-username&tokens=1").count("y" * 100) == 0
    text = admin.get(f"/harbor/users?{long}&q=a&sort=-username&tokens=1")
    assert escape("/harbor/users?q=a&sort=-username&tokens=1&do=new") in text
    endless = admin.get(f"/harbor/labels?size=25&label={'y' * 3000}")
    assert endless.count("y" * 3000) == 0
    assert escape("/harbor/labels?size=25&do=new") in endless


def test_every_filter_of_a_list_is_kept() -> None:
    """What a page takes from its address for its list is what links back to it say."""
    said = set()
    for path in Path(inspect.getfile(pages)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "visit.view":
                said |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    assert {"label", "execution"} <= said <= OF_A_LIST


def test_who_is_deleted_leaves_the_list(site: Site) -> None:
    """Also while the page shows his access tokens; those of somebody else stay open."""
    admin, maker = site.admin(), site.maker()
    numbers = []
    for name in ("goes", "follows"):
        said = {"username": name, "password": "Work-2026-Long", "email": f"{name}@example.com"}
        made = maker.api("POST", "/users", {**said, "realname": name})
        numbers.append(made.headers["location"].rpartition("/")[2])
    first, second = numbers
    listed = f"/harbor/users?sort=-username&tokens={first}"
    other = admin.post(f"{listed}&do=delete&id={second}", op="delete", id=second)
    assert other.headers["location"] == listed
    page = admin.done(f"{listed}&do=delete&id={first}", op="delete", id=first)
    assert "Deleted." in page
    assert "follows@example.com" not in page
    gone = admin.get(listed, status=404)
    assert "That did not work" in gone
    assert "Filter by name" in gone


@pytest.mark.parametrize(
    ("path", "do", "op"),
    [
        ("/harbor/users", "password", "password"),
        ("/harbor/users", "delete", "delete"),
        ("/harbor/groups", "rename", "rename"),
        ("/harbor/labels", "delete", "delete"),
        ("/harbor/registries", "edit", "edit"),
        ("/harbor/replications", "delete", "delete"),
        ("/harbor/robot-accounts", "secret", "secret"),
        ("/harbor/project-quotas", "edit", "edit"),
        ("{project}/members", "remove", "remove"),
        ("{project}/webhook", "edit", "edit"),
    ],
)
def test_what_is_gone_takes_no_list_away(site: Site, path: str, do: str, op: str) -> None:
    """Somebody else was faster: there is the list, without the form, and the reason."""
    admin = site.admin()
    said = {"password": "Work-2026-Long", "name": "other", "limit": "1 GiB"}
    where = path.format(project=f"/harbor/projects/{site.project('payments')}")
    for answer in (
        admin.client.get(f"{where}?do={do}&id=99999"),
        admin.post(f"{where}?do={do}&id=99999", op=op, id="99999", **said),
    ):
        assert answer.status_code == 404, answer.text
        assert answer.text.count("That did not work") == 1
        assert '<div id="list-1">' in answer.text
        assert f'name="op" value="{op}">' not in answer.text.partition('<div id="list-1">')[0]


def test_another_form_empties_no_open_one(site: Site) -> None:
    """The rights of a robot account are those that it holds, or those that were ticked in its own
    form; one for another account that is refused unticks nothing."""
    admin, maker = site.admin(), site.maker()
    access = [{"resource": "repository", "action": "pull"}, {"resource": "tag", "action": "list"}]
    space = {"kind": "project", "namespace": "payments", "access": access}
    said = {"name": "held", "level": "system", "duration": -1, "permissions": [space]}
    number = maker.api("POST", "/robots", said).json()["id"]
    form = f"/harbor/robot-accounts?do=edit&id={number}"

    def ticked(answer: httpx2.Response) -> set[str]:
        assert "That did not work" in answer.text
        return set(re.findall(r'name="right" value="([^"]+)"[^>]* checked', answer.text))

    held = {"project:repository:pull", "project:tag:list"}
    assert ticked(admin.post(form, op="switch", id="99999", disable="true")) == held
    assert ticked(admin.post(form, op="edit", id="99999", right="project:tag:list")) == held
    typed = {"project:tag:list", "project:artifact:read"}
    refused = admin.post(form, op="edit", id=number, duration="x", right=list(typed))
    assert ticked(refused) == typed
