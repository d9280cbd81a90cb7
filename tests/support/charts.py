"""The Helm chart, rendered by real Helms.

    render(values)                    the objects, with Helm 3
    render(values, helm="helm4")      with Helm 4
    render_all(sets)                  many sets at once, one process each
    found.settings("core")            what the product reads from the environment of that pod

`Refused` carries the sentence with which a render stops.
"""

import base64
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from tests.support.requirements import path_of

from moorage.config import loading
from moorage.config.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "moorage"
VALUES = ROOT / "tests" / "chart" / "values"
HELMS = ("helm", "helm4")
NAMESPACE = "registry"
SECRET = "a secret of a pod, long enough"
"""What every secret of the cluster holds in these tests."""

Object = Mapping[str, Any]


class Refused(Exception):
    """The render stopped."""


class _Loader(yaml.CSafeLoader):
    """Refuses a key that stands twice in a mapping, which Kubernetes does as well."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    assert len(keys) == len(set(keys)), f"{node.start_mark}: a key stands twice: {keys}"
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True)
        for key, value in node.value
    }


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


@dataclass(frozen=True)
class Rendered:
    """The output of one render."""

    text: str

    @cached_property
    def objects(self) -> Sequence[Object]:
        """All objects, in the order of the output."""
        return [each for each in yaml.load_all(self.text, _Loader) if each]

    def of(self, kind: str) -> Mapping[str, Object]:
        """The objects of a kind, by name without that of the release."""
        return {
            each["metadata"]["name"].removeprefix("moorage-"): each
            for each in self.objects
            if each["kind"] == kind
        }

    def one(self, kind: str, name: str) -> Object:
        """One object."""
        return self.of(kind)[name]

    def pod(self, name: str, kind: str = "Deployment") -> Mapping[str, Any]:
        """The specification of a workload's pods."""
        spec: Mapping[str, Any] = self.one(kind, name)["spec"]["template"]["spec"]
        return spec

    def container(self, name: str, kind: str = "Deployment") -> Mapping[str, Any]:
        """The only container of a workload."""
        (found,) = self.pod(name, kind)["containers"]
        container: Mapping[str, Any] = found
        return container

    def pods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Name and specification of everything that runs."""
        for kind in ("Deployment", "StatefulSet", "Job"):
            for name in self.of(kind):
                yield name, self.pod(name, kind)

    def environment(self, name: str, kind: str = "Deployment") -> dict[str, str]:
        """The environment of a workload's container; each secret is `SECRET`."""
        listed = self.container(name, kind)["env"]
        names = [each["name"] for each in listed]
        assert len(names) == len(set(names)), "a variable is set twice"
        return {each["name"]: self._value(each) for each in listed}

    def _value(self, variable: Object) -> str:
        if "value" in variable:
            return str(variable["value"])
        ref = variable["valueFrom"]["secretKeyRef"]
        made = {e["metadata"]["name"]: e for e in self.objects if e["kind"] == "Secret"}
        if ref["name"] in made:
            return base64.b64decode(made[ref["name"]]["data"][ref["key"]]).decode()
        return SECRET

    def secret_of(self, name: str, variable: str) -> tuple[str, str]:
        """Secret and key that a variable of a Deployment's container comes from."""
        (found,) = (e for e in self.container(name)["env"] if e["name"] == variable)
        ref = found["valueFrom"]["secretKeyRef"]
        return ref["name"].removeprefix("moorage-"), ref["key"]

    def settings(self, name: str, kind: str = "Deployment") -> Settings:
        """What the product understands; raises BadSettings."""
        return loading.load(self.environment(name, kind))

    def secret(self, name: str) -> dict[str, str]:
        """The decoded data of a Secret of the output."""
        data = self.one("Secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


def run(helm: str, *arguments: str, values: Object | None = None) -> str:
    """The standard output of a helm, with `values` as its last file; raises Refused."""
    files = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [path_of(helm), *arguments, *files],
        input=yaml.safe_dump(values) if values is not None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # No cluster of the machine is asked, whatever its settings say.
        env={**os.environ, "KUBECONFIG": os.devnull, "HELM_DEBUG": "false"},
    )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render(values: Object | None = None, *arguments: str, helm: str = "helm") -> Rendered:
    """The chart with some values, as release `moorage`; raises Refused."""
    where = ("--namespace", NAMESPACE)
    output = run(
        helm, "template", "moorage", str(CHART), *where, *arguments, values=dict(values or {})
    )
    return Rendered(output)


def render_all(sets: Mapping[str, Object], helm: str = "helm") -> dict[str, Rendered]:
    """Each set, several at once."""
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda values: render(values, helm=helm), sets.values())
        return dict(zip(sets, found, strict=True))


def file(name: str) -> dict[str, Any]:
    """The values in a file of tests/chart/values."""
    loaded: dict[str, Any] = yaml.safe_load((VALUES / f"{name}.yaml").read_text())
    return loaded


def nested(**paths: object) -> dict[str, Any]:
    """Values by path: nested(core__replicas=2) is {"core": {"replicas": 2}}."""
    tree: dict[str, Any] = {}
    for path, value in paths.items():
        *sections, key = path.split("__")
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        at[key] = value
    return tree


def merged(*trees: Object) -> dict[str, Any]:
    """Trees of values on top of one another."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result
