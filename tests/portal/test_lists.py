"""Lists stay as they stand: whatever is in them, whatever was done, whatever was refused."""

import hashlib
import json
from typing import Any

import httpx2
from tests.portal.data import CONFIG, INDEX, MANIFEST
from tests.portal.visitor import Site

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
