"""The routes of /ldap and the mode of sign-in, on a real slapd."""

import asyncio
from typing import Any

import pytest
from tests.api.world import World
from tests.support.ldap_server import ADMIN_DN, ADMIN_PASSWORD, BASE, GROUPS, PEOPLE, LdapServer

pytestmark = pytest.mark.anyio


def settings_of(server: LdapServer) -> dict[str, Any]:
    """What an operator sets."""
    return {
        "ldap_url": server.url,
        "ldap_search_dn": ADMIN_DN,
        "ldap_search_password": ADMIN_PASSWORD,
        "ldap_base_dn": BASE,
        "ldap_uid": "uid",
        "ldap_group_base_dn": GROUPS,
        "ldap_group_attribute_name": "cn",
        "ldap_timeout": 30,
    }


async def configure(world: World, **values: Any) -> None:
    answer = await world.call("sysadmin", "PUT", "/configurations", json=values)
    assert answer.status_code == 200, answer.text


async def ping(world: World, body: Any = None) -> tuple[bool, str]:
    """Success, and the message."""
    answer = await world.call("sysadmin", "POST", "/ldap/ping", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json().get("success", False), answer.json().get("message", "")


async def test_people_and_groups_are_found(world: World, ldap_server: LdapServer) -> None:
    """By name, by part of the name, and by DN."""
    alice = ldap_server.person("alice", "Alice-secret1", mail="alice@example.com")
    ldap_server.person("bob", "Bob-secret1")
    ldap_server.group("developers", alice)
    await configure(world, **settings_of(ldap_server))

    async def get(path: str) -> Any:
        return (await world.call("sysadmin", "GET", path)).json()

    assert await get("/ldap/users/search?username=alice") == [
        {"username": "alice", "realname": "alice", "email": "alice@example.com"}
    ]
    everybody = await get("/ldap/users/search")
    assert {each["username"] for each in everybody} == {"alice", "bob"}
    group = {
        "group_name": "developers",
        "group_type": 1,
        "ldap_group_dn": f"cn=developers,{GROUPS}",
    }
    assert await get("/ldap/groups/search?groupname=develop") == [group]
    assert await get(f"/ldap/groups/search?groupdn={group['ldap_group_dn']}") == [group]
    assert await get("/ldap/groups/search?groupname=*") in (None, [])
    assert await get(f"/ldap/groups/search?groupdn=cn=nobody,{GROUPS}") in (None, [])
    wrong = await world.call("sysadmin", "GET", "/ldap/groups/search?groupdn=nonsense")
    assert wrong.status_code == 400


async def test_people_are_imported_and_failures_are_named(
    world: World, ldap_server: LdapServer
) -> None:
    """As Harbor does: 404 with a list when somebody is not there."""
    ldap_server.person("alice", "Alice-secret1")
    await configure(world, **settings_of(ldap_server))
    body = {"ldap_uid_list": ["alice", "nobody"]}
    answer = await world.call("sysadmin", "POST", "/ldap/users/import", json=body)
    assert answer.status_code == 404
    assert answer.json() == [{"uid": "nobody", "error": "unknown_user"}]
    again = await world.call("sysadmin", "POST", "/ldap/users/import", json={"ldap_uid_list": []})
    assert again.status_code == 200
    found = await world.call("sysadmin", "GET", "/users/search?username=alice")
    assert [each["username"] for each in found.json()] == ["alice"]


async def test_ping_tries_what_is_set_or_what_is_said(
    world: World, ldap_server: LdapServer
) -> None:
    """It succeeds, or says why not."""
    assert (await ping(world))[0] is False
    await configure(world, **settings_of(ldap_server))
    assert await ping(world) == (True, "")
    assert await ping(world, {}) == (True, "")
    assert await ping(world, {"ldap_search_password": "wrong"}) == (
        False,
        "the LDAP server refuses ldap_search_dn with that password",
    )
    assert "ldap://host:port" in (await ping(world, {"ldap_url": "ftp://x"}))[1]
    tls = {"ldap_url": ldap_server.tls_url, "ldap_search_password": ADMIN_PASSWORD}
    assert "not trusted" in (await ping(world, tls))[1]
    assert (await ping(world, {**tls, "ldap_verify_cert": False})) == (True, "")


async def test_the_stored_password_only_goes_to_its_own_server(
    world: World, ldap_server: LdapServer
) -> None:
    """Whoever may try settings does not read it on a server of his own."""
    await configure(world, **settings_of(ldap_server))
    got = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        elsewhere = {"ldap_url": f"ldap://127.0.0.1:{port}"}
        assert "needs ldap_search_password" in (await ping(world, elsewhere))[1]
        assert got == b""
        assert not (await ping(world, {**elsewhere, "ldap_search_password": "typed"}))[0]
        assert b"typed" in got
    other = {"ldap_search_dn": f"cn=other,{PEOPLE}"}
    assert not (await ping(world, other))[0]


async def test_a_group_of_the_directory_has_to_be_there(
    world: World, ldap_server: LdapServer
) -> None:
    """While LDAP signs people in; before that nobody can be asked."""
    group = ldap_server.group("staff", ldap_server.person("dora", "Dora-secret1"))
    missing = group.replace("staff", "stuff")

    async def made(dn: str) -> int:
        body = {"group_name": "g", "group_type": 1, "ldap_group_dn": dn}
        return (await world.call("sysadmin", "POST", "/usergroups", body)).status_code

    assert await made(missing.replace("stuff", "before")) == 201
    await configure(world, auth_mode="ldap_auth", **settings_of(ldap_server))
    assert await made(missing) == 404
    assert await made("no dn") == 400
    assert await made(group) == 201
    assert await made(group) == 409


async def test_the_mode_needs_a_directory(world: World, ldap_server: LdapServer) -> None:
    """With one it counts at once, and people make no accounts of their own any more."""
    refused = await world.call("sysadmin", "PUT", "/configurations", {"auth_mode": "ldap_auth"})
    assert refused.status_code == 400
    assert "ldap_url" in refused.text
    other = await world.call("sysadmin", "PUT", "/configurations", {"auth_mode": "uaa_auth"})
    assert other.status_code == 400
    assert "not available" in other.text
    await configure(
        world, auth_mode="ldap_auth", self_registration=True, **settings_of(ldap_server)
    )
    told = await world.call("", "GET", "/systeminfo")
    assert told.json()["auth_mode"] == "ldap_auth"
    new = {"username": "carol", "email": "c@x.org", "realname": "C", "password": "Secret-1234"}
    assert (await world.call("", "POST", "/users", json=new)).status_code == 401
    assert (await world.call("sysadmin", "POST", "/users", json=new)).status_code == 201
    found = await world.call("sysadmin", "GET", "/configurations")
    assert ADMIN_PASSWORD not in found.text
