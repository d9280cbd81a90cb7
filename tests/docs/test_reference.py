"""The reference says what the code does: its pages are those that the generator writes."""

import inspect
import re
from dataclasses import fields

import pytest
from tools import reference

from moorage import errors, failpoints
from moorage.config.settings import Settings
from moorage.distribution.options import Options
from moorage.distribution.problems import PROBLEMS
from moorage.roles.registry import options
from moorage.telemetry.figures import FIGURES
from moorage.telemetry.metrics import Metrics

KINDS = ("counter", "gauge", "histogram", "summary")


def rows(page: str) -> list[str]:
    """The lines of a page's tables that begin with something to type."""
    return [
        line.strip("| ") for line in reference.page(page).splitlines() if line.startswith("| `")
    ]


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
    assert [row.split("`")[1] for row in rows("failpoints.md")] == list(failpoints.NAMES)


def test_every_error_is_listed() -> None:
    """Whatever code a client may read, and whatever it may mean, the page explains."""
    text = reference.page("errors.md")
    assert all(f"`{problem.code}`" in text for problem in PROBLEMS.values())
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    mapped = [kind for kind in kinds if issubclass(kind, tuple(PROBLEMS))]
    assert [kind.__name__ for kind in mapped if str(kind.__doc__) not in text] == []


def test_every_metric_is_listed() -> None:
    """The page has the names that a scrape has, with the type that the scrape says."""
    scraped = Metrics("1").expose()[0].decode()
    types = re.findall(r"^# TYPE ((?!process_)\w+) (\w+)$", scraped, re.MULTILINE)
    types += [
        (f"{name}_total", "counter") if figure.counter else (name, "gauge")
        for name, figure in FIGURES.items()
    ]
    listed = [row.split(" | ")[:2] for row in rows("metrics.md")]
    wanted = [[f"`{name}`", kind] for name, kind in types if not name.endswith("_created")]
    assert sorted(row for row in listed if row[1] in KINDS) == sorted(wanted)


def test_every_option_is_a_setting_or_a_limit() -> None:
    """An option that nobody can set is one that nobody has to set."""
    settings = Settings.model_validate(
        {
            "http": {
                "external_url": "https://registry.example",
                "relative_locations": False,
                "accel_redirect": "/-/blobs/",
                "notice": "soon closed",
            },
            "storage": {"redirect": {"disable": True}},
            "auth": {"token_service": "other"},
            "uploads": {"stall_seconds": 5, "chunk_min_bytes": 9},
        }
    )
    made, bare = options(settings), Options()
    same = {f.name for f in fields(Options) if getattr(made, f.name) == getattr(bare, f.name)}
    assert same == {"min_rate", "drain_bytes", "drain_seconds"}
