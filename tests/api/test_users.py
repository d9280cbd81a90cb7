"""Users over REST."""

from typing import Any

import pytest
from tests.api.world import World

from moorage.access.principals import Principal
from moorage.db import tables

pytestmark = pytest.mark.anyio


async def test_a_user_of_a_provider_sets_a_cli_secret_and_nobody_reads_it(world: World) -> None:
    """One that is made is shown once; others have none."""
    stranger = world.people["stranger"].id
    refused = await world.call("stranger", "PUT", f"/users/{stranger}/cli_secret", json={})
    assert refused.status_code == 412
    row = {"user_id": stranger, "kind": "oidc", "issuer": "https://x.example", "subject": "7"}
    async with world.content.db.write() as tx:
        await tx.execute(tables.identities.insert().values(row))
    made = await world.call("stranger", "PUT", f"/users/{stranger}/cli_secret", json={})
    assert len(made.json()["secret"]) >= 32
    chosen = {"secret": "Chosen-secret-1"}
    done = await world.call("stranger", "PUT", f"/users/{stranger}/cli_secret", json=chosen)
    assert (done.status_code, done.json()) == (200, {})
    me = (await world.call("stranger", "GET", "/users/current")).json()
    assert me["oidc_user_meta"]["subiss"] == "7https://x.example"
    assert "secret" not in me["oidc_user_meta"]
    other = await world.call("guest", "PUT", f"/users/{stranger}/cli_secret", json=chosen)
    assert other.status_code == 403


GOOD = "Harbour2026"


async def test_an_administrator_makes_a_user(world: World) -> None:
    """Who is no administrator, whatever the body says, and whose password nobody reads."""
    body = {
        "username": "nia",
        "email": "nia@example.org",
        "realname": "Nia",
        "password": GOOD,
        "sysadmin_flag": True,
        "user_id": 4711,
        "revision": 9,
    }
    made = await world.call("sysadmin", "POST", "/users", json=body)
    assert made.status_code == 201
    location = made.headers["Location"].removeprefix("/api/v2.0")
    user = (await world.call("sysadmin", "GET", location)).json()
    assert user["username"] == "nia"
    assert user["sysadmin_flag"] is False
    assert user["user_id"] != 4711
    assert GOOD not in str(user)
    assert not {key for key in user if "password" in key or "hash" in key}
    again = await world.call("sysadmin", "POST", "/users", json=body)
    assert again.status_code == 409


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"password": "short1A"}, 400),
    ({"password": "alllowercase1"}, 400),
    ({"username": ""}, 400),
    ({"username": "a,b"}, 400),
    ({"username": "robot$x"}, 400),
    ({"username": "x" * 256}, 422),
    ({"username": "a\0b"}, 422),
    ({"email": "nobody"}, 400),
    ({"comment": "x" * 31}, 400),
]


async def test_a_wrong_user_is_refused(world: World) -> None:
    """And nothing is made."""
    for change, status in WRONG:
        body = {"username": "nia", "email": "nia@example.org", "password": GOOD, **change}
        answer = await world.call("sysadmin", "POST", "/users", json=body)
        assert answer.status_code == status, change
    found = await world.call("sysadmin", "GET", "/users", params={"q": "email=nia@example.org"})
    assert found.json() == []


async def test_everybody_reads_and_changes_himself_alone(world: World) -> None:
    """Another user's id opens nothing."""
    me, other = (world.people[name].id for name in ("guest", "stranger"))
    current = (await world.call("guest", "GET", "/users/current")).json()
    assert (current["user_id"], current["sysadmin_flag"]) == (me, False)
    profile = {"realname": "Guest", "sysadmin_flag": True, "username": "root"}
    assert (await world.call("guest", "PUT", f"/users/{me}", json=profile)).status_code == 200
    changed = (await world.call("guest", "GET", f"/users/{me}")).json()
    assert (changed["realname"], changed["username"]) == ("Guest", "guest")
    assert changed["sysadmin_flag"] is False
    flag = {"sysadmin_flag": True}
    for method, path, body in (
        ("GET", f"/users/{other}", None),
        ("PUT", f"/users/{other}", profile),
        ("PUT", f"/users/{other}/password", {"new_password": GOOD}),
        ("PUT", f"/users/{me}/sysadmin", flag),
        ("DELETE", f"/users/{other}", None),
        ("DELETE", f"/users/{me}", None),
    ):
        assert (await world.call("guest", method, path, json=body)).status_code == 403


async def test_a_password_is_changed_with_the_old_one(world: World) -> None:
    """By oneself; an administrator needs none. The same again is refused."""
    me = world.people["guest"].id
    path = f"/users/{me}/password"
    first = {"new_password": GOOD}
    assert (await world.call("sysadmin", "PUT", path, json=first)).status_code == 200
    for old, new, status in (
        ("wrong", "Harbour2027", 403),
        ("", "Harbour2027", 403),
        (GOOD, "weak", 400),
        (GOOD, GOOD, 400),
        (GOOD, "Harbour2027", 200),
        (GOOD, "Harbour2028", 403),
    ):
        body = {"old_password": old, "new_password": new}
        answer = await world.call("guest", "PUT", path, json=body)
        assert answer.status_code == status, answer.text
        assert new not in answer.text


async def test_users_are_found_by_everybody_who_signed_in(world: World) -> None:
    """Ids and names, nothing else; the full list is for administrators."""
    found = await world.call("guest", "GET", "/users/search", params={"username": "STRANG"})
    assert found.json() == [{"user_id": world.people["stranger"].id, "username": "stranger"}]
    everybody = await world.call("sysadmin", "GET", "/users", params={"sort": "-username"})
    names = [user["username"] for user in everybody.json()]
    assert names == sorted(names, reverse=True)
    for field in ("password", "password_hash", "secret"):
        ignored = await world.call("sysadmin", "GET", "/users", params={"q": f"{field}=~$"})
        assert len(ignored.json()) == len(names)


async def test_the_last_administrator_stays(world: World) -> None:
    """Neither deleted nor demoted; a second one can be made and unmade."""
    root, other = world.people["sysadmin"].id, world.people["stranger"].id
    gone = await world.call("sysadmin", "DELETE", f"/users/{root}")
    assert gone.status_code == 403
    flag = {"sysadmin_flag": False}
    last = await world.call("sysadmin", "PUT", f"/users/{root}/sysadmin", json=flag)
    assert last.status_code == 412
    for value in (True, False):
        path = f"/users/{other}/sysadmin"
        body = {"sysadmin_flag": value}
        assert (await world.call("sysadmin", "PUT", path, json=body)).status_code == 200
        shown = (await world.call("sysadmin", "GET", f"/users/{other}")).json()
        assert shown["sysadmin_flag"] is value
    assert (await world.call("sysadmin", "DELETE", f"/users/{other}")).status_code == 200
    assert (await world.call("sysadmin", "GET", f"/users/{other}")).status_code == 404


async def test_a_robot_is_no_user(world: World) -> None:
    """412, as in Harbor; and there is no secret for the command line without OIDC."""
    world.people["bot"] = Principal("robot", 1, "robot$bot")
    assert (await world.call("bot", "GET", "/users/current")).status_code == 412
    me = world.people["guest"].id
    answer = await world.call("guest", "PUT", f"/users/{me}/cli_secret", json={"secret": GOOD})
    assert answer.status_code == 412


async def test_one_makes_oneself_only_where_that_is_allowed(world: World) -> None:
    """By the setting for self registration."""
    body = {"username": "nia", "password": GOOD}
    assert (await world.call("", "POST", "/users", json=body)).status_code == 401
    assert (await world.call("guest", "POST", "/users", json=body)).status_code == 403


async def test_the_caller_learns_what_he_holds(world: World) -> None:
    """In a project, absolute or relative; nothing in a project that is not there."""
    scope = f"/project/{world.projects['team']}"
    path = "/users/current/permissions"
    full = await world.call("limitedGuest", "GET", path, params={"scope": scope})
    assert {"resource": f"{scope}/repository", "action": "pull"} in full.json()
    assert {"resource": scope, "action": "read"} in full.json()
    short = await world.call(
        "limitedGuest", "GET", path, params={"scope": scope, "relative": "true"}
    )
    assert {"resource": "repository", "action": "pull"} in short.json()
    assert not [item for item in short.json() if item["action"] == "push"]
    for nothing in ("/project/99999", "/project/x", "/", ""):
        empty = await world.call("guest", "GET", path, params={"scope": nothing})
        assert empty.json() == []


async def test_grantable_permissions_are_for_administrators(world: World) -> None:
    """Those of the system only for administrators of the system."""
    root = (await world.call("sysadmin", "GET", "/permissions")).json()
    assert {"resource": "catalog", "action": "read"} in root["system"]
    assert {"resource": "repository", "action": "push"} in root["project"]
    admin = (await world.call("projectAdmin", "GET", "/permissions")).json()
    assert admin["system"] is None
    assert admin["project"] == root["project"]
