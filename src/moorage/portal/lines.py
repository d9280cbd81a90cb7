"""The lines of a repository: a tag or an artifact each, and below it what is inside an index.

    ☐ ▸ 1.4.2  latest  stable    1f2e…   linux/amd64 +1   24.1 MiB   Cosign   2 days ago   never
          linux/amd64            77ab…   Image            12.0 MiB

Drawn without a template: there are a hundred on a page, of a dozen pieces each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moorage.portal.drawing import Drawing, escaped
from moorage.portal.shapes.artifacts import Artifact, Child, Label, NamedTag

FORM = "bulk-artifacts"
"""The id of the form for what is chosen."""
_MOST_TAGS = 3
"""Further tags of an artifact that its line shows."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row: a tag or an artifact."""

    key: str
    artifact: Artifact | None
    tag: NamedTag | None = None

    @property
    def digest(self) -> str:
        """Of the artifact, which may be gone since the tag was read."""
        if self.tag is not None:
            return self.tag.digest
        return self.artifact.digest if self.artifact else ""


class Lines:
    """Draws in one language."""

    def __init__(
        self,
        drawing: Drawing,
        gettext: Callable[[str], str],
        short: Callable[[str], str],
        filesize: Callable[[int], str],
    ) -> None:
        self._drawing = drawing
        self._short = short
        self._filesize = filesize
        self._copy = gettext("Copy the digest")
        # Names are filled in when both are escaped, which leaves the places for them as they are.
        self._choose = escaped(gettext("Choose %(name)s"))
        self._platforms = escaped(gettext("Platforms of %(name)s"))
        self._unknown = escaped(gettext("unknown"))
        self._untagged = escaped(gettext("untagged"))
        nothing, immutable = escaped(gettext("nothing")), escaped(gettext("immutable"))
        self._nothing = f'<span class="muted">{nothing}</span>'
        icon, kept = drawing.icon, escaped(gettext("Kept by an immutability rule"))
        hidden = f'<span class="vh">{immutable}</span>'
        self._lock = f'<span class="lock" title="{kept}">{icon("lock")}{hidden}</span>'
        self._box = f'<span class="twist">{icon("box")}</span>'

    def lines(self, lines: Sequence[Line], base: str) -> str:
        """The bodies of a table; `base` is where the artifacts of the repository are."""
        where = escaped(base)
        return "".join(self._line(line, where) for line in lines)

    def _line(self, line: Line, base: str) -> str:
        one, when = line.artifact, self._drawing.when
        times = line.tag or one
        key, digest = escaped(line.key), escaped(line.digest)
        inside = "".join(
            self._child(each, f"{base}/depth/{digest}") for each in (one.references if one else ())
        )
        return (
            '<tbody><tr data-row tabindex="-1"><td class="w-check"><input type="checkbox" '
            f'form="{FORM}" name="id" value="{key}" data-check '
            f'aria-label="{self._choose % {"name": key}}"></td>'
            f'<td class="tags"><div class="tagline">{self._twist(line, key)}'
            f"{self._tags(line, f'{base}/artifacts/{digest}')}</div>"
            f"{self._labels(one.labels) if one else ''}</td>"
            f"{self._digest(line.digest)}{self._about(one)}"
            f"<td>{when(times.push_time if times else None)}</td>"
            f"<td>{when(times.pull_time if times else None, 'num muted')}</td></tr>{inside}</tbody>"
        )

    def _twist(self, line: Line, key: str) -> str:
        if line.artifact is None or not line.artifact.references:
            return self._box
        return (
            '<button class="twist" type="button" aria-expanded="false" data-twist aria-label="'
            f'{self._platforms % {"name": key}}">{self._drawing.icon("chevron-right")}</button>'
        )

    def _tags(self, line: Line, href: str) -> str:
        """The tag that the line is about, or the first; the others of the artifact behind it."""
        names = [each.name for each in line.artifact.tags] if line.artifact else []
        if line.tag is not None:
            first, names = line.tag.name, [each for each in names if each != line.tag.name]
        elif names:
            first, *names = names
        else:
            return f'<a class="untagged" href="{href}">{self._untagged}</a>'
        lock = self._lock if line.tag is not None and line.tag.immutable else ""
        chips = "".join(self._drawing.chip(each, "tagchip") for each in names[:_MOST_TAGS])
        more = len(names) - _MOST_TAGS
        rest = f'<span class="more">+{more}</span>' if more > 0 else ""
        return f'<a class="tag" href="{href}">{escaped(first)}</a>{lock}{chips}{rest}'

    def _labels(self, labels: Sequence[Label]) -> str:
        return f'<div class="labels">{self._drawing.labels(labels)}</div>' if labels else ""

    def _digest(self, digest: str) -> str:
        shown = f'<code title="{escaped(digest)}">{escaped(self._short(digest))}</code>'
        return f'<td class="digest">{shown}{self._drawing.copyable(digest, self._copy)}</td>'

    def _about(self, one: Artifact | None) -> str:
        """Platforms, size, and what is attached."""
        if one is None:
            return f'<td></td><td class="right num"></td><td class="trust">{self._nothing}</td>'
        platforms = one.platforms
        kind = f'<span class="muted">{escaped(one.type.capitalize())}</span>'
        attached = self._drawing.attached(one.accessories) if one.accessories else self._nothing
        return (
            f"<td>{self._drawing.platforms(platforms) if platforms else kind}</td>"
            f'<td class="right num">{self._filesize(one.size)}</td>'
            f'<td class="trust">{attached}</td>'
        )

    def _child(self, child: Child, base: str) -> str:
        name = escaped(child.platform.name) if child.platform and child.platform.name else ""
        href, inner = f"{base}/artifacts/{escaped(child.child_digest)}", child.child
        kind = size = attached = pulled = ""
        if inner is not None:
            kind, size = escaped(inner.type.capitalize()), self._filesize(inner.size)
            attached = self._drawing.attached(inner.accessories)
            pulled = self._drawing.when(inner.pull_time, "num muted")
        return (
            '<tr class="child" hidden><td></td>'
            f'<td><a class="branch" href="{href}">{name or self._unknown}</a></td>'
            f'{self._digest(child.child_digest)}<td class="muted">{kind}</td>'
            f'<td class="right num">{size}</td><td class="trust">{attached}</td>'
            f"<td></td><td>{pulled}</td></tr>"
        )
