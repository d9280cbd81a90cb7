"""Additions of artifacts: histories, files of packages, bills of materials."""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable, Sequence

import pytest
from tests.api.artifacts import APP, DOC, IMAGE_CONFIG, MODEL, PATH, Counting, counted, get, shown
from tests.api.world import World
from tests.support.content import ALICE, sha256
from tests.support.packages import HELM, PACKAGE, Layer, chart, entry, packed, push, push_chart, tar

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(world: World) -> Counting:
    """The store, counting its reads."""
    return counted(world)


# --- additions


async def test_links_lead_to_the_additions(world: World) -> None:
    """With a slash in the name, too; each is a path that answers."""
    content = world.content
    await content.push_image("team/a/b", "v1", json.dumps(IMAGE_CONFIG).encode())
    artifact = (
        await world.call("guest", "GET", "/projects/team/repositories/a%252Fb/artifacts/v1")
    ).json()
    (link,) = artifact["addition_links"].items()
    assert link == (
        "build_history",
        {
            "href": "/api/v2.0/projects/team/repositories/a%252Fb/artifacts/"
            f"{artifact['digest']}/additions/build_history",
            "absolute": False,
        },
    )
    assert (await world.raw("GET", link[1]["href"])).status_code == 401
    path = link[1]["href"].removeprefix("/api/v2.0")
    assert (await world.call("guest", "GET", path)).status_code == 200


async def test_the_build_history_of_an_image(world: World) -> None:
    """Its steps as JSON; none is an empty list."""
    await world.content.push_image("team/app", "v1", json.dumps(IMAGE_CONFIG).encode())
    answer = await get(world, "/v1/additions/build_history")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json() == [
        {"created": "2026-01-02T03:04:05Z", "created_by": "COPY . /"},
        {"created_by": "CMD", "empty_layer": True},
        {},
    ]
    await world.content.push_image("team/app", "bare", b'{"history":7}')
    assert (await get(world, "/bare/additions/build_history")).json() == []


async def test_files_of_a_chart(world: World) -> None:
    """As they are in the package, whatever the case of their names; a subchart's are not taken."""
    package = chart(
        {
            "charts/sub/values.yaml": "sub: true",
            "values.yaml": "é: 1\n",
            "README.MD": "# Demo",
            "Chart.yaml": "apiVersion: v2\nname: demo\ndependencies:\n"
            "- {name: redis, version: 1.10, repository: 'https://x', tags: [a], enabled: true}\n"
            "- just a text\n",
            "requirements.yaml": "dependencies: [{name: ignored}]",
        }
    )
    await push_chart(world.content, package)
    artifact = await shown(world, "1.0.0")
    assert artifact["type"] == "CHART"
    assert artifact["extra_attrs"] == {"apiVersion": "v2", "name": "demo", "version": "1.0.0"}
    assert set(artifact["addition_links"]) == {"values.yaml", "readme.md", "dependencies"}
    values = await get(world, "/1.0.0/additions/values.yaml")
    assert values.text == "é: 1\n"
    assert values.headers["content-type"] == "text/plain; charset=utf-8"
    assert values.headers["content-length"] == "6"
    readme = await get(world, "/1.0.0/additions/readme.md")
    assert readme.text == "# Demo"
    assert readme.headers["content-type"] == "text/markdown; charset=utf-8"
    needed = await get(world, "/1.0.0/additions/dependencies")
    assert needed.headers["content-type"] == "application/json; charset=utf-8"
    assert needed.json() == [
        {"name": "redis", "version": "1.10", "repository": "https://x", "tags": ["a"]}
    ]
    await get(world, "/1.0.0/additions/build_history", 400)
    await get(world, "/1.0.0/additions/files", 400)
    await get(world, "/1.0.0/additions/nonsense", 422)
    await get(world, "/2.0.0/additions/values.yaml", 404)


async def test_an_older_chart_lists_its_dependencies_in_a_file_of_its_own(world: World) -> None:
    """And a chart without README has none to show."""
    package = chart(
        {
            "Chart.yaml": "apiVersion: v1\nname: demo\n",
            "requirements.yaml": "dependencies:\n- name: redis\n  condition: redis.enabled\n",
        }
    )
    await push_chart(world.content, package)
    assert (await get(world, "/1.0.0/additions/dependencies")).json() == [
        {"name": "redis", "version": "", "repository": "", "condition": "redis.enabled"}
    ]
    await get(world, "/1.0.0/additions/readme.md", 404)
    await get(world, "/1.0.0/additions/values.yaml", 404)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (BOMB, 400),
        ("a: &a 1\nb: *a\n", 400),
        ("[" * 40 + "]" * 40, 413),
        ("[" * 900, 413),
        ("[" * 20_000, 400),  # the parser itself gives up
        ("{" * 50 + "}" * 50, 413),
        ("- x\n" * 60_000, 413),
        ("x: " + "y" * (300 << 10), 413),
        ("just a text", 400),
        ("", 400),
        ("a: 1\n---\nb: 1\n", 400),
        ("a: [", 400),
        ("\x01", 400),
        ("!!python/object/apply:os.system ['true']", 400),
        ("? [a]\n: b\n", 400),
        ("dependencies: nonsense", 200),
        ("dependencies: [[], 1, {name: {}}]\napiVersion: v2", 200),
    ],
)
async def test_a_chart_with_hostile_yaml(world: World, text: str, status: int) -> None:
    """Neither bombs nor objects; what is merely odd is left out."""
    await push_chart(world.content, chart({"Chart.yaml": text}))
    await get(world, "/1.0.0/additions/dependencies", status)


PACKAGES: dict[str, tuple[Callable[[], bytes], int]] = {
    "empty": (lambda: b"", 400),
    "no archive": (lambda: b"no archive", 400),
    "no tar": (lambda: gzip.compress(b"no tar", mtime=0), 400),
    "too large": (lambda: packed(entry("demo/values.yaml", bytes(16 << 20))), 413),
    "too many": (lambda: packed(*[entry("demo/x/y")] * 20_001), 413),
    "huge by its header": (
        lambda: packed(entry("demo/values.yaml", size=1 << 33), form=tarfile.GNU_FORMAT),
        413,
    ),
    "cut off": (
        lambda: gzip.compress(tar(entry("demo/values.yaml", b"x" * 900))[:1000], mtime=0),
        400,
    ),
    "absolute": (lambda: packed(entry("/demo/values.yaml", b"x")), 400),
    "leads out": (lambda: packed(entry("demo/../../values.yaml", b"x")), 400),
    "too deep": (lambda: packed(entry("demo/" + "a/" * 100 + "b", b"x")), 413),
    "symbolic link": (
        lambda: packed(entry("demo/values.yaml", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        404,
    ),
    "hard link": (
        lambda: packed(entry("demo/values.yaml", type=tarfile.LNKTYPE, linkname="demo/x")),
        404,
    ),
    "of a subchart": (lambda: packed(entry("demo/sub/values.yaml", b"x")), 404),
    "in no folder": (lambda: packed(entry("values.yaml", b"x")), 404),
}


@pytest.mark.parametrize("kind", PACKAGES)
async def test_a_chart_with_a_hostile_package(world: World, kind: str) -> None:
    """Each bomb is refused with its reason; links point at nothing."""
    package, status = PACKAGES[kind]
    await push_chart(world.content, package())
    answer = await get(world, "/1.0.0/additions/values.yaml", status)
    assert answer.json()["errors"][0]["message"]
    assert (await shown(world, "1.0.0"))["extra_attrs"]["name"] == "demo"


async def test_a_package_that_is_too_large_is_not_read(
    world: World, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is known before."""
    package = chart({"values.yaml": "x"})
    monkeypatch.setattr("moorage.artifacts.types.archives.MAX_PACKED", len(package) - 1)
    await push_chart(world.content, package)
    await get(world, "/1.0.0/additions/values.yaml", 413)
    assert store.reads == []


async def test_a_chart_without_a_package_has_no_files(world: World) -> None:
    """Its provenance is none either."""
    provenance: Layer = (b"signed", "application/vnd.cncf.helm.chart.provenance.v1.prov", {})
    await push(world.content, "team/app", "1.0.0", b"{}", HELM, [provenance])
    await get(world, "/1.0.0/additions/values.yaml", 404)
    package: Layer = (chart({"values.yaml": "x"}), PACKAGE, {})
    await push(world.content, "team/app", "1.0.1", b"{}", HELM, [provenance, package])
    assert (await get(world, "/1.0.1/additions/values.yaml")).text == "x"


def model_layers(
    files: Sequence[tuple[str, str, bytes]],
) -> list[tuple[bytes, str, dict[str, str]]]:
    """Layers of a model: path, packing, bytes."""
    return [(data, DOC + packing, {PATH: path}) for path, packing, data in files]


async def test_documents_and_files_of_a_model(world: World) -> None:
    """Raw or in a tar; the tree has folders first."""
    layers = model_layers(
        [
            ("weights/b.bin", "tar", b"bb"),
            ("README.md", "raw", b"# Model"),
            ("LICENSE", "tar", tar(entry("LICENSE", b"Apache"))),
            ("weights/a.bin", "raw", b"a"),
            ("config/", "tar", b"c"),
            ("a/" * 100 + "deep", "raw", b"d"),
        ]
    )
    await push(world.content, "team/app", "v1", b'{"descriptor":{"name":"m"}}', MODEL, layers)
    artifact = await shown(world, "v1")
    assert artifact["extra_attrs"] == {"descriptor": {"name": "m"}}
    assert set(artifact["addition_links"]) == {"readme.md", "license", "files"}
    readme = await get(world, "/v1/additions/readme.md")
    assert (readme.text, readme.headers["content-type"]) == (
        "# Model",
        "text/markdown; charset=utf-8",
    )
    assert (await get(world, "/v1/additions/license")).text == "Apache"
    assert (await get(world, "/v1/additions/files")).json() == [
        {"name": "config", "type": "directory", "children": []},
        {
            "name": "weights",
            "type": "directory",
            "children": [
                {"name": "a.bin", "type": "file", "size": 1},
                {"name": "b.bin", "type": "file", "size": 2},
            ],
        },
        {"name": "LICENSE", "type": "file", "size": len(layers[2][0])},
        {"name": "README.md", "type": "file", "size": 7},
    ]
    await get(world, "/v1/additions/values.yaml", 400)


@pytest.mark.parametrize(
    ("layers", "status"),
    [
        ([], 404),
        ([("README.md", "tar", b"no tar")], 400),
        ([("README.md", "tar+zstd", b"x")], 400),
        ([("README.md", "tar", tar(entry("other", b"x")))], 404),
        ([("README.md", "raw", b"x" * ((4 << 20) + 1))], 413),
        ([("README", "tar+gzip", packed(entry("d/readme", b"x")))], 200),
    ],
)
async def test_a_model_whose_readme_is_odd(
    world: World, layers: list[tuple[str, str, bytes]], status: int
) -> None:
    """Absent, too large, or packed in a way that is not read."""
    await push(world.content, "team/app", "v1", b"{}", MODEL, model_layers(layers))
    await get(world, "/v1/additions/readme.md", status)


async def test_paths_of_a_model_that_are_in_each_others_way(world: World) -> None:
    """A folder goes before a file of its name; what is no text is no path."""
    paths = ["a", "a/b", "a", "c/", "c", "../..", "", "/etc/x"]
    layers = model_layers([(path, "raw", b"%d" % at) for at, path in enumerate(paths)])
    manifest = await push(world.content, "team/app", "v1", b"{}", MODEL, layers)
    document = json.loads(manifest)
    for layer, odd in zip(document["layers"], ([], 7, {PATH: 1}), strict=False):
        layer["annotations"] = odd
    payload = json.dumps(document).encode()
    await world.content.manifests.put(ALICE, "team/app", "odd", payload, "")
    await get(world, "/odd/additions/files")
    tree = (await get(world, "/v1/additions/files")).json()
    assert [(node["name"], node["type"]) for node in tree] == [
        ("a", "directory"),
        ("c", "directory"),
        ("etc", "directory"),
    ]


async def test_a_bill_of_materials(world: World) -> None:
    """Of its own artifact, and of the image that it is attached to: the newest."""
    content = world.content
    subject = await content.push_image("team/app", "v1")
    assert "sbom" not in (await shown(world, "v1"))["addition_links"]
    await get(world, "/v1/additions/sbom", 404)
    named = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sha256(subject),
        "size": len(subject),
    }
    for tag, kind in (("old", "application/spdx+json"), ("new", "application/vnd.cyclonedx+json")):
        await push(
            content,
            "team/app",
            tag,
            b"{}",
            "application/vnd.oci.empty.v1+json",
            [(b'{"bom":"%s"}' % tag.encode(), kind, {})],
            artifactType=kind,
            subject=named,
        )
    for reference, bom in (("v1", "new"), ("new", "new"), ("old", "old")):
        answer = await get(world, f"/{reference}/additions/sbom")
        assert answer.json() == {"bom": bom}
        assert answer.headers["content-type"] == "application/vnd.goharbor.harbor.sbom.v1"
        assert "sbom" in (await shown(world, reference))["addition_links"]
    await push_chart(content, chart({}), tag="1.0.0")
    await get(world, "/1.0.0/additions/sbom", 400)


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
async def test_a_bill_of_materials_may_be_long(world: World, size: int) -> None:
    """It is passed on in pieces."""
    kind = "application/vnd.goharbor.harbor.sbom.v1"
    data = b"x" * size
    await push(world.content, "team/app", "v1", b"{}", kind, [(data, kind, {})])
    answer = await get(world, "/v1/additions/sbom")
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(data).digest()
    await push(world.content, "team/app", "v2", b"{ }", kind)
    await get(world, "/v2/additions/sbom", 404)


async def test_an_artifact_without_a_report_has_no_vulnerabilities(world: World) -> None:
    """An empty object, for whatever media type is asked; 404 without the artifact."""
    await world.content.push_image("team/app", "v1")
    answer = await world.call(
        "guest",
        "GET",
        f"{APP}/v1/additions/vulnerabilities",
        headers={"X-Accept-Vulnerabilities": "application/nothing"},
    )
    assert (answer.status_code, answer.json()) == (200, {})
    await get(world, "/v2/additions/vulnerabilities", 404)


async def test_additions_of_another_project_are_out_of_reach(world: World) -> None:
    """No reference or name leads out of the project that was checked."""
    manifest = await world.content.push_image("other/app", "v1")
    for path in (
        f"{APP}/{sha256(manifest)}/additions/build_history",
        "/projects/team/repositories/..%252Fother%252Fapp/artifacts/v1/additions/build_history",
    ):
        assert (await world.call("projectAdmin", "GET", path)).status_code == 404
