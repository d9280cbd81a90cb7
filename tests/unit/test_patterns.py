"""Patterns of rules: what they match, what is wrong with them, and that none of them is slow."""

import time
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moorage import patterns
from moorage.errors import Invalid
from moorage.patterns import doublestar, versions


def matches(kind: str, pattern: str, name: str) -> bool:
    return patterns.compile(kind, pattern).matches(name)


# --- doublestar

FITTING = [
    ("abc", "abc"),
    ("*", "abc"),
    ("*", ""),
    ("*c", "abc"),
    ("a*", "a"),
    ("a*/b", "abc/b"),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
    ("a*b?c*x", "abxbbxdbxebxczzx"),
    ("ab[b-d]", "abc"),
    ("ab[^e-g]", "abc"),
    ("a?b", "a☺b"),
    ("[à-ö]*", "é"),
    (r"a\*b", "a*b"),
    (r"[\]a]", "]"),
    (r"[x\-]", "-"),
    (r"\{a\,b\}", "{a,b}"),
    ("a]", "a]"),
    ("a,b}", "a,b}"),
    ("[^]", "a"),
    ("**", ""),
    ("**", "a"),
    ("**", "a/b/c"),
    ("**/**", "a"),
    ("a/**", "a/b"),
    ("a/**", "a/b/c"),
    ("**/c", "c"),
    ("**/c", "a/b/c"),
    ("a/**/b", "a/b"),
    ("a/**/b", "a/x/y/b"),
    ("a/**/*", "a/b"),
    ("a**b", "axb"),
    ("ab{c,d}", "abd"),
    ("ab{c,d,*}", "abcde"),
    ("a{,bc}", "a"),
    ("a{}", "a"),
    ("{a}", "a"),
    ("{a/{b,c},abc}", "a/c"),
    ("a/{b/c,c/b}", "a/c/b"),
    ("{a/,}**", "a/b/c"),
    ("{team,open}/**", "open/x/y"),
    ("{a,b}{1,2}", "b2"),
    (r"{a\,b,c}", "a,b"),
    (r"{[\,],b}", ","),
    ("a/[+-0]", "a/0"),
]
OTHER = [
    ("abc", "ABC"),
    ("abc", "abcd"),
    ("*", "a/b"),
    ("a?b", "a/b"),
    ("a*b", "a/b"),
    ("a[^x]b", "a/b"),
    ("a[+-0]b", "a/b"),
    ("a[/]b", "a/b"),
    ("a*", "ab/c"),
    ("a*/b", "a/c/b"),
    ("ab[^b-d]", "abc"),
    ("[!a]", "b"),
    ("a???b", "a☺b"),
    ("a/**", "a"),
    ("a/**", "ab"),
    ("**/c", "abc"),
    ("**/c", "a/b"),
    ("abc**", "abc/b"),
    ("a/**/b", "ab"),
    ("a//b/c", "a/b/c"),
    ("a/", "a"),
    ("{a/{b,c},abc}", "a/b/c"),
    ("{a,b}{1,2}", "a"),
    (r"a/\**", "a/b/c"),
    ("a.c", "abc"),
    ("a+", "aa"),
    ("(a|b)", "a"),
    ("^a$", "a"),
]


@pytest.mark.parametrize(("pattern", "name"), FITTING)
def test_a_doublestar_pattern_fits(pattern: str, name: str) -> None:
    """As in the tests of the library that Harbor uses, and beyond."""
    assert matches("doublestar", pattern, name)


@pytest.mark.parametrize(("pattern", "name"), OTHER)
def test_a_doublestar_pattern_does_not_fit(pattern: str, name: str) -> None:
    """The whole name counts, and no other syntax shines through."""
    assert not matches("doublestar", pattern, name)


def naive(pattern: str, name: str) -> bool:
    """The same by trying everything: alternatives, then parts, then characters."""
    return any(_parts(each.split("/"), name.split("/")) for each in _written(pattern))


def _written(pattern: str) -> list[str]:
    """Alternatives of one level, without escapes."""
    head, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inner, _, tail = rest.partition("}")
    return [head + option + end for option in inner.split(",") for end in _written(tail)]


def _parts(pattern: list[str], name: list[str]) -> bool:
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        return len(pattern) == 1 or any(_parts(pattern[1:], name[n:]) for n in range(len(name)))
    return _characters(pattern[0], name[0]) and _parts(pattern[1:], name[1:])


def _characters(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_characters(pattern[1:], name[n:]) for n in range(len(name) + 1))
    if not name:
        return False
    if pattern[0] == "[":
        inner, _, rest = pattern[1:].partition("]")
        outside = inner.startswith("^")
        low, high = inner[outside], inner[-1]
        return (low <= name[0] <= high) != outside and _characters(rest, name[1:])
    return pattern[0] in (name[0], "?") and _characters(pattern[1:], name[1:])


PLAIN = st.sampled_from(
    ["a", "b", "-", "/", "*", "**", "/**", "**/", "?", "[a]", "[^a]", "[a-b]", "[^a-b]"]
)
BRACES = st.lists(st.lists(PLAIN, max_size=3).map("".join), min_size=1, max_size=3).map(
    lambda options: "{" + ",".join(options) + "}"
)
WRITTEN = st.lists(PLAIN | BRACES, min_size=1, max_size=6).map("".join)
NAMES = st.lists(st.text("ab-", max_size=3), min_size=1, max_size=4).map("/".join)


@given(WRITTEN, NAMES)
@settings(max_examples=500, deadline=None)
@example("{a/,b}**", "a/b/a")
@example("*{a,aa/b}", "aa/b")
def test_the_translation_is_that_of_a_naive_matcher(pattern: str, name: str) -> None:
    """Whatever is put together from what there is."""
    assert matches("doublestar", pattern, name) == naive(pattern, name)


@given(st.text("ab/*?[]^-{},\\", min_size=1, max_size=12), NAMES)
@settings(max_examples=500, deadline=None)
def test_a_doublestar_pattern_is_right_or_invalid(pattern: str, name: str) -> None:
    """Nothing else comes of whatever characters."""
    with suppress(Invalid):
        assert matches("doublestar", pattern, name) in (True, False)


@given(st.text(min_size=1, max_size=20))
def test_an_escaped_name_is_matched_by_itself_alone(name: str) -> None:
    """Every character can be written with a backslash before it."""
    escaped = "".join("\\" + character for character in name)
    assert matches("doublestar", escaped, name)
    assert not matches("doublestar", escaped, name + "x")


# --- regex and semver


def test_a_regex_is_of_the_whole_name() -> None:
    """In RE2's syntax."""
    assert matches("regex", r"v\d+\.\d+(-rc\d+)?", "v1.2-rc3")
    assert not matches("regex", r"v\d+", "v1.2")
    assert not matches("regex", "a|b", "ab")
    assert matches("regex", "(?i)RELEASE", "release")


IN_RANGE = [
    ("1.2.3", "1.2.3 v1.2.3 1.2.3+build 1.2.3_build.5", "1.2.4 1.2.3-rc1"),
    ("v1.2.3", "1.2.3 v1.2.3", "1.2.2"),
    (">=1.2 <2", "1.2.0 1.9.9 v1.10.0", "1.1.9 2.0.0 2.0.0-rc1 1.3.0-rc1 1.2.0-rc1"),
    (">=1.2,<2", "1.2.0", "2.0.0"),
    (">= 1.2.0 < 2.0.0", "1.2.0", "2.0.0"),
    (">1.2", "1.3.0", "1.2.9"),
    (">1.2.3", "1.2.4", "1.2.3"),
    ("<=1.2", "1.2.9 0.0.1", "1.3.0"),
    ("<1.2", "1.1.9", "1.2.0 1.2.0-rc1"),
    ("^1.2", "1.2.0 1.99.0", "1.1.9 2.0.0 2.0.0-0"),
    ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
    ("^0.0.3", "0.0.3", "0.0.4"),
    ("^0.0", "0.0.9", "0.1.0"),
    ("^0", "0.9.9", "1.0.0"),
    ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.11 1.2.3-rc 1.2.3 1.9.0", "1.2.3-beta.1 1.3.0-rc"),
    ("~1.4", "1.4.0 1.4.9", "1.5.0 1.3.9"),
    ("~1.4.3", "1.4.3 1.4.9", "1.4.2 1.5.0"),
    ("~1", "1.9.9", "2.0.0"),
    ("1", "1.9.9", "2.0.0"),
    ("1.x", "1.9.9", "2.0.0"),
    ("=1.2.*", "1.2.7", "1.3.0"),
    ("*", "0.0.0 99.1.2", "1.0.0-rc1"),
    ("1.2 - 1.4", "1.2.0 1.4.9", "1.1.9 1.5.0"),
    ("1.2.0 - 1.4.0", "1.4.0", "1.4.1"),
    ("^1.2 || ^3", "1.2.0 3.1.0", "2.0.0 4.0.0"),
    (">=1.0.0-alpha", "1.0.0-alpha.1 1.0.0-beta 1.0.0", "1.0.0-1 1.1.0-alpha"),
    (">=1.0.0-2", "1.0.0-11 1.0.0-a", "1.0.0-1"),
]
NO_VERSIONS = "latest 1 1.2 v1 01.2.3 1.02.3 1.2.3.4 1.2.3-01 1.2.3- 1.2.3-a..b V1.2.3 x1.2.3 1.2.٣"


@pytest.mark.parametrize(("pattern", "inside", "outside"), IN_RANGE)
def test_a_range_of_versions(pattern: str, inside: str, outside: str) -> None:
    """As npm reads it; pre-releases only where the range names one of the same version."""
    assert [name for name in inside.split() if not matches("semver", pattern, name)] == []
    assert [name for name in outside.split() if matches("semver", pattern, name)] == []


@pytest.mark.parametrize("name", [*NO_VERSIONS.split(), "", "1.2.3\n"])
def test_what_is_no_version_never_matches(name: str) -> None:
    """`1.2` mostly moves with its patches, so it is none."""
    assert not matches("semver", "*", name)


def test_versions_are_ordered_as_semver_says() -> None:
    """The example of the specification, section 11."""
    told = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 "
    told += "1.0.0-rc.1 1.0.0 2.0.0 2.1.0 2.1.1"
    found = [versions.parse(name) for name in told.split()]
    known = [version for version in found if version is not None]
    assert known == sorted(known)
    assert len(set(known)) == len(told.split())


NUMBERS = st.tuples(*[st.integers(0, 3)] * 3)


@given(NUMBERS, NUMBERS)
def test_a_caret_is_two_bounds(bound: tuple[int, int, int], version: tuple[int, int, int]) -> None:
    """At least the version, with the same numbers up to the first that is not zero."""
    leading = next((n for n, number in enumerate(bound) if number), 2)
    same = bound[: leading + 1] == version[: leading + 1]
    text = [".".join(map(str, numbers)) for numbers in (bound, version)]
    assert matches("semver", f"^{text[0]}", text[1]) == (same and version >= bound)


@given(st.text("0123456789.xv*^~<>=|, -+_a", max_size=16))
@settings(max_examples=500, deadline=None)
def test_a_range_is_right_or_invalid(pattern: str) -> None:
    """Nothing else comes of whatever characters."""
    with suppress(Invalid):
        assert matches("semver", pattern, "1.2.3") in (True, False)


# --- what is refused

BAD = [
    ("glob", "*", "unknown kind of pattern 'glob'"),
    ("doublestar", "", "** matches everything"),
    ("doublestar", "a" * 1025, "at most 1024"),
    ("doublestar", "a[", "no ]"),
    ("doublestar", "[^bc", "no ]"),
    ("doublestar", "[]a]", "no characters"),
    ("doublestar", "[-]", "between two"),
    ("doublestar", "[x-]", "no end"),
    ("doublestar", "[x--]", "between two"),
    ("doublestar", "[a-b-c]", "between two"),
    ("doublestar", "[z-a]", "ends before"),
    ("doublestar", "a\\", "backslash"),
    ("doublestar", "[a\\", "no ]"),
    ("doublestar", "{a,b", "no }"),
    ("doublestar", "{a,[b,c]}", "no ]"),
    ("doublestar", "{a,b}" * 200, "too many alternatives"),
    ("doublestar", "{" * 20 + "}" * 20, "levels deep"),
    ("doublestar", "a\udc80", "surrogates"),
    ("regex", "(", "missing )"),
    ("regex", r"(a)\1", "invalid escape"),
    ("regex", "(?=a)", "invalid perl operator"),
    ("regex", "a{1001}", "repetition"),
    ("regex", "((a{100}){100}){100}", "repetition"),
    ("regex", "\\pL" * 300, "too large"),
    ("semver", "1.2.3.4", "no version"),
    ("semver", "latest", "no version"),
    ("semver", ">=01.2", "no version"),
    ("semver", "1.2.x-rc1", "whole version"),
    ("semver", "1.2.3-01", "no version"),
    ("semver", "^^1", "no version"),
    ("semver", ">", "no version"),
    ("semver", "1 ||", "empty"),
    ("semver", "<*", "no version is <"),
]


@pytest.mark.parametrize(("kind", "pattern", "said"), BAD)
def test_a_wrong_pattern_is_told_what_is_wrong(kind: str, pattern: str, said: str) -> None:
    """Before any rule has it."""
    with pytest.raises(Invalid) as refused:
        patterns.compile(kind, pattern)
    assert said in refused.value.message
    assert len(refused.value.message) < 300


HOSTILE = [
    ("regex", "(a|aa)+x"),
    ("regex", "(.*)" * 200 + "x"),
    ("regex", "(a?){500}a{500}"),
    ("doublestar", "*a" * 512),
    ("doublestar", "?*" * 512),
    ("doublestar", "**/" * 341 + "x"),
    ("doublestar", "{a,aa}{a,aa}{a,aa}{a,aa}{a,aa}{a,aa}{a,aa}*x"),
    ("semver", " || ".join(["^1.2.3"] * 100)),
]


@pytest.mark.parametrize(("kind", "pattern"), HOSTILE)
def test_no_pattern_is_slow(kind: str, pattern: str) -> None:
    """Matching one that makes others explode takes milliseconds, not years."""
    compiled = patterns.compile(kind, pattern)
    begun = time.process_time()
    for name in ("a" * 255, "a/" * 127 + "a", "1.2.2"):
        assert not compiled.matches(name)
    assert time.process_time() - begun < 1


def test_what_alternatives_stand_for_is_bounded() -> None:
    """Also where each of them is short."""
    with pytest.raises(ValueError, match="too many"):
        doublestar.translate("{,}" * 300)
    assert len(doublestar.translate("{" + ",".join(["abc"] * 200) + "}")) < 50
