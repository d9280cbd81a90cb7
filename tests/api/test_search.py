"""Artifacts by a part of a tag or digest, over everything that the caller may look into."""

from dataclasses import replace
from typing import Any

import pytest
from tests.api.world import PEOPLE, World
from tests.support.accounts import in_project
from tests.support.content import sha256

from moorage.access.principals import Bounds
from moorage.artifacts import finding
from moorage.artifacts.finding import Sought, parse

pytestmark = pytest.mark.anyio

PATH = "/search/artifacts"


async def found(world: World, who: str, q: str, **more: Any) -> list[str]:
    """What somebody finds, as repository:tag."""
    answer = await world.call(who, "GET", PATH, params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    return [f"{each['repository_name']}:{each.get('tag', '')}" for each in answer.json() or ()]


@pytest.mark.parametrize(
    ("text", "sought"),
    [
        ("1.4", Sought(tag="1.4")),
        (" RC1 ", Sought(tag="rc1")),
        ("api:1.4", Sought("api", tag="1.4")),
        (":1.4", Sought(tag="1.4")),
        ("team/api:", Sought("team/api", tag="")),
        ("host:5000/team/api:1", Sought("host:5000/team/api", tag="1")),
        ("host:5000/team/api", Sought()),
        ("team/api", Sought()),
        ("abcdef", Sought(tag="abcdef", digest="abcdef")),
        ("abcde", Sought(tag="abcde")),
        ("sha256:12", Sought(digest="sha256:12")),
        ("api@sha256:12", Sought("api", digest="sha256:12")),
        ("@12", Sought(digest="12")),
        ("api@", Sought()),
        ("sha256:xyz", Sought("sha256", tag="xyz")),
        ("", Sought()),
    ],
)
def test_a_text_says_what_is_sought(text: str, sought: Sought) -> None:
    """Part of a tag, of a digest, or of a reference with the name of its repository."""
    assert parse(text) == sought


async def test_what_fits_better_comes_first(world: World) -> None:
    """Exactly that tag, then what begins so, then what holds it, the newest first, in either case
    of letters; a page says how many there are."""
    for place, tag in enumerate(("v1.4", "1.4", "1.4-rc1", "1.4.1", "RC-1.4", "2.0")):
        await world.content.push_image("team/app", tag, config=b'{"n": %d}' % place)
    wanted = [f"team/app:{tag}" for tag in ("1.4", "1.4.1", "1.4-rc1", "RC-1.4", "v1.4")]
    assert await found(world, "guest", "1.4") == wanted
    assert await found(world, "guest", "rc") == ["team/app:RC-1.4", "team/app:1.4-rc1"]
    answer = await world.call("guest", "GET", PATH, params={"q": "1.4", "page_size": 2, "page": 2})
    assert answer.headers["X-Total-Count"] == "5"
    assert [each["tag"] for each in answer.json()] == ["1.4-rc1", "RC-1.4"]
    assert await found(world, "guest", "1.4", page=4, page_size=2) == []


async def test_a_repository_narrows_it(world: World) -> None:
    """Its name stands before the tag or the digest, whole or in part."""
    digest = ""
    for repository in ("team/api", "team/web"):
        digest = sha256(await world.content.push_image(repository, "1.0"))
    assert await found(world, "guest", "api:1") == ["team/api:1.0"]
    assert await found(world, "guest", "team/web:") == ["team/web:1.0"]
    assert await found(world, "guest", f"web@{digest}") == ["team/web:1.0"]
    assert await found(world, "guest", "none:1") == []


async def test_digests_are_found_by_a_part(world: World) -> None:
    """By their beginning, or by any part when none begins so; also without tags, else with the
    newest of the tags; a few letters are a tag and no digest."""
    digest = sha256(await world.content.push_image("team/app", "one"))
    await world.content.push_image("team/app", "two")
    hexes = digest.removeprefix("sha256:")
    for text in (digest, digest[:20], hexes[:12].upper(), hexes[30:40], f"@{hexes[:3]}"):
        assert await found(world, "guest", text) == ["team/app:two"], text
    assert await found(world, "guest", hexes[:4]) == []
    untagged = await world.content.push_image("team/app", "three", config=b'{"n": 1}')
    await world.content.push_image("team/app", "three", config=b'{"n": 2}')
    assert await found(world, "guest", sha256(untagged)) == ["team/app:"]


async def test_letters_stand_for_themselves(world: World) -> None:
    """Also those that stand for others in SQL.

    CVE-2026-110697.
    """
    await world.content.push_image("team/app", "a_b")
    await world.content.push_image("team/app", "axb", config=b'{"n": 1}')
    assert await found(world, "guest", "a_b") == ["team/app:a_b"]
    for text in ("%", "a%", "*", "\\", "'", "team/%:a"):
        assert await found(world, "guest", text) == [], text


async def test_only_what_the_caller_may_list_is_found(world: World) -> None:
    """Members find what is in their project, everybody what is public; a robot account what it
    may list, a token what it leaves; what nobody pushed to the end is nobody's."""
    for project in ("team", "open", "other"):
        await world.content.push_image(f"{project}/app", "v1")
    await world.robot("lister", in_project("team", "artifact:list"))
    await world.robot("puller", in_project("team", "repository:pull"))
    team, person = world.projects["team"], world.people["developer"]
    for name, project_id, pair in (
        ("token", team, ("artifact", "list")),
        ("pulls", team, ("repository", "pull")),
        ("elsewhere", world.projects["other"], ("artifact", "list")),
    ):
        bounds = Bounds(False, {project_id: frozenset({pair})})
        world.people[name] = replace(person, bounds=bounds)
    seen = {name: await found(world, name, "v1") for name in (*world.people, "")}
    everything = ["other/app:v1", "open/app:v1", "team/app:v1"]
    public, members = ["open/app:v1"], ["open/app:v1", "team/app:v1"]
    wanted = dict.fromkeys(PEOPLE, members) | {"sysadmin": everything, "stranger": public}
    wanted |= {"lister": members, "puller": public, "": public}
    wanted |= {"token": members, "pulls": public, "elsewhere": public}
    assert seen == wanted


async def test_hits_are_counted_to_a_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody turns further than that, so that a letter that is everywhere costs no more."""
    monkeypatch.setattr(finding, "MOST", 3)
    for number in range(5):
        await world.content.push_image("team/app", f"v{number}", config=b"%d" % number)
    answer = await world.call("guest", "GET", PATH, params={"q": "v", "page_size": 2, "page": 2})
    assert answer.headers["X-Total-Count"] == "3"
    assert [each["tag"] for each in answer.json()] == ["v2"]
    assert await found(world, "guest", "v", page=3, page_size=2) == []
