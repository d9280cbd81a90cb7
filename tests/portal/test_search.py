"""Search and the palette: everything that the visitor may see, by any part of its name."""

import re
from typing import Any

import httpx2
from tests.portal.visitor import Site

SEARCH = "/harbor/search"


def names(page: str) -> list[str]:
    """What a page of results leads to."""
    return re.findall(r'<a class="name" href="[^"]+">([^<]+)</a>', page)


def digest(site: Site, tag: str) -> str:
    """Of a tag of payments/api."""
    answer = httpx2.get(
        f"{site.registry.url}/api/v2.0/projects/payments/repositories/api/artifacts/{tag}",
        auth=(site.registry.username, site.registry.password),
    )
    return str(answer.json()["digest"])


def test_images_are_found_by_any_part(site: Site) -> None:
    """Name, tag, digest, a reference as it stands in a manifest; each kind on a page of its own,
    whose size and page stand in the address."""
    admin = site.admin()
    found = digest(site, "latest")
    for q in (
        "latest",
        "api:lat",
        "payments/api:latest",
        f"{site.registry.host}/payments/api:LATE",
    ):
        assert "payments/api:latest" in names(admin.get(f"{SEARCH}?q={q}")), q
    for q in (found, found[7:20], found[30:44], f"api@{found[:19]}"):
        assert any(name.startswith("payments/api:") for name in names(admin.get(f"{SEARCH}?q={q}")))
    page = admin.get(f"{SEARCH}?q=pay&kind=projects")
    assert names(page) == ["payments"]
    assert "payments/charts/payments" in names(admin.get(f"{SEARCH}?q=charts/pay"))
    few = admin.get(f"{SEARCH}?q=e")
    assert 'kind=artifacts">' in few
    assert "Nothing found" in admin.get(f"{SEARCH}?q=no-such-thing")
    assert "What are you looking for?" in admin.get(SEARCH)
    assert names(admin.get(f"{SEARCH}?q=e&kind=artifacts&size=15&page=2")) == []


def test_the_palette_finds_the_same(site: Site) -> None:
    """As JSON, the first of each kind, with the way to each."""
    admin = site.admin()
    hits: list[dict[str, Any]] = admin.client.get("/harbor/palette?q=api:latest").json()
    assert [(hit["kind"], hit["name"]) for hit in hits if hit["name"].startswith("payments")] == [
        ("Repository", "payments/api"),
        ("Artifact", "payments/api:latest"),
    ]
    for hit in hits:
        admin.get(hit["href"])
    assert admin.client.get("/harbor/palette?q=").json() == []


def test_nobody_finds_what_he_may_not_see(site: Site) -> None:
    """A private project, its repositories and its tags are not there for strangers."""
    nobody = site.visitor()
    found = names(nobody.get(f"{SEARCH}?q=latest"))
    assert "checkout/api:latest" in found
    assert not any(name.startswith("payments") for name in found)
    hidden = digest(site, "latest")
    assert "payments" not in nobody.get(f"{SEARCH}?q={hidden}")


def test_names_in_forms_are_completed(site: Site) -> None:
    """With what the visitor may find: the shortest first; nothing for nothing, and for nobody."""
    admin = site.admin()

    def found(**said: str) -> list[str]:
        answer = admin.client.get("/harbor/completions", params=said)
        assert answer.status_code == 200, answer.text
        return [str(each) for each in answer.json()]

    assert found(of="members", q="ma", **{"with": "user"})[0] == "mara"
    assert found(of="members", q="ma", **{"with": "1"}) == []
    assert "payments" in found(of="projects", q="pay")
    assert found(of="repositories", q="ap", **{"with": "payments"})[0] == "api"
    assert found(of="repositories", q="ap", **{"with": "no-such-project"}) == []
    assert found(of="repositories", q="ap") == []
    assert found(of="projects", q="") == []
    assert found(of="nothing", q="a") == []
    stranger = site.visitor().client.get("/harbor/completions?of=members&with=user&q=ma")
    assert stranger.status_code == 303
