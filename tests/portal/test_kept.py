"""A form that is saved as it is shown changes nothing, also of what it does not show."""

import re
from html import unescape

import pytest
from tests.portal.visitor import Site, Visitor

QUOTAS = "/harbor/project-quotas"
MIB, GIB = 1 << 20, 1 << 30


def shown(page: str, name: str) -> str:
    """What stands in a field of a form."""
    found = re.search(rf'<input id="i-{name}" name="{name}" type="\w+" value="([^"]*)"', page)
    assert found is not None, name
    return unescape(found[1])


def project(site: Site, name: str) -> tuple[int, int]:
    """A new project, and its quota."""
    made = site.maker().api("POST", "/projects", {"project_name": name})
    number = int(made.headers["location"].rpartition("/")[2])
    (quota,) = site.maker().api("GET", "/quotas", reference_id=str(number)).json()
    return number, int(quota["id"])


def refused(admin: Visitor, path: str, why: str, **fields: str) -> str:
    """The page that says why a form was not taken."""
    answer = admin.post(path, **fields)
    assert answer.status_code == 400, answer.text
    assert f"<p>{why}" in unescape(answer.text)
    return answer.text


def test_a_quota_stays_to_the_byte(site: Site) -> None:
    """What is shown of it is what is saved; what is no size changes nothing."""
    admin, maker = site.admin(), site.maker()
    _, quota = project(site, "kept-quota")
    api, form = f"/quotas/{quota}", f"{QUOTAS}?do=edit&id={quota}"
    why = "Give a size such as 512 MiB"
    for size, text in (
        (512 * MIB, "512 MiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (GIB + 1, "1073741825 B"),
        (-1, "-1"),
    ):
        maker.api("PUT", api, {"hard": {"storage": size}})
        assert shown(admin.get(form), "limit") == text
        admin.done(form, op="edit", id=str(quota), limit=text)
        assert maker.api("GET", api).json()["hard"]["storage"] == size
    admin.done(form, op="edit", id=str(quota), limit="0.5")
    for text in ("", "0", "-2", "1 GB", "much"):
        page = refused(admin, form, why, op="edit", id=str(quota), limit=text)
        assert shown(page, "limit") == text
    assert maker.api("GET", api).json()["hard"]["storage"] == GIB // 2


def test_the_default_quota_stays_to_the_byte(site: Site) -> None:
    """In the same way."""
    admin, maker, form = site.admin(), site.maker(), f"{QUOTAS}?do=default"
    try:
        for size, text in ((100 * MIB, "100 MiB"), (5 * GIB // 2, "2.5 GiB")):
            maker.api("PUT", "/configurations", {"storage_per_project": size})
            assert shown(admin.get(form), "limit") == text
            admin.done(form, op="default", limit=text)
            kept = maker.api("GET", "/configurations").json()["storage_per_project"]["value"]
            assert kept == size
        refused(admin, form, "Give a size such as 512 MiB", op="default", limit="")
        assert maker.api("GET", "/configurations").json()["storage_per_project"]["value"] == size
    finally:
        maker.api("PUT", "/configurations", {"storage_per_project": -1})


@pytest.mark.parametrize(
    ("limit", "hard"), [("1.5 GiB", 3 * GIB // 2), ("512 MiB", 512 * MIB), ("-1", -1), ("", -1)]
)
def test_a_new_project_has_the_quota_that_was_said(site: Site, limit: str, hard: int) -> None:
    """With its unit; none is the default; 0 makes no project."""
    admin, name = site.admin(), f"kept-new-{hard}-{len(limit)}".replace("--", "-")
    page = "/harbor/projects?do=new"
    refused(admin, page, "Give a size such as 512 MiB", op="create", name=name, limit="0")
    admin.done(page, op="create", name=name, limit=limit)
    number = site.project(name)
    (quota,) = site.maker().api("GET", "/quotas", reference_id=str(number)).json()
    assert quota["hard"]["storage"] == hard
