"""Accounts of one's own: made where that is allowed, named after a first sign-in by a provider."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from tests.portal.visitor import Site
from tests.support.oidc_server import RealProvider
from tests.support.serving import Registry


@pytest.fixture
def elsewhere(tmp_path: Path, oidc_provider: RealProvider) -> Iterator[Site]:
    """A registry whose people sign in at a provider, and who name themselves here."""
    registry = Registry(tmp_path, settings={"outgoing.allow": '["127.0.0.0/8", "::1/128"]'})
    with registry.running():
        site = Site(registry)
        site.maker().api("PUT", "/configurations", oidc_provider.settings)
        yield site
        site.close()


def test_whoever_comes_from_the_provider_names_himself(
    elsewhere: Site, oidc_provider: RealProvider
) -> None:
    """A name that is taken is refused, with the form as it was; then he is in, and can have a
    secret for docker, which is shown once."""
    oidc_provider.user("mara", email="mara@example.com", name="Mara")
    mara = elsewhere.visitor()
    page = mara.get("/account/sign-in")
    assert "Continue with Harbour office" in page
    begun = mara.client.get("/c/oidc/login")
    back = oidc_provider.authorize(begun.headers["location"], "mara")
    answer = mara.client.get(back)
    where = urljoin(elsewhere.registry.url, answer.headers["location"])
    assert "Choose a name" in mara.get(where)
    taken = mara.post("/oidc-onboard", username="admin", csrf=mara.token("/oidc-onboard"))
    assert taken.status_code >= 400
    assert 'role="alert"' in taken.text
    mara.done("/oidc-onboard", username="mara", csrf=mara.token("/oidc-onboard"))
    assert "CLI secret" in mara.get("/account/profile")
    answer = mara.post("/account/profile", op="secret")
    secret = re.search(r"<code data-secret>([^<]+)</code>", answer.text)
    assert secret is not None
    assert secret[1] not in mara.get("/account/profile")
    assert elsewhere.maker("mara", secret[1]).api("GET", "/users/current").status_code == 200


def test_an_account_of_ones_own(site: Site) -> None:
    """Made by its form, which comes again when the passwords differ."""
    nobody = site.visitor()
    about = {"username": "ines", "email": "ines@example.com", "realname": "Ines"}
    token = nobody.token("/account/sign-up")
    first = {**about, "password": "Work-2026-Long", "csrf": token}
    wrong = nobody.post("/account/sign-up", again="another", **first)
    assert wrong.status_code == 400
    assert 'value="ines"' in wrong.text
    page = nobody.done("/account/sign-up", again="Work-2026-Long", **first)
    assert "Your account is there. Sign in." in page
    assert ">ines<" in site.visitor("ines", "Work-2026-Long").get("/account/profile")


def test_a_job_is_ended_from_the_list_of_what_runs(site: Site) -> None:
    """What waits under that number ends; a number that is not there is told."""
    admin, maker = site.admin(), site.maker()
    maker.api("PUT", "/jobservice/queues/GARBAGE_COLLECTION", {"action": "pause"})
    try:
        gc = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}}
        run = maker.api("POST", "/system/gc/schedule", gc).headers["location"].rpartition("/")[2]
        found = maker.api("GET", f"/system/gc/{run}").json()
        assert found["job_status"] == "Pending"
        workers = "/harbor/job-service-dashboard/workers"
        task = maker.api("GET", f"/system/gc/{run}").json()["id"]
        admin.done(workers, op="job", job=str(task))
        assert admin.post(workers, op="job", job="x").status_code == 400
    finally:
        maker.api("PUT", "/jobservice/queues/GARBAGE_COLLECTION", {"action": "resume"})
