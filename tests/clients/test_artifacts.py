"""Charts, artifacts with referrers, and signatures, with the clients that make them."""

import json
from pathlib import Path

import httpx2
import pytest
from tests.support.clients import ClientFailed, Crane, Home
from tests.support.images import image
from tests.support.serving import Fetcher

SBOM = "application/vnd.example.sbom.v1"
LOCAL_KEY = ("--yes", "--key", "cosign.key", "--allow-http-registry", "--tlog-upload=false",
             "--use-signing-config=false")  # fmt: skip
VERIFY = ("--key", "cosign.pub", "--allow-http-registry", "--insecure-ignore-tlog=true")


def test_a_chart_comes_back_as_it_was_packed(home: Home, tmp_path: Path) -> None:
    """helm pushes a chart whose version has a plus in it, and pulls the same file."""
    home.run("helm", "create", "demo")
    home.run("helm", "package", "demo", "--version", "1.2.3+build.4")
    chart = home.folder / "demo-1.2.3+build.4.tgz"
    home.run("helm", "push", chart, f"oci://{home.registry}/library/charts", "--plain-http")
    home.run(
        "helm", "pull", f"oci://{home.registry}/library/charts/demo", "--plain-http",
        "--version", "1.2.3+build.4", "--destination", tmp_path,
    )  # fmt: skip
    assert (tmp_path / chart.name).read_bytes() == chart.read_bytes()


def test_a_chart_that_helm_packed_is_shown_and_copied(home: Home, tmp_path: Path) -> None:
    """Its fields, its files and its dependencies; helm pulls the copy."""
    home.run("helm", "create", "needed")
    home.run("helm", "create", "shown")
    folder = home.folder / "shown"
    (folder / "README.md").write_text("# Shown")
    with (folder / "Chart.yaml").open("a") as chart:
        chart.write("dependencies: [{name: needed, version: 0.1.0, repository: file://../needed}]")
    home.run("helm", "dependency", "update", "shown")
    home.run("helm", "package", "shown")
    home.run(
        "helm", "push", "shown-0.1.0.tgz", f"oci://{home.registry}/library/charts", "--plain-http"
    )
    api = f"http://{home.registry}/api/v2.0/projects/library/repositories"
    path = f"{api}/charts%252Fshown/artifacts/0.1.0"
    with httpx2.Client(auth=(home.username, home.password)) as client:
        artifact = client.get(path).json()
        assert (artifact["type"], artifact["extra_attrs"]["appVersion"]) == ("CHART", "1.16.0")
        values = client.get(f"{path}/additions/values.yaml").text
        assert values == (folder / "values.yaml").read_text()
        assert client.get(f"{path}/additions/readme.md").text == "# Shown"
        (needed,) = client.get(f"{path}/additions/dependencies").json()
        assert (needed["name"], needed["version"]) == ("needed", "0.1.0")
        copied = client.post(f"{api}/copy/artifacts", params={"from": "library/charts/shown:0.1.0"})
        assert copied.status_code == 201
    home.run(
        "helm", "pull", f"oci://{home.registry}/library/copy", "--plain-http",
        "--version", "0.1.0", "--destination", tmp_path,
    )  # fmt: skip
    (pulled,) = tmp_path.glob("*.tgz")
    assert pulled.read_bytes() == (home.folder / "shown-0.1.0.tgz").read_bytes()


def test_any_client_pulls_a_chart(home: Home, tmp_path: Path, fetch: Fetcher) -> None:
    """A chart is an ordinary artifact for clients that know nothing of charts."""
    home.run("helm", "create", "plain")
    home.run("helm", "package", "plain", "--version", "0.1.0")
    home.run(
        "helm", "push", "plain-0.1.0.tgz", f"oci://{home.registry}/library/charts", "--plain-http"
    )
    digest, contents = fetch.tree("library/charts/plain", "0.1.0")
    got = Crane().pull(home, f"{home.registry}/library/charts/plain:0.1.0", tmp_path / "got")
    assert (got.digest, got.digests()) == (digest, contents)


def test_referrers_are_found_and_copied_with_their_subject(home: Home, tmp_path: Path) -> None:
    """oras attaches, regctl lists by type, and a recursive copy takes the referrer along."""
    reference = f"{home.registry}/library/attached:v1"
    source = image(tmp_path / "image", seed="attached")
    Crane().push(home, source, reference)
    (home.folder / "sbom.json").write_text('{"packages":[]}')
    home.run(
        "oras", "attach", "--no-tty", "--plain-http", "--artifact-type", SBOM, reference,
        "sbom.json:application/json",
    )  # fmt: skip
    host = f"reg={home.registry},tls=disabled"
    said = home.run(
        "regctl", "--host", host, "artifact", "list", "--filter-artifact-type", SBOM,
        "--format", "{{json .Descriptors}}", reference,
    )  # fmt: skip
    listed = json.loads(said)
    assert [entry["artifactType"] for entry in listed] == [SBOM]
    copy = f"{home.registry}/library/copied:v1"
    home.run(
        "oras", "copy", "--no-tty", "-r", "--from-plain-http", reference, "--to-plain-http", copy
    )
    found = json.loads(home.run("oras", "discover", "--plain-http", "--format", "json", copy))
    assert [entry["digest"] for entry in found["referrers"]] == [listed[0]["digest"]]


@pytest.mark.parametrize("bundle", ["true", "false"], ids=["bundle", "tag"])
def test_a_signature_by_a_local_key_verifies(bundle: str, home: Home, tmp_path: Path) -> None:
    """cosign signs by digest, as a referrer and in its older form under a tag, and verifies."""
    repository = f"{home.registry}/library/signed-{bundle}"
    source = image(tmp_path / "image", seed=f"signed {bundle}")
    Crane().push(home, source, f"{repository}:v1")
    home.run("cosign", "generate-key-pair")
    signed = f"{repository}@{source.digest}"
    home.run("cosign", "sign", *LOCAL_KEY, f"--new-bundle-format={bundle}", signed)
    said = home.run(
        "cosign", "verify", *VERIFY, f"--new-bundle-format={bundle}", f"{repository}:v1"
    )
    assert json.loads(said)[0]["critical"]["image"]["docker-manifest-digest"] == source.digest


def test_an_unsigned_image_does_not_verify(home: Home, tmp_path: Path) -> None:
    """The verification that the test above relies on can fail."""
    reference = f"{home.registry}/library/unsigned:v1"
    Crane().push(home, image(tmp_path / "image", seed="unsigned"), reference)
    home.run("cosign", "generate-key-pair")
    with pytest.raises(ClientFailed, match="no signatures found"):
        home.run("cosign", "verify", *VERIFY, reference)
