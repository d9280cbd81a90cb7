"""Labels over REST: both scopes, who may use them, and what artifacts carry."""

from typing import Any

import pytest
from sqlalchemy import func, select
from tests.api.test_access import LETTERS
from tests.api.world import World
from tests.support.content import index, sha256

from moorage.accounts.records import Permission
from moorage.artifacts import labels
from moorage.db import tables

pytestmark = pytest.mark.anyio

APP = "/projects/team/repositories/app"


async def made(world: World, name: str, project: str = "", **more: str) -> int:
    """Make a label of a project, or a global one; returns its id."""
    scope: dict[str, Any] = {"scope": "g"}
    if project:
        scope = {"scope": "p", "project_id": world.projects[project]}
    body = {"name": name, **scope, **more}
    answer = await world.call("sysadmin", "POST", "/labels", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.headers["Location"].rpartition("/")[2])


async def put_on(
    world: World, label_id: int, reference: str = "v1", name: str = "developer"
) -> int:
    """Put a label on an artifact of `team/app`; returns the status."""
    path = f"{APP}/artifacts/{reference}/labels"
    return (await world.call(name, "POST", path, json={"id": label_id})).status_code


async def carried(world: World, reference: str = "v1") -> list[str]:
    """The names of the labels that an artifact of `team/app` carries."""
    path = f"{APP}/artifacts/{reference}"
    artifact = (await world.call("guest", "GET", path, params={"with_label": "true"})).json()
    return [label["name"] for label in artifact["labels"] or ()]


# --- labels themselves


async def test_a_global_label(world: World) -> None:
    """From making it to deleting it; what it has not is not printed."""
    body = {
        "name": "approved",
        "description": "May go live.",
        "color": "#00FF00",
        "scope": "g",
        "project_id": 77,
        "id": 99,
    }
    answer = await world.call("sysadmin", "POST", "/labels", json=body)
    assert (answer.status_code, answer.content) == (201, b"")
    path = answer.headers["Location"].removeprefix("/api/v2.0")
    label = (await world.call("sysadmin", "GET", path)).json()
    assert path == f"/labels/{label['id']}"
    assert label["creation_time"].endswith("Z")
    assert {k: label[k] for k in ("name", "description", "color", "scope")} == {
        "name": "approved",
        "description": "May go live.",
        "color": "#00FF00",
        "scope": "g",
    }
    assert "project_id" not in label
    change = {"name": "released", "scope": "p", "project_id": world.projects["team"]}
    assert (await world.call("sysadmin", "PUT", path, json=change)).status_code == 200
    changed = (await world.call("sysadmin", "GET", path)).json()
    assert (changed["name"], changed["scope"]) == ("released", "g")
    assert not {"description", "color", "project_id"} & changed.keys()
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 200
    for method in ("GET", "PUT", "DELETE"):
        assert (await world.call("sysadmin", method, path, json=body)).status_code == 404


async def test_a_label_of_a_project(world: World) -> None:
    """It says whose it is."""
    label_id = await made(world, "stable", "team", color="red")
    label = (await world.call("guest", "GET", f"/labels/{label_id}")).json()
    assert (label["scope"], label["project_id"]) == ("p", world.projects["team"])


async def test_labels_that_artifacts_of_a_project_may_carry(world: World) -> None:
    """One list has those of the project and the global ones, for who is signed in."""
    for name, project in (("c", ""), ("b", "team"), ("a", ""), ("d", "other")):
        await made(world, name, project)
    params = {"scope": "p", "project_id": str(world.projects["team"]), "with_global": "true"}
    listed = (await world.call("guest", "GET", "/labels", params=params)).json()
    assert [(each["name"], each["scope"]) for each in listed] == [
        ("a", "g"),
        ("b", "p"),
        ("c", "g"),
    ]
    assert (await world.call("anonymous", "GET", "/labels", params=params)).status_code == 401


WRONG: list[tuple[dict[str, Any], int]] = [
    ({}, 400),
    ({"name": "x"}, 400),
    ({"name": "x", "scope": "x"}, 400),
    ({"name": "x", "scope": "p"}, 400),
    ({"name": "x", "scope": "p", "project_id": 0}, 400),
    ({"name": "x", "scope": "p", "project_id": -1}, 422),
    ({"name": "x", "scope": "p", "project_id": 99999}, 404),
    ({"name": "", "scope": "g"}, 400),
    ({"name": "x" * 129, "scope": "g"}, 400),
    ({"name": "x", "scope": "g", "description": "x" * 1025}, 400),
    ({"name": "x", "scope": "g", "color": "x" * 17}, 400),
    ({"name": "x\0", "scope": "g"}, 422),
    ({"name": 7, "scope": "g"}, 400),
]


async def test_a_wrong_label_is_refused(world: World) -> None:
    """With a message, and nothing made."""
    for body, status in WRONG:
        answer = await world.call("sysadmin", "POST", "/labels", json=body)
        assert answer.status_code == status, body
        assert answer.json()["errors"][0]["message"], body
    listed = await world.call("sysadmin", "GET", "/labels", params={"scope": "g"})
    assert listed.json() == []


async def test_the_longest_label(world: World) -> None:
    """Characters count, not bytes."""
    label_id = await made(world, "é" * 128, description="é" * 1024, color="é" * 16)
    label = (await world.call("sysadmin", "GET", f"/labels/{label_id}")).json()
    assert (len(label["name"]), len(label["description"]), len(label["color"])) == (128, 1024, 16)
    body = {"name": "é" * 129}
    assert (
        await world.call("sysadmin", "PUT", f"/labels/{label_id}", json=body)
    ).status_code == 400


async def test_a_name_is_taken_once_in_its_scope(world: World) -> None:
    """The same in another scope is another label; a rename may not take a name either."""
    ids = [await made(world, "x", scope) for scope in ("", "team", "other")]
    assert len(set(ids)) == 3
    for project in ("", "team"):
        where = {"scope": "p", "project_id": world.projects[project]} if project else {"scope": "g"}
        answer = await world.call("sysadmin", "POST", "/labels", json={"name": "x", **where})
        assert answer.status_code == 409
        second = await made(world, "y", project)
        path = f"/labels/{second}"
        assert (await world.call("sysadmin", "PUT", path, json={"name": "x"})).status_code == 409
        assert (await world.call("sysadmin", "PUT", path, json={"name": "y"})).status_code == 200
        assert (await world.call("sysadmin", "GET", path)).json()["name"] == "y"


async def test_labels_are_listed_by_scope(world: World) -> None:
    """By name, narrowed and sorted as asked; nothing of another scope."""
    await made(world, "global")
    for name in ("beta", "Alpha", "gamma"):
        await made(world, name, "team", color=f"#{name}")
    await made(world, "alien", "other")

    async def listed(**params: Any) -> list[str]:
        scope = {"scope": "p", "project_id": world.projects["team"]}
        answer = await world.call("guest", "GET", "/labels", params={**scope, **params})
        assert answer.status_code == 200, answer.text
        return [label["name"] for label in answer.json()]

    assert sorted(await listed()) == ["Alpha", "beta", "gamma"]
    assert await listed(scope="g") == ["global"]
    assert await listed(name="ET") == ["beta"]
    assert await listed(name="%") == []
    assert await listed(q="name=beta") == ["beta"]
    assert await listed(q="name=~MM") == ["gamma"]
    assert await listed(q="color=#Alpha") == ["Alpha"]
    assert await listed(q=f"scope=g,project_id={world.projects['other']}", name="beta") == ["beta"]
    assert await listed(sort="-creation_time,-id", page_size=2) == ["gamma", "Alpha"]
    assert await listed(sort="-id", page_size=2, page=2) == ["beta"]
    params: dict[str, Any]
    for params in ({}, {"scope": "x"}, {"scope": "p"}, {"scope": "p", "project_id": 0}):
        answer = await world.call("guest", "GET", "/labels", params=params)
        assert answer.status_code == 400, params
    paged = await world.call("guest", "GET", "/labels", params={"scope": "g", "page_size": 1})
    assert paged.headers["X-Total-Count"] == "1"


# --- who may

MANAGERS = "SAM"
PERMISSIONS: list[tuple[str, str, str, str]] = [
    # scope, method, who may, project
    ("g", "LIST", "SAMDGLX", ""),
    ("g", "GET", "S", ""),
    ("g", "POST", "S", ""),
    ("g", "PUT", "S", ""),
    ("g", "DELETE", "S", ""),
    ("p", "LIST", "SAMDG", "team"),
    ("p", "GET", "SAMDG", "team"),
    ("p", "POST", MANAGERS, "team"),
    ("p", "PUT", MANAGERS, "team"),
    ("p", "DELETE", MANAGERS, "team"),
    ("p", "LIST", "SAMDGLXN", "open"),
    ("p", "GET", "SAMDGLXN", "open"),
    ("p", "POST", "S", "open"),
    ("p", "PUT", "S", "open"),
    ("p", "DELETE", "S", "open"),
    ("p", "LIST", "S", "other"),
    ("p", "GET", "S", "other"),
    ("p", "POST", "S", "other"),
    ("p", "PUT", "S", "other"),
    ("p", "DELETE", "S", "other"),
]


async def attempt(world: World, name: str, method: str, project: str, label: str) -> int:
    """The status of one operation on a fresh label."""
    where: dict[str, Any] = {"scope": "g"}
    if project:
        where = {"scope": "p", "project_id": world.projects[project]}
    if method == "LIST":
        return (await world.call(name, "GET", "/labels", params=where)).status_code
    if method == "POST":
        body = {"name": label, **where}
        return (await world.call(name, "POST", "/labels", json=body)).status_code
    label_id = await made(world, label, project)
    change = {"name": f"{label} changed"} if method == "PUT" else None
    return (await world.call(name, method, f"/labels/{label_id}", json=change)).status_code


async def test_every_operation_opens_to_its_roles_alone(world: World) -> None:
    """401 to nobody, 403 to all others without the pair."""
    wrong = []
    for scope, method, who, project in PERMISSIONS:
        for letter, name in LETTERS.items():
            status = await attempt(world, name, method, project, f"{method} {letter}")
            expected = (
                (201 if method == "POST" else 200) if letter in who else (403 if name else 401)
            )
            if status != expected:
                wrong.append(f"{letter} {method} {scope} {project}: {status}")
    assert wrong == []


async def test_robots_have_the_pairs_of_their_scope(world: World) -> None:
    """A right in the system opens global labels, one in a project the labels of that project."""
    pairs = frozenset(("label", action) for action in ("create", "read", "update", "delete"))
    await world.robot("global-robot", Permission("system", "/", pairs))
    listing = pairs | {("label", "list")}
    await world.robot("team-robot", Permission("project", "team", listing))
    await world.robot("idle-robot", Permission("project", "team", frozenset({("tag", "list")})))
    for name, project, status in (
        ("global-robot", "", 200),
        ("global-robot", "team", 403),
        ("team-robot", "", 403),
        ("team-robot", "team", 200),
        ("team-robot", "other", 403),
        ("idle-robot", "", 403),
        ("idle-robot", "team", 403),
    ):
        for method in ("GET", "PUT", "POST", "DELETE"):
            found = await attempt(world, name, method, project, f"{name} {project} {method}")
            expected = 201 if (status, method) == (200, "POST") else status
            assert found == expected, (name, project, method)


# --- labels of artifacts


async def test_labels_of_an_artifact(world: World) -> None:
    """Shown when asked for, by name; each at most once."""
    manifest = await world.content.push_image("team/app", "v1")
    ours, everywhere = await made(world, "stable", "team", color="#FFF"), await made(world, "good")
    assert await put_on(world, ours) == 200
    assert await put_on(world, everywhere, sha256(manifest)) == 200
    assert await put_on(world, ours) == 409
    for path in (f"{APP}/artifacts/v1", f"{APP}/artifacts", "/projects/team/artifacts"):
        bare = (await world.call("guest", "GET", path)).json()
        full = (await world.call("guest", "GET", path, params={"with_label": "true"})).json()
        if isinstance(full, list):
            (bare,), (full,) = bare, full
        assert bare["labels"] is None
        assert [label["name"] for label in full["labels"]] == ["good", "stable"]
        shown = (await world.call("guest", "GET", f"/labels/{ours}")).json()
        assert full["labels"][1] == shown
    path = f"{APP}/artifacts/v1/labels/{ours}"
    assert (await world.call("developer", "DELETE", path)).status_code == 200
    assert (await world.call("developer", "DELETE", path)).status_code == 404
    assert await carried(world) == ["good"]
    assert await put_on(world, ours) == 200


async def test_what_cannot_be_put_on(world: World) -> None:
    """No label, no artifact, and nothing of another project, whoever asks."""
    await world.content.push_image("team/app", "v1")
    alien, ours = await made(world, "alien", "other"), await made(world, "ours", "team")
    for label_id in (alien, 99999):
        for name in ("developer", "sysadmin"):
            assert await put_on(world, label_id, name=name) == 404
    for reference in ("v2", "sha256:" + "0" * 64):
        assert await put_on(world, ours, reference) == 404
        path = f"{APP}/artifacts/{reference}/labels/{ours}"
        assert (await world.call("developer", "DELETE", path)).status_code == 404
    path = f"{APP}/artifacts/v1/labels"
    body: Any
    for body, status in (({}, 400), ({"id": None}, 400), ({"id": -1}, 422), ({"id": "x"}, 400)):
        assert (await world.call("developer", "POST", path, json=body)).status_code == status
    assert (await world.call("developer", "DELETE", f"{path}/{alien}")).status_code == 404
    assert await carried(world) == []


async def test_a_label_of_another_artifact_stays(world: World) -> None:
    """A label is taken off the artifact of the path alone."""
    for tag in ("v1", "v2"):
        await world.content.push_image("team/app", tag, config=tag.encode())
    label_id = await made(world, "x", "team")
    assert await put_on(world, label_id, "v1") == 200
    path = f"{APP}/artifacts/v2/labels/{label_id}"
    assert (await world.call("developer", "DELETE", path)).status_code == 404
    assert await carried(world, "v1") == ["x"]


async def test_an_artifact_has_so_many_labels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is refused until one is taken off."""
    monkeypatch.setattr(labels, "MAX_LABELS", 2)
    await world.content.push_image("team/app", "v1")
    ids = [await made(world, f"label {n}") for n in range(3)]
    assert [await put_on(world, label_id) for label_id in ids] == [200, 200, 412]
    assert await put_on(world, ids[0]) == 409
    path = f"{APP}/artifacts/v1/labels/{ids[0]}"
    assert (await world.call("developer", "DELETE", path)).status_code == 200
    assert await put_on(world, ids[2]) == 200
    assert await carried(world) == ["label 1", "label 2"]


async def test_artifacts_are_narrowed_by_labels(world: World) -> None:
    """One, all or any of them; ids that are none find nothing."""
    content = world.content
    images = [await content.push_image("team/app", f"v{n}", config=b"%d" % n) for n in range(4)]
    a, b = await made(world, "a", "team"), await made(world, "b")
    for label_id, tag in ((a, "v0"), (a, "v1"), (b, "v1"), (b, "v2")):
        assert await put_on(world, label_id, tag) == 200

    async def listed(q: str, path: str) -> list[int]:
        answer = await world.call("guest", "GET", path, params={"q": q})
        assert answer.status_code == 200, answer.text
        found = {item["digest"] for item in answer.json()}
        assert answer.headers["X-Total-Count"] == str(len(found))
        return [n for n, image in enumerate(images) if sha256(image) in found]

    for path in (f"{APP}/artifacts", "/projects/team/artifacts"):
        for q, expected in (
            (f"labels={a}", [0, 1]),
            (f"labels=({a} {b})", [1]),
            (f"labels=({a})", [0, 1]),
            (f"labels=({a} {a})", [0, 1]),
            (f"labels={{{a} {b}}}", [0, 1, 2]),
            (f"labels=({a} 99999)", []),
            (f"labels={{{b} 99999}}", [1, 2]),
            (f"labels=({a} {b}),tags=v1", [1]),
            (f"labels=({a} {b}),tags=v0", []),
            (f"labels=[{a}~{b}]", [0, 1, 2]),
            ("labels=a", []),
            (f"labels=({a} x)", []),
            (f"labels={2**70}", []),
            ("labels=-1", []),
        ):
            assert await listed(q, path) == expected, q


async def test_a_child_of_an_index_has_labels_of_its_own(world: World) -> None:
    """Those of the index are not its children's."""
    child = await world.content.push_image("team/app", "child")
    alice = world.people["developer"]
    await world.content.manifests.put(alice, "team/app", "multi", index([child]), "")
    assert await put_on(world, await made(world, "x"), "multi") == 200
    assert await carried(world, "multi") == ["x"]
    assert await carried(world, "child") == []


async def test_a_deleted_label_is_on_no_artifact(world: World) -> None:
    """And its id never comes again."""
    await world.content.push_image("team/app", "v1")
    label_id = await made(world, "x", "team")
    assert await put_on(world, label_id) == 200
    path = f"/labels/{label_id}"
    assert (await world.call("maintainer", "DELETE", path)).status_code == 200
    assert await carried(world) == []
    assert await made(world, "x", "team") > label_id


async def test_the_labels_of_a_project_go_with_it(world: World) -> None:
    """The global ones stay."""
    await made(world, "x", "team")
    kept = await made(world, "x")
    assert (await world.call("projectAdmin", "DELETE", "/projects/team")).status_code == 200
    async with world.content.db.read() as tx:
        rows = (await tx.execute(select(tables.labels.c.id))).scalars().all()
    assert rows == [kept]


async def test_a_restored_artifact_has_its_labels_again(world: World) -> None:
    """As far as they are still there; a new one of the same name is another."""
    manifest = await world.content.push_image("team/app", "v1")
    ids = [await made(world, "kept", "team"), await made(world, "gone", "team")]
    for label_id in ids:
        assert await put_on(world, label_id) == 200
    path = f"{APP}/artifacts/v1"
    assert (await world.call("maintainer", "DELETE", path)).status_code == 200
    async with world.content.db.read() as tx:
        rows = select(func.count()).select_from(tables.manifest_labels)
        assert (await tx.execute(rows)).scalar_one() == 0
    assert (await world.call("maintainer", "DELETE", f"/labels/{ids[1]}")).status_code == 200
    await made(world, "gone", "team")
    back = await world.call("maintainer", "POST", f"{APP}/trash/{sha256(manifest)}/restore")
    assert back.status_code == 200
    assert await carried(world) == ["kept"]


async def test_an_artifact_that_is_pushed_anew_has_no_labels(world: World) -> None:
    """Until the old one is restored on top of it: then it has those of both."""
    manifest = await world.content.push_image("team/app", "v1")
    assert await put_on(world, await made(world, "old")) == 200
    path = f"{APP}/artifacts/v1"
    assert (await world.call("maintainer", "DELETE", path)).status_code == 200
    await world.content.push_image("team/app", "v1")
    assert await carried(world) == []
    assert await put_on(world, await made(world, "new")) == 200
    await world.call("maintainer", "POST", f"{APP}/trash/{sha256(manifest)}/restore")
    assert await carried(world) == ["new", "old"]
