"""The reference says what the code does: its pages are those that the generator writes."""

import pytest
from tools import reference

from moorage import failpoints
from moorage.distribution.problems import PROBLEMS


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    """A setting, verb, error, route, right or failpoint that changes is written down as well."""
    committed = (reference.FOLDER / name).read_text()
    assert committed == reference.page(name), "run `make docs`"


def test_every_setting_is_described() -> None:
    """No setting comes without a sentence for its operator."""
    bare = [path for path, field in reference.walk(reference.Settings) if not field.description]
    assert not [path for path in bare if not path.endswith(".")]


def test_every_failpoint_is_listed() -> None:
    """The page has a row for each name, and for nothing else."""
    rows = [line for line in reference.page("failpoints.md").splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(failpoints.NAMES)


def test_every_error_code_is_listed() -> None:
    """Whatever code a client may read, the page explains."""
    text = reference.page("errors.md")
    assert all(f"`{problem.code}`" in text for problem in PROBLEMS.values())
