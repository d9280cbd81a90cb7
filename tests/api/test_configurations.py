"""Settings over REST, and what follows them."""

import json
import re
from typing import Any

import pytest
from sqlalchemy import select, text
from tests.api.world import World
from tests.support.accounts import SECRET_KEY

from moorage.access.secretbox import SecretBox
from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.settings import Configurations

pytestmark = pytest.mark.anyio

PATH = "/configurations"
PLACES = [
    ("oidc_client_secret", "oidc_endpoint", "oidc_client_id", "https://id.example", "https://x.y"),
    ("ldap_search_password", "ldap_url", "ldap_search_dn", "ldaps://ldap.example", "ldap://x.y"),
]
"""Each secret with its server and whom it is for there; and two addresses."""
SECRETS = ("ldap_search_password", "oidc_client_secret", "uaa_client_secret")


async def values(world: World) -> dict[str, Any]:
    answer = await world.call("sysadmin", "GET", PATH)
    assert answer.status_code == 200
    return {name: item["value"] for name, item in answer.json().items()}


async def change(world: World, **settings: Any) -> None:
    answer = await world.call("sysadmin", "PUT", PATH, settings)
    assert answer.status_code == 200, answer.text


async def test_every_setting_is_shown_but_the_secrets(world: World) -> None:
    """With its value, also when that is zero, and whether it can be changed."""
    shown = (await world.call("sysadmin", "GET", PATH)).json()
    assert shown.keys() == Configuration.model_fields.keys() - set(SECRETS)
    assert shown["read_only"] == {"value": False, "editable": True}
    assert shown["banner_message"] == {"value": "", "editable": True}
    assert shown["storage_per_project"] == {"value": -1, "editable": True}
    internal = (await world.call("sysadmin", "GET", "/internalconfig")).json()
    assert internal == shown


async def test_what_is_changed_stays_changed(world: World) -> None:
    """What the body leaves out stays, a null is left out, an unknown name is ignored."""
    await change(world, token_expiration=45, oidc_name="dex", read_only=None, no_such_setting=1)
    await change(world, session_timeout=5)
    found = await values(world)
    assert (found["token_expiration"], found["oidc_name"]) == (45, "dex")
    assert (found["session_timeout"], found["read_only"]) == (5, False)
    await change(world, token_expiration=30)
    async with world.content.db.read() as tx:
        names = (await tx.execute(select(tables.configuration.c.name))).scalars().all()
    assert sorted(names) == ["oidc_name", "session_timeout"], "a default needs no row"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"token_expiration": 0}, 400),
        ({"session_timeout": -1}, 400),
        ({"session_timeout": 10**11}, 400),
        ({"session_timeout": "soon"}, 400),
        ({"robot_name_prefix": "a b"}, 400),
        ({"robot_token_duration": 0}, 400),
        ({"storage_per_project": 0}, 400),
        ({"storage_per_project": 2**70}, 400),
        ({"auth_mode": "none"}, 400),
        ({"ldap_scope": 3}, 400),
        ({"ldap_url": "http://directory.example"}, 400),
        ({"ldap_filter": "(((uid="}, 400),
        ({"ldap_filter": "people"}, 400),
        ({"ldap_filter": "(!" * 2000}, 400),
        ({"ldap_filter": "(!" * 1000 + "(a=b)" + ")" * 1000}, 400),
        ({"ldap_group_search_filter": "(&(a=b)"}, 400),
        ({"oidc_endpoint": "id.example.com"}, 400),
        ({"oidc_endpoint": "https://user:canary@id.example.com"}, 400),
        ({"oidc_endpoint": "https://id.example.com?realm=x"}, 400),
        ({"oidc_extra_redirect_parms": '{"state": "mine"}'}, 400),
        ({"oidc_group_filter": "(team"}, 400),
        ({"project_creation_restriction": "nobody"}, 400),
        ({"skip_audit_log_database": True}, 400),
        ({"banner_message": "x" * 70_000}, 400),
        ({"banner_message": "a\0b"}, 422),
        ([], 422),
    ],
)
async def test_what_a_setting_cannot_be(world: World, settings: Any, status: int) -> None:
    """Nothing is changed, not even what was right beside it."""
    if isinstance(settings, dict):
        settings = {"oidc_name": "dex", **settings}
    answer = await world.call("sysadmin", "PUT", PATH, settings)
    assert answer.status_code == status, answer.text
    if status == 400:
        assert set(settings) & set(re.findall(r"\w+", answer.text)), "it says which"
        assert "canary" not in answer.text
    assert (await values(world))["oidc_name"] == ""


async def test_a_secret_is_written_and_never_read(world: World) -> None:
    """Not over the API, and not in the database's text."""
    await change(world, ldap_search_password="canary-1", oidc_client_secret="canary-2")
    assert "canary" not in (await world.call("sysadmin", "GET", PATH)).text
    assert "canary" not in (await world.call("sysadmin", "GET", "/internalconfig")).text
    async with world.content.db.read() as tx:
        rows = (await tx.execute(select(tables.configuration.c.value))).scalars().all()
    assert len(rows) == 2
    assert "canary" not in str(rows)
    found = await world.configurations.current()
    assert found.ldap_search_password.get_secret_value() == "canary-1"
    assert "canary" not in repr(found)


async def test_what_a_setting_of_the_sign_in_may_be(world: World) -> None:
    """As Harbor's clients send it: filters without parentheses, empty texts, a slash at the end."""
    await change(world, ldap_url="directory.example:3269", ldap_filter="objectClass=person")
    await change(world, ldap_filter="(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=cn=x))")
    await change(
        world, oidc_endpoint="https://id.example.com/realms/a/", oidc_group_filter="^team-"
    )
    await change(world, ldap_url="", ldap_filter="", oidc_endpoint="", oidc_group_filter="")


async def test_what_was_wrong_before_can_stay_until_it_is_changed(world: World) -> None:
    """A filter that this version does not take is not forgotten: then everybody could sign in."""
    async with world.content.db.write() as tx:
        row = {"name": "ldap_filter", "value": '"(((uid="'}
        await tx.execute(tables.configuration.insert().values(row))
    await change(world, oidc_name="dex")
    await change(world, ldap_filter="(((uid=", oidc_name="keycloak")
    assert (await values(world))["ldap_filter"] == "(((uid="


@pytest.mark.parametrize(("secret", "server", "account", "first", "other"), PLACES)
async def test_a_secret_stays_with_its_server(
    world: World, secret: str, server: str, account: str, first: str, other: str
) -> None:
    """Whoever turns the server gives the secret again, so nobody has it sent to one of his own.

    Harbor 77095571: the secret that was stored went wherever the address was changed to.
    """

    async def stored() -> str:
        return str(getattr(await world.configurations.current(), secret).get_secret_value())

    await change(world, **{secret: "canary-1"})
    await change(world, **{server: first, account: "registry"})  # it waited for its server
    for moved in ({server: other}, {account: "another"}, {server: other, "oidc_name": "x"}):
        refused = await world.call("sysadmin", "PUT", PATH, moved)
        assert refused.status_code == 400, moved
        assert f"{secret} was given for another" in refused.text
        assert "canary" not in refused.text
    found = await values(world)
    assert (found[server], found[account], found["oidc_name"]) == (first, "registry", "")
    await change(world, **{server: first, account: "registry"})  # the same again is no change
    assert await stored() == "canary-1"
    await change(world, **{server: other, secret: "canary-2"})
    assert await stored() == "canary-2"
    await change(world, **{server: ""})
    assert await stored() == "", "it went with its server"
    await change(world, **{server: first})


@pytest.mark.parametrize(("secret", "server", "account", "first", "other"), PLACES)
async def test_a_certificate_is_verified_no_longer_only_by_who_knows_the_secret(
    world: World, secret: str, server: str, account: str, first: str, other: str
) -> None:
    """Whoever does not could let a server of his own answer for the right one."""
    verify = f"{secret.partition('_')[0]}_verify_cert"
    await change(world, **{secret: "canary-1", verify: False})
    await change(world, **{verify: True})  # and off again, while there is no server
    await change(world, **{verify: False})
    await change(world, **{server: first, account: "registry", verify: True})
    refused = await world.call("sysadmin", "PUT", PATH, {verify: False})
    assert refused.status_code == 400
    assert f"{secret} was given for a server whose certificate is verified" in refused.text
    assert "canary" not in refused.text
    assert (await values(world))[verify] is True
    shown = {server: first, account: "registry", verify: True}
    await change(world, **shown)  # as a client sends back what it read
    await change(world, **{verify: False, secret: "canary-2"})
    await change(world, **{**shown, verify: False})
    await change(world, **{verify: True})
    world.fix(Configuration(**{secret: "canary"}))
    refused = await world.call("sysadmin", "PUT", PATH, {verify: False})
    assert refused.status_code == 400
    assert f"set it where {secret} is set" in refused.text


@pytest.mark.parametrize(("secret", "server", "account", "first", "other"), PLACES)
async def test_a_secret_of_the_environment_goes_nowhere_else(
    world: World, secret: str, server: str, account: str, first: str, other: str
) -> None:
    """Whoever does not know it cannot say where it goes, not even for the first time."""
    world.fix(Configuration(**{secret: "canary"}))
    for _ in range(2):
        refused = await world.call("sysadmin", "PUT", PATH, {server: other})
        assert refused.status_code == 400
        await change(world, **{server: first, secret: "canary"})
        assert (await world.call("sysadmin", "PUT", PATH, {server: ""})).status_code == 400
    guessed = {server: other, secret: "guess"}
    assert (await world.call("sysadmin", "PUT", PATH, guessed)).status_code == 403
    assert (await values(world))[server] == first


async def test_a_changed_secret_key_seals_the_secrets_anew(world: World) -> None:
    """The former key is not needed any more."""
    db, cache = world.content.db, world.content.cache
    await change(world, oidc_client_secret="canary")
    both = Configurations(db, cache, SecretBox("another key of 16", [SECRET_KEY]))
    async with db.write() as tx:
        await both.seal_anew(tx)
    new = await Configurations(db, cache, SecretBox("another key of 16")).current()
    assert new.oidc_client_secret.get_secret_value() == "canary"
    old = await Configurations(db, cache, SecretBox(SECRET_KEY)).current()
    assert old.oidc_client_secret.get_secret_value() == "", "a secret that cannot be opened is none"


async def test_what_the_environment_sets_cannot_be_changed(world: World) -> None:
    """It goes before the database; the same value again is accepted, as Terraform sends it."""
    await change(world, token_expiration=45)
    world.fix(Configuration(token_expiration=10))
    shown = (await world.call("sysadmin", "GET", PATH)).json()
    assert shown["token_expiration"] == {"value": 10, "editable": False}
    refused = await world.call(
        "sysadmin", "PUT", PATH, {"token_expiration": 20, "oidc_name": "dex"}
    )
    assert refused.status_code == 403
    assert "token_expiration" in refused.text
    await change(world, token_expiration=10, oidc_name="dex")
    assert (await values(world))["oidc_name"] == "dex"


async def test_rows_of_another_version_do_no_harm(world: World) -> None:
    """What is unknown or not understood is as if it were not there."""
    rows = {
        "of_tomorrow": "1",
        "token_expiration": '"soon"',
        "oidc_name": "{",
        "ldap_search_password": "?",
        "session_timeout": "7",
    }
    async with world.content.db.write() as tx:
        for name, value in rows.items():
            await tx.execute(tables.configuration.insert().values(name=name, value=value))
    found = await values(world)
    assert (found["token_expiration"], found["oidc_name"]) == (30, "")
    assert found["session_timeout"] == 7
    await change(world, session_timeout=8)
    assert (await values(world))["session_timeout"] == 8


async def test_the_installation_tells_its_settings(world: World) -> None:
    """To nobody less than to somebody."""
    await change(world, banner_message="hello", self_registration=True)
    nobody = (await world.call("", "GET", "/systeminfo")).json()
    assert (nobody["banner_message"], nobody["self_registration"]) == ("hello", True)
    assert "read_only" not in nobody
    somebody = (await world.call("stranger", "GET", "/systeminfo")).json()
    assert somebody["read_only"] is False
    assert somebody["project_creation_restriction"] == "everyone"


async def test_people_make_their_own_accounts_where_that_is_allowed(world: World) -> None:
    """And never administrators."""
    person = {"username": "newcomer", "password": "A-long-Pa55word", "email": "n@x.org"}
    person |= {"realname": "New", "comment": ""}
    assert (await world.call("", "POST", "/users", person)).status_code == 401
    await change(world, self_registration=True)
    body = {**person, "sysadmin_flag": True}
    assert (await world.call("", "POST", "/users", body)).status_code == 201
    async with world.content.db.read() as tx:
        query = text("SELECT sysadmin FROM users WHERE username = 'newcomer'")
        assert not (await tx.execute(query)).scalar_one()


async def test_who_makes_projects_and_how_large(world: World) -> None:
    """Both follow the settings at once."""
    await change(world, project_creation_restriction="adminonly", storage_per_project=1 << 20)
    body = {"project_name": "mine"}
    refused = await world.call("stranger", "POST", "/projects", body)
    assert refused.status_code == 403
    assert "Only system admin can create project" in refused.text
    assert (await world.call("sysadmin", "POST", "/projects", body)).status_code == 201
    quotas = await world.call("sysadmin", "GET", "/quotas", params={"page_size": "100"})
    hard = [quota["hard"]["storage"] for quota in quotas.json() if quota["ref"]["name"] == "mine"]
    assert hard == [1 << 20]


async def test_robot_accounts_follow_the_settings(world: World) -> None:
    """Their prefix is part of no row; their time is that of the setting."""
    await change(world, robot_name_prefix="bot_", robot_token_duration=7)
    body = {
        "name": "ci",
        "level": "system",
        "permissions": [
            {
                "kind": "system",
                "namespace": "/",
                "access": [{"resource": "catalog", "action": "read"}],
            }
        ],
    }
    made = (await world.call("sysadmin", "POST", "/robots", {**body, "duration": -1})).json()
    assert made["name"] == "bot_ci"
    await change(world, robot_name_prefix="robot-")
    shown = (await world.call("sysadmin", "GET", f"/robots/{made['id']}")).json()
    assert shown["name"] == "robot-ci"
    person = {"username": "robot-x", "password": "A-long-Pa55word", "email": "", "realname": "x"}
    refused = await world.call("sysadmin", "POST", "/users", person)
    assert refused.status_code == 400


async def test_read_only_refuses_every_change_but_its_end(world: World) -> None:
    """Reads go on; the settings can be changed."""
    await world.content.push_image("team/app", "v1")
    await change(world, read_only=True)
    for method, path, body in (
        ("POST", "/projects", {"project_name": "x"}),
        ("DELETE", "/projects/team/repositories/app", None),
        ("PATCH", "/robots/1", {}),
        ("PUT", "/projects/team", {}),
    ):
        refused = await world.call("sysadmin", method, path, body)
        assert refused.status_code == 403, path
        assert json.loads(refused.text)["errors"][0]["code"] == "DENIED"
    assert (await world.call("sysadmin", "GET", "/projects/team/repositories/app")).is_success
    await change(world, read_only=False)
    gone = await world.call("sysadmin", "DELETE", "/projects/team/repositories/app")
    assert gone.status_code == 200
