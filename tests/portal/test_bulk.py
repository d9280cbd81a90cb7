"""The same done to many: confirmed once, told one by one, and what failed can be tried again."""

import re
from html import unescape
from typing import Any

from tests.portal.visitor import Site

_LINE = re.compile(
    r'<li class="(ok|failed)">.*?<code>([^<]+)</code>(?:<span>([^<]+)</span>)?', re.DOTALL
)


def outcomes(page: str) -> dict[str, tuple[str, str]]:
    """Name to whether it went well, and what was said of it."""
    return {unescape(name): (kind, unescape(said)) for kind, name, said in _LINE.findall(page)}


def labels(site: Site, tag: str) -> list[str]:
    """What an artifact of payments/many carries."""
    path = f"/projects/payments/repositories/many/artifacts/{tag}"
    found = site.maker().api("GET", path, with_label="true").json()
    return [each["name"] for each in found["labels"] or ()]


def test_many_artifacts_by_one_form(site: Site) -> None:
    """Labels go on and off, copies are made, tags and artifacts go; each says what came of it."""
    admin, maker = site.admin(), site.maker()
    tags = [f"1.{n}.0" for n in range(4)]
    for tag in tags:
        maker.image("payments/many", tag)
    artifact = "/projects/payments/repositories/many/artifacts/1.0.0"
    maker.api("POST", f"{artifact}/tags", {"name": "also"})
    base = f"/harbor/projects/{site.project('payments')}/repositories/many/artifacts-tab"

    def confirm(do: str, *chosen: str) -> str:
        return admin.get(f"{base}?do={do}&" + "&".join(f"id={each}" for each in chosen))

    def done(op: str, *chosen: str, **fields: Any) -> str:
        answer = admin.post(base, op=op, id=list(chosen), **fields)
        assert answer.status_code == 200, answer.text
        assert answer.text.rstrip().endswith("</html>")
        assert "content-encoding" not in answer.headers
        return answer.text

    page = confirm("label", *tags[:3])
    assert "Label of 3 artifacts" in page
    number = re.search(r'<option value="(\d+)"[^>]*>staging', page)
    assert number is not None
    said = {"label": number[1]}
    page = done("label", *tags[:3], "none", **said)
    assert {name: kind for name, (kind, _) in outcomes(page).items()} == {
        **dict.fromkeys(tags[:3], "ok"),
        "none": "failed",
    }
    assert "3 done. 1 failed." in page
    again = re.search(r'href="([^"]+)">Try again what failed', page)
    assert again is not None
    assert unescape(again[1]) == f"{base}?do=label&id=none"
    assert labels(site, tags[2]) == ["staging"]
    assert outcomes(done("label", *tags[:2], **said))[tags[0]] == ("ok", "had it already")
    assert outcomes(done("unlabel", *tags[2:], **said)) == {
        tags[2]: ("ok", ""),
        tags[3]: ("ok", "did not have it"),
    }
    assert "Copy 2 artifacts" in confirm("copy", *tags[:2])
    target = {"project": "checkout", "repository": "many/copies"}
    page = done("copy", *tags[:2], **target)
    assert outcomes(page)[tags[1]] == ("ok", "checkout/many/copies")
    copies = f"/harbor/projects/{site.project('checkout')}/repositories/many%2Fcopies"
    assert tags[1] in admin.get(copies)
    nowhere = done("copy", *tags[:2], project="no-such", repository="x")
    assert [kind for kind, _ in outcomes(nowhere).values()] == ["failed", "failed"]
    assert [kind for kind, _ in outcomes(done("untag", *tags[2:])).values()] == ["ok", "ok"]
    gone = outcomes(done("delete", "1.0.0", "also"))
    assert gone["also"] == ("ok", "went with another one of these")
    assert "Choose something first." in admin.post(base, op="delete").text
    assert "New label" in admin.done(base, op="none")  # of who has none to put on


def test_many_repositories_by_one_form(site: Site) -> None:
    """The names are those of the form, whatever stands in them."""
    admin, maker = site.admin(), site.maker()
    base = f"/harbor/projects/{site.project('checkout')}/repositories"
    for name in ("many/one", "many/two"):
        maker.image(f"checkout/{name}", "1.0")
    page = admin.post(base, op="delete", id=["many/one", "many/two", "<b>none</b>"]).text
    assert outcomes(page) == {
        "many/one": ("ok", ""),
        "many/two": ("ok", ""),
        "<b>none</b>": ("failed", outcomes(page)["<b>none</b>"][1]),
    }
    assert "many/one" not in admin.get(base)


def test_who_may_not_is_told_for_each(site: Site) -> None:
    """A guest sees no button, and a form that he sends all the same does nothing."""
    li = site.visitor("li", "Work-2026-Long")
    base = f"/harbor/projects/{site.project('payments')}/repositories/api/artifacts-tab"
    assert "Delete artifacts" not in li.get(base)
    page = li.post(base, op="delete", id=["latest", "1.0.0"])
    assert {kind for kind, _ in outcomes(page.text).values()} == {"failed"}
    admin = site.admin()
    page = admin.client.post(base, data={"op": "delete", "id": ["latest", "none"], "csrf": "x"})
    assert {kind for kind, _ in outcomes(page.text).values()} == {"failed"}
    assert "latest" in admin.get(base)
