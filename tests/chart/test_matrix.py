"""Every set of values renders with Helm 3 and 4, is valid for Kubernetes, and starts the product.

Output is validated by kubeconform without a network: the schemas of Kubernetes come from a Python
package, those of other projects are the small ones in tests/chart/schemas.
"""

import importlib.util
import json
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.chart.matrix import SETS
from tests.support.charts import CHART, HELMS, Rendered, render, render_all, run
from tests.support.requirements import path_of, require

VERSIONS = ("1.25.0", "1.37.0")
"""Of Kubernetes: the oldest that the chart is for, and the newest."""

ROLES = ("core", "jobservice", "registry", "exporter")


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, Rendered]:
    """The output of Helm 3 for each set."""
    return render_all(SETS)


@pytest.fixture(scope="module")
def schemas(rendered: Mapping[str, Rendered], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of schemas a version, as kubeconform looks for them."""
    package = importlib.util.find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        require("the Python package kubernetes-validate")
        raise AssertionError
    kinds = {
        f"{each['kind']}-{_group(each['apiVersion'])}".lower()
        for found in rendered.values()
        for each in found.objects
    }
    folder = tmp_path_factory.mktemp("schemas")
    for version in VERSIONS:
        source = Path(package.origin).parent / "kubernetes-json-schema" / f"v{version}-local-strict"
        definitions = json.loads((source / "_definitions.json").read_text())
        for kind in kinds:
            if (source / f"{kind}.json").exists():
                schema = _alone(json.loads((source / f"{kind}.json").read_text()), definitions)
                (folder / f"{version}-{kind}.json").write_text(json.dumps(schema))
    return folder


def _alone(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with every definition that it needs inside, and no name of its own to resolve."""
    room = "$defs" if "$defs" in definitions else "definitions"
    wanted: dict[str, Any] = {}

    def inside(part: object) -> Any:
        if isinstance(part, list):
            return [inside(each) for each in part]
        if not isinstance(part, dict):
            return part
        if isinstance(reference := part.get("$ref"), str):
            name = reference.rpartition("/")[2]
            if name not in wanted:
                wanted[name] = {}  # one that contains itself
                wanted[name] = inside(definitions[room][name])
            return {"$ref": f"#/definitions/{name}"}
        return {key: inside(value) for key, value in part.items() if key not in ("$id", "$schema")}

    return {**inside(schema), "definitions": wanted}


def _group(version: str) -> str:
    """`apps/v1` as schemas write it: `apps-v1`; the first word of a group is its name."""
    group, _, number = version.rpartition("/")
    return f"{group.split('.')[0]}-{number}" if group else number


def test_there_are_enough() -> None:
    """The matrix is worth its name."""
    assert len(SETS) >= 40


def test_helm_4_renders_the_same(rendered: Mapping[str, Rendered]) -> None:
    """Object for object."""
    for name, found in render_all(SETS, "helm4").items():
        assert list(found.objects) == list(rendered[name].objects), name


def test_rendering_twice_changes_nothing(rendered: Mapping[str, Rendered]) -> None:
    """Byte for byte, also where no secret is given: what deploys from a render sees no change."""
    for name, found in render_all(SETS).items():
        assert found.text == rendered[name].text, name


def test_both_lint() -> None:
    """`helm lint` finds nothing in any set, and says nothing louder than a hint."""
    jobs = [(helm, values) for helm in HELMS for values in SETS.values()]
    with ThreadPoolExecutor(4) as threads:
        told = threads.map(lambda job: run(job[0], "lint", str(CHART), values=job[1]), jobs)
        for text in told:
            assert "1 chart(s) linted, 0 chart(s) failed" in text
            assert "[WARNING]" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_valid_for_kubernetes(
    rendered: Mapping[str, Rendered], schemas: Path, version: str, tmp_path: Path
) -> None:
    """Strictly: a field that Kubernetes does not know fails, and no kind is left out."""
    for name, found in rendered.items():
        (tmp_path / f"{name}.yaml").write_text(found.text)
    template = "{{.ResourceKind}}{{.KindSuffix}}.json"
    done = subprocess.run(
        [
            path_of("kubeconform"),
            "-strict",
            "-summary",
            "-schema-location",
            f"{schemas}/{version}-{template}",
            "-schema-location",
            f"{Path(__file__).parent}/schemas/{template}",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert re.search(r"Invalid: 0, Errors: 0, Skipped: 0", done.stdout), done.stdout


def test_kubeconform_is_strict_here(schemas: Path, tmp_path: Path) -> None:
    """It does find a wrong field: the schemas are really read."""
    text = render().text.replace("automountServiceAccountToken", "automountServiceAccountTokens")
    (tmp_path / "wrong.yaml").write_text(text)
    where = f"{schemas}/{VERSIONS[-1]}-{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    done = subprocess.run(
        [path_of("kubeconform"), "-strict", "-schema-location", where, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "automountServiceAccountTokens" in done.stdout


@pytest.mark.parametrize("name", SETS)
def test_the_product_takes_every_setting(rendered: Mapping[str, Rendered], name: str) -> None:
    """The environment of each pod is one that the product starts with."""
    found = rendered[name]
    for kind, names in (("Deployment", ROLES), ("Job", ("migrate",))):
        for each in set(names) & set(found.of(kind)):
            settings = found.settings(each, kind)
            assert settings.database.postgres
            assert (settings.auth.secret_key is None) == (kind == "Job")
    portal = found.settings(next(n for n in found.of("Deployment") if n.endswith("portal")))
    assert portal.portal.core_url
    assert (portal.portal.ca_file is None) == portal.portal.core_url.startswith("http://")


@pytest.mark.parametrize("name", SETS)
def test_pods_are_restricted(rendered: Mapping[str, Rendered], name: str) -> None:
    """The profile `restricted` of Kubernetes, a read-only root, no token, nothing of other pods."""
    for pod, spec in rendered[name].pods():
        assert spec["securityContext"]["runAsNonRoot"], pod
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"], pod
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            declared = {volume["name"] for volume in spec["volumes"]}
            claims = {"data"} if "StatefulSet" in rendered[name].text else set()
            assert mounted - claims <= declared <= mounted, pod


@pytest.mark.parametrize("name", SETS)
def test_references_inside_of_the_release_resolve(
    rendered: Mapping[str, Rendered], name: str
) -> None:
    """Selectors find their pods, routes their Services and ports, pods their volumes."""
    found = rendered[name]
    workloads = [*found.of("Deployment").values(), *found.of("StatefulSet").values()]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in workloads]
    for service in found.of("Service").values():
        wanted = service["spec"]["selector"].items()
        assert sum(wanted <= each.items() for each in labels) == 1, service["metadata"]
    for workload in workloads:
        wanted = workload["spec"]["selector"]["matchLabels"].items()
        assert sum(wanted <= each.items() for each in labels) == 1
    services = {each["metadata"]["name"]: each for each in found.of("Service").values()}
    for target, port in _backends(found):
        ports = [each["port"] for each in services[target]["spec"]["ports"]]
        assert port in ports, (target, port)
    made = {each["metadata"]["name"] for each in found.objects if each["kind"] == "ConfigMap"}
    for _, spec in found.pods():
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made


def _backends(found: Rendered) -> list[tuple[str, int]]:
    listed = []
    for ingress in found.of("Ingress").values():
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            service = path["backend"]["service"]
            listed.append((service["name"], service["port"]["number"]))
    for route in found.of("HTTPRoute").values():
        for rule in route["spec"]["rules"]:
            listed += [(each["name"], each["port"]) for each in rule["backendRefs"]]
    return listed
