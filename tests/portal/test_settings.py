"""Servers that settings name are tried before they are kept."""

import re
from html import unescape

import httpx2
import pytest
from tests.portal.visitor import Site, Visitor
from tests.support.ldap_server import ADMIN_DN, ADMIN_PASSWORD, BASE, LdapServer
from tests.support.oidc_server import RealProvider

LDAP, OIDC = "/harbor/configs/ldap", "/harbor/configs/oidc"
_INPUT = re.compile(r'<input id="i-\w+" name="(\w+)" type="(?:text|number)" value="([^"]*)"')


def tried(admin: Visitor, path: str, **fields: str) -> httpx2.Response:
    """The form of the page with these changes, by its button for a test."""
    page = admin.get(path)
    assert 'name="op" value="test"' in page
    said = {name: unescape(value) for name, value in _INPUT.findall(page)}
    checked = re.findall(r'type="checkbox" name="(\w+)" value="true" checked', page)
    said |= dict.fromkeys(checked, "true") | {"ldap_scope": "2", "ldap_group_search_scope": "2"}
    return admin.post(path, op="test", **{**said, **fields})


def test_a_directory_is_tried(site: Site, ldap_server: LdapServer) -> None:
    """With what is typed, which is not kept; the password stands in no answer."""
    admin = site.admin()
    about = {"ldap_url": ldap_server.url, "ldap_search_dn": ADMIN_DN, "ldap_base_dn": BASE}
    answer = tried(admin, LDAP, ldap_search_password=ADMIN_PASSWORD, ldap_uid="uid", **about)
    assert answer.status_code == 200, answer.text
    assert "It answers." in answer.text
    assert f'value="{ldap_server.url}"' in answer.text
    assert ADMIN_PASSWORD not in answer.text
    assert ldap_server.url not in admin.get(LDAP)
    wrong = tried(admin, LDAP, ldap_search_password="wrong", ldap_uid="uid", **about)
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text
    assert 'value="wrong"' not in wrong.text


def test_a_provider_is_tried(site: Site, oidc_provider: RealProvider) -> None:
    """It has to answer as OpenID Connect says."""
    admin = site.admin()
    answer = tried(admin, OIDC, oidc_endpoint=oidc_provider.issuer)
    assert answer.status_code == 200, answer.text
    assert "It answers." in answer.text
    wrong = tried(admin, OIDC, oidc_endpoint=f"{site.registry.url}/none")
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (LDAP, {"ldap_url": "ldap://169.254.169.254", "ldap_base_dn": BASE}),
        (LDAP, {"ldap_url": "ldap://10.255.255.1:636", "ldap_base_dn": BASE}),
        (OIDC, {"oidc_endpoint": "http://169.254.169.254/latest"}),
        (OIDC, {"oidc_endpoint": "http://[fd00::1]/"}),
    ],
)
def test_a_test_reaches_nothing_that_is_closed(
    site: Site, path: str, fields: dict[str, str]
) -> None:
    """Addresses of the inside are refused at once, and nothing of them is told."""
    answer = tried(site.admin(), path, **fields)
    assert answer.status_code == 400
    assert "not allowed" in answer.text or "outgoing.allow" in answer.text


def test_the_other_targets_of_a_webhook_stay(site: Site) -> None:
    """The form asks for one; those that the API gave are listed, named in the form, and kept."""
    admin, project = site.admin(), site.project("payments")
    addresses = [f"https://{name}.example/" for name in ("first", "second", "third")]
    targets = [{"type": "http", "address": each} for each in addresses]
    hook = {"name": "several", "event_types": ["PUSH_ARTIFACT"], "targets": targets}
    api, page = f"/projects/{project}/webhook/policies", f"/harbor/projects/{project}/webhook"
    number = site.maker().api("POST", api, hook).headers["location"].rpartition("/")[2]
    try:
        assert ", ".join(addresses) in admin.get(page)
        form = admin.get(f"{page}?do=edit&id={number}")
        assert ", ".join(addresses[1:]) in form
        assert addresses[0] in form
        said = {"name": "several", "type": "http", "event": "PUSH_ARTIFACT", "verify": "true"}
        admin.done(page, op="edit", id=number, address="https://new.example/", **said)
        kept = site.maker().api("GET", f"{api}/{number}").json()["targets"]
        assert [each["address"] for each in kept] == ["https://new.example/", *addresses[1:]]
    finally:
        admin.done(page, op="delete", id=number)
