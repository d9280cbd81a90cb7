"""A text that runs where it is taken for HTML, in each field that somebody or an artifact fills.

The fields are those that the pages' forms have: a new one is tried without being listed here.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.portal.data import CANARY, CONFIG, INDEX, LAYER, MANIFEST, Maker
from tests.portal.full import Size, filled
from tests.portal.html import TEXTS, Document, Harmful
from tests.portal.paths import everything, strangers
from tests.portal.test_forms import FORMS
from tests.portal.visitor import Site, Visitor

pytestmark = pytest.mark.slow

WRITTEN = (*TEXTS, "number")
SMALL = Size(projects=2, repositories=3, artifacts=12, pulls=20, runs=2)


@pytest.fixture
def own(tmp_path: Any) -> Iterator[Site]:
    """A registry whose settings may become nonsense."""
    with filled(tmp_path, SMALL) as site:
        yield site


def test_no_field_of_a_form_makes_html(own: Site) -> None:
    """Sent in each field by itself: what is refused shows the form again, what is kept is shown in
    lists, menus, titles and messages; as text, everywhere."""
    admin = own.admin()
    tried = 0
    for key, forms in everything(own).forms.items():
        form = forms[0]
        known = {each.name for each in form.controls}
        usual = {n: v for n, v in FORMS.get(key, {}).items() if n in known and "{" not in str(v)}
        button = next((each for each in form.buttons if each == ("op", key[1])), ("", ""))
        for name in form.names(*WRITTEN):
            said = {"url": own.registry.url} if "url" in known else {}
            fields = form.filled(button, {**usual, **said, **required(form), name: CANARY})
            answer = admin.client.post(form.action, data=fields)
            assert answer.status_code < 500, (key, name, answer.text[:300])
            assert Harmful.found_in(answer.text) == [], (key, name)
            tried += 1
    assert tried > 80
    assert harmful(admin, [*everything(own).pages.values()]) == {}
    assert harmful(own.visitor(), strangers(own)) == {}


def required(form: Any) -> dict[str, str]:
    """Something in each field that a browser would not leave empty."""
    return {e.name: "Aa1-something" for e in form.controls if e.required and not e.value}


def test_no_filter_makes_html(site: Site) -> None:
    """The same in what lists are narrowed by, which stands in the address."""
    admin, found = site.admin(), {}
    for path, answer in everything(site).texts.items():
        for form in Document.read(path, answer.text).forms:
            for name in form.names(*WRITTEN) if form.method == "get" else ():
                where = f"{form.action.partition('?')[0]}?{urlencode({name: CANARY})}"
                found[where] = admin.client.get(where)
    assert len(found) >= 10
    assert {where: a.status_code for where, a in found.items() if a.status_code >= 500} == {}
    assert {where for where, answer in found.items() if Harmful.found_in(answer.text)} == set()


def test_no_field_of_an_artifact_makes_html(site: Site) -> None:
    """In configurations, histories, platforms, annotations and their names, as whoever pushes may
    write them; on every page of the repository, and where two of them are compared."""
    hostile(site.maker(), "payments/hostile")
    base = f"/harbor/projects/{site.project('payments')}/repositories/hostile"
    starts = [f"{base}/artifacts-tab", f"{base}/artifacts-tab?view=artifacts"]
    starts += [f"{base}/artifacts-tab/artifacts/{tag}" for tag in ("one", "both", "attached")]
    starts += [f"{base}/artifacts-tab/artifacts/one?tab={tab}" for tab in ("layers", "referrers")]
    starts += [f"{base}/artifacts-tab/artifacts/both?tab=children"]
    starts += [f"{base}/compare?a=one&b=attached"]
    admin = site.admin()
    assert harmful(admin, starts) == {}
    assert "pwned" in admin.get(f"{base}/artifacts-tab/artifacts/one?tab=layers")  # as text


def hostile(maker: Maker, repository: str) -> None:
    """Artifacts whose every text is the canary."""
    texts = {CANARY: CANARY, "org.opencontainers.image.source": CANARY}
    config = {
        "architecture": CANARY,
        "os": CANARY,
        "os.version": CANARY,
        "variant": CANARY,
        "author": CANARY,
        "created": "2026-11-02T09:30:00Z",
        "config": {
            "Env": [f"{CANARY}={CANARY}"],
            "Entrypoint": [CANARY],
            "Cmd": [CANARY],
            "WorkingDir": CANARY,
            "User": CANARY,
            "Labels": texts,
            "StopSignal": CANARY,
            "ExposedPorts": {CANARY: {}},
            "Volumes": {CANARY: {}},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": CANARY, "comment": CANARY, "author": CANARY}],
    }
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": maker.blob(repository, json.dumps(config).encode(), CONFIG),
        "layers": [maker.blob(repository, b"layer", LAYER) | {"annotations": texts}],
        "annotations": texts,
    }
    digest = maker.manifest(repository, "one", document)
    about = {"digest": digest, "mediaType": MANIFEST, "size": len(json.dumps(document))}
    platform = {"architecture": CANARY, "os": CANARY, "variant": CANARY, "os.version": CANARY}
    child = {**about, "platform": platform, "annotations": texts}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child], "annotations": texts}
    maker.manifest(repository, "both", index)
    attached = {**document, "subject": about, "artifactType": "application/vnd.example+json"}
    maker.manifest(repository, "attached", attached)


def harmful(visitor: Visitor, paths: Sequence[str]) -> dict[str, list[str]]:
    """Pages with anything in them that is no plain HTML."""
    found = {}
    for path in paths:
        answer = visitor.client.get(path, follow_redirects=True)
        assert answer.status_code < 500, (path, answer.text[:300])
        if wrong := Harmful.found_in(answer.text):
            found[path] = wrong
    return found
