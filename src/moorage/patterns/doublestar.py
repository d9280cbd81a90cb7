"""Patterns as shells write names of files, translated for RE2.

    *         any characters within one part of a path
    **        as a part of its own: any number of parts, none as well; elsewhere the same as *
    ?         one character, but no slash
    [a-c]     one of these characters; [^a-c] one that is none of these
    {a,b/c}   one of these, which are patterns themselves
    \\         the next character as it is

`a/**` matches all below `a` and not `a` itself; `**/c` matches `c`. That is how version 1 of Go's
doublestar reads them, which Harbor uses. Alternatives are written out first, as shells do it, so
that a `**` which one of them completes counts as well.
"""

from collections.abc import Iterator

MAX_EXPANDED = 16 * 1024
"""Characters of all that a pattern with alternatives stands for."""
MAX_DEPTH = 16
"""Alternatives within alternatives."""

_SLASH = ord("/")
_LAST = 0x10FFFF
_WITHIN = "[^/]"  # one character of a part
_NOTHING = rf"[^\x{{0}}-\x{{{_LAST:x}}}]"  # a class without characters


def translate(pattern: str) -> str:
    """An expression of RE2 for the whole name; raises ValueError, which says what is wrong."""
    written = _expand(pattern, 0)
    return "|".join(f"(?:{_one(text)})" for text in dict.fromkeys(written))


# --- alternatives


def _expand(pattern: str, depth: int) -> list[str]:
    """What the pattern stands for, without alternatives."""
    if depth > MAX_DEPTH:
        raise ValueError(f"alternatives nest at most {MAX_DEPTH} levels deep")
    found = [""]
    plain = 0
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 2
            continue
        if pattern[at] != "{":
            at += 1
            continue
        options, end = _options(pattern, at + 1)
        inner = [text for option in options for text in _expand(option, depth + 1)]
        found = _product(found, [pattern[plain:at] + text for text in inner])
        plain = at = end
    return _product(found, [pattern[plain:]])


def _options(pattern: str, start: int) -> tuple[list[str], int]:
    """The alternatives from behind a brace, and where the pattern goes on behind them."""
    options: list[str] = []
    open_, begun, at = 1, start, start
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "{":
            open_ += 1
        elif character == "}":
            open_ -= 1
            if not open_:
                return [*options, pattern[begun:at]], at + 1
        elif character == "," and open_ == 1:
            options.append(pattern[begun:at])
            begun = at + 1
        at += 1
    raise ValueError("a { has no }")


def _product(heads: list[str], tails: list[str]) -> list[str]:
    size = len(tails) * sum(map(len, heads)) + len(heads) * sum(map(len, tails))
    if size > MAX_EXPANDED or len(heads) * len(tails) > MAX_EXPANDED:
        raise ValueError("it has too many alternatives")
    return [head + tail for head in heads for tail in tails]


# --- one pattern without alternatives


def _one(pattern: str) -> str:
    parts = [list(tokens) for tokens in _parts(pattern)]
    last = len(parts) - 1
    found = []
    for number, tokens in enumerate(parts):
        if tokens == ["*", "*"]:
            found.append("(?s:.*)" if number == last else f"(?:{_WITHIN}*/)*")
            continue
        found.append("".join(f"{_WITHIN}*" if each == "*" else each for each in tokens))
        if number < last:
            found.append("/")
    return "".join(found)


def _parts(pattern: str) -> Iterator[list[str]]:
    """The parts between slashes; a star is `*`, every other token an expression already."""
    tokens: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "/":
            yield tokens
            tokens = []
        elif character == "*":
            tokens.append("*")
        elif character == "?":
            tokens.append(_WITHIN)
        elif character == "[":
            token, at = _class(pattern, at)
            tokens.append(token)
        elif character == "\\":
            if at == len(pattern):
                raise ValueError("nothing follows the last backslash")
            tokens.append(_literal(pattern[at]))
            at += 1
        else:
            tokens.append(_literal(character))
    yield tokens


def _literal(character: str) -> str:
    return rf"\x{{{ord(character):x}}}"


def _class(pattern: str, start: int) -> tuple[str, int]:
    """The class whose text begins at `start`, as an expression, and where it ends."""
    at = start
    outside = pattern[at : at + 1] == "^"
    at += outside
    ranges = []
    while pattern[at : at + 1] != "]":
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _member(pattern, at + 1)
        if low > high:
            raise ValueError(f"the range {chr(low)}-{chr(high)} ends before it begins")
        ranges.append((low, high))
    if not ranges and not outside:
        raise ValueError("a class [] has no characters; write a ] in it as \\]")
    if outside:
        ranges.append((_SLASH, _SLASH))
    else:
        ranges = [piece for pair in ranges for piece in _without_slash(*pair)]
    inner = "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in ranges)
    if not inner:
        return _NOTHING, at + 1
    return f"[{'^' if outside else ''}{inner}]", at + 1


def _member(pattern: str, at: int) -> tuple[int, int]:
    """One character of a class, and where the next thing in it begins."""
    if pattern[at : at + 1] == "-":
        raise ValueError("a - in a class stands between two characters; write it alone as \\-")
    if pattern[at : at + 1] == "\\":
        at += 1
    elif pattern[at : at + 1] == "]":
        raise ValueError("a range in a class has no end")
    if at >= len(pattern):
        raise ValueError("a [ has no ]")
    return ord(pattern[at]), at + 1


def _without_slash(low: int, high: int) -> list[tuple[int, int]]:
    """A class never matches a slash: it stands for one character of a part."""
    pieces = [(low, min(high, _SLASH - 1)), (max(low, _SLASH + 1), high)]
    return [(first, last) for first, last in pieces if first <= last]
