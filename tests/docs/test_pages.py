"""Documents lead somewhere: links resolve, named settings and commands exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import reference

from moorage.config import loading

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings, as a renderer writes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """The code blocks of a page in some language."""
    for language, text in BLOCK.findall(page.read_text()):
        if language in languages:
            yield text


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_inside_the_project_resolve(page: Path) -> None:
    """Every relative link names a file that is there, and a heading in it where it names one."""
    prose = BLOCK.sub("", page.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_make_targets_and_verbs_exist(page: Path) -> None:
    """What a page tells a reader to type is there to be typed."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    verbs = set(re.findall(r"^## moorage ([a-z -]+)$", reference.page("commands.md"), re.MULTILINE))
    for text in blocks(page, "sh", "console"):
        for target in re.findall(r"^\s*make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets, f"no make {target}"
        for words in re.findall(r"^\s*moorage ((?:[a-z]+ ?)+)", text, re.MULTILINE):
            known = [verb for verb in verbs if f"{words} ".startswith(f"{verb} ")]
            assert known, f"no moorage {words}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_examples_of_moorage_toml_are_valid(page: Path) -> None:
    """Each TOML block is one that the server would accept."""
    for text in blocks(page, "toml"):
        reference.Settings.model_validate(tomllib.loads(text))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_named_environment_variables_exist(page: Path) -> None:
    """A variable that a page names is a setting."""
    settings = {*map(loading.variable, loading.paths()), *loading.SHORT, *loading.NOT_SETTINGS}
    for name in re.findall(r"\bMOORAGE_[A-Z][A-Z0-9_]+\b", page.read_text()):
        assert name in settings or name.removesuffix("_FILE") in settings, f"no {name}"


def test_every_package_and_folder_has_its_place() -> None:
    """CONTRIBUTING says where things are: each package, floor by floor, and no other."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (tree,) = [body for _, body in BLOCK.findall(text) if body.startswith("src/moorage/")]
    lines = [line for line in tree.splitlines()[1:] if re.match(r"  [a-z]", line)]
    listed = [name for line in lines for name in re.split(r"  +", line.strip())[0].split(", ")]
    inside = [path for path in (ROOT / "src" / "moorage").iterdir() if path.name[0] not in "._"]
    there = {path.stem for path in inside if path.is_dir() or path.suffix == ".py"}
    assert set(listed) == there
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [each["layers"] for each in contracts["contracts"] if each["type"] == "layers"]
    floor = {name: at for at, each in enumerate(layers) for name in each.split(" | ")}
    assert [floor[name] for name in listed] == sorted(floor[name] for name in listed)
    for folder in ("tests", "docs", "deploy"):
        (line,) = re.findall(rf"^{folder}/ +((?:.*\n)(?:  +.*\n)*)", tree, re.MULTILINE)
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and any(path.iterdir()) and path.name[0] not in "._":
                assert re.search(rf"\b{path.name}\b", line), f"{folder}/{path.name} has no place"
