"""Published flaws of registries: each has a test here that says so."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

FLAWS = (
    # who may do what
    "CVE-2019-16097",
    "CVE-2022-31666",
    "CVE-2022-31669",
    "CVE-2022-31670",
    "CVE-2024-22278",
    "GHSA-w5fq-xrhj-j7g2",
    "GHSA-wrw5-gmvj-gf23",
    "GHSA-xq2m-cj8w-56v5",
    "GHSA-xvh7-74g6-29xw",
    "Harbor c0800603",
    "GO-2025-3409",
    "CVE-2025-23208",
    "GO-2022-0785",
    "CVE-2026-31801",
    "CVE-2026-41888",
    # content of others
    "CVE-2024-39897",
    "CVE-2026-35172",
    "pulp_container#1286",
    "openshift/origin#9819",
    # tokens, keys and passwords
    "CVE-2025-24976",
    "CVE-2026-123710",
    "CVE-2026-4404",
    "GHSA-j7jh-fmcm-xxwv",
    "Harbor 8b822331",
    # addresses
    "CVE-2020-13788",
    "CVE-2026-111590",
    "CVE-2026-2377",
    "CVE-2026-32591",
    "CVE-2026-85471",
    "GHSA-2phj-cp9f-qq6w",
    # secrets that leave
    "CVE-2026-103868",
    "CVE-2026-18255",
    "CVE-2026-33540",
    "GHSA-prh4-vhfh-24mj",
    "Harbor 2fbbf4c5",
    "Harbor 3fc70d01",
    "Harbor 62564cca",
    "Harbor 77095571",
    # who is there
    "GHSA-6qj9-33j4-rvhg",
    "GO-2022-0704",
    "GO-2023-2109",
    "Harbor f2eccb11",
    # lists
    "CVE-2023-2253",
    "CVE-2025-30086",
    "CVE-2026-110697",
    "GHSA-jr34-mff8-pc6f",
    "GHSA-rh89-vvrg-fg64",
    "GO-2024-2916",
    # browsers
    "CVE-2025-32019",
    "GO-2022-0876",
    "GO-2024-2915",
    "GO-2025-3825",
    "zot 3844",
    # what is sent to harm
    "CVE-2017-11468",
    "GHSA-qj39-pjf2-wmrc",
    "Harbor 5713e11f",
    "zot 4318",
)
"""By the name under which each was published, or the change that mended it."""


def _told() -> str:
    """The docstrings of all tests."""
    trees = (ast.parse(path.read_text()) for path in TESTS.rglob("test_*.py"))
    found = (
        ast.get_docstring(node) or ""
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    )
    return "\n".join(found)


@pytest.fixture(scope="module")
def told() -> str:
    return _told()


def test_every_flaw_has_a_test_that_names_it(told: str) -> None:
    """Whoever asks about one finds what would fail if it were here."""
    missing = [flaw for flaw in FLAWS if not re.search(rf"{re.escape(flaw)}\b", told)]
    assert missing == []


def test_every_flaw_that_is_named_is_listed(told: str) -> None:
    """So that the list above is the whole of it."""
    named = set(re.findall(r"CVE-\d+-\d+|GHSA(?:-\w{4}){3}|GO-\d+-\d+", told))
    assert named - set(FLAWS) == set()
