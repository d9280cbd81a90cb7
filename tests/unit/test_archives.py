"""Files out of tars that somebody pushed: what Python's own tarfile reads, and no bomb goes off."""

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.packages import Form, entry, tar

from moorage.artifacts.types import archives
from moorage.artifacts.types.archives import Archive
from moorage.errors import Invalid, MoorageError, TooLarge


def second(path: Sequence[str]) -> str | None:
    """Files directly in a folder."""
    return path[1] if len(path) == 2 else None


def read(data: bytes, *, compressed: bool = True, piece: int = 1 << 20) -> dict[str, bytes]:
    """What the archive gives when it is fed in such pieces."""
    archive = Archive(second, compressed=compressed)
    for at in range(0, len(data), piece):
        archive.feed(data[at : at + piece])
    archive.finish()
    return archive.files


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("piece", [1, 511, 513, 100_000])
def test_files_are_read_in_every_format_and_in_pieces_of_any_length(form: Form, piece: int) -> None:
    """Long names stand in headers of their own; padding and neighbours are passed over."""
    long = "d" * 90 + "/" + "n" * 90
    data = tar(
        entry("demo/", type=tarfile.DIRTYPE),
        entry("./demo/a", b"a" * 1000, mtime=1.5 if form == tarfile.PAX_FORMAT else 1),
        entry("demo/deep/a", b"not this one"),
        entry(long, b"long"),
        entry("demo/empty"),
        entry("demo/b", b"b" * 512),
        form=form,
    )
    expected = {"a": b"a" * 1000, "n" * 90: b"long", "empty": b"", "b": b"b" * 512}
    assert read(data, compressed=False, piece=piece) == expected
    assert read(gzip.compress(data), piece=piece) == expected


def test_names_outside_of_ascii_are_read() -> None:
    """They stand in an extended header."""
    assert read(tar(entry("demö/ü", b"x")), compressed=False) == {"ü": b"x"}


def test_of_two_files_with_one_name_the_last_counts() -> None:
    """As when it is unpacked."""
    assert read(gzip.compress(tar(entry("d/a", b"1"), entry("d/a", b"2")))) == {"a": b"2"}


def test_gzip_in_several_members_and_with_padding_is_one_stream() -> None:
    """As gzip itself reads it."""
    data = tar(entry("d/a", b"x" * 3000), entry("d/b", b"y"))
    split = gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(100)
    assert read(split) == {"a": b"x" * 3000, "b": b"y"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_passed_over(kind: bytes) -> None:
    """What they point at is never looked at."""
    data = tar(entry("d/a", type=kind, linkname="../../etc/passwd"), entry("d/b", b"b"))
    assert read(data, compressed=False) == {"b": b"b"}


@pytest.mark.parametrize("name", ["/etc/passwd", "d/../../x", "..", "d/.."])
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    """Helm refuses such a chart too."""
    with pytest.raises(Invalid, match="leads out"):
        read(tar(entry(name, b"x")), compressed=False)


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit by itself.

    Harbor 5713e11f.
    """
    with pytest.raises(TooLarge, match="times its size"):
        read(gzip.compress(tar(entry("d/other/x", bytes(8 << 20)))))
    with pytest.raises(TooLarge, match="has more than 4 MiB"):
        read(tar(entry("d/a", bytes((4 << 20) + 1))), compressed=False)
    with pytest.raises(TooLarge, match="64 folders"):
        read(tar(entry("d/" * 65 + "a", b"x")), compressed=False)
    with pytest.raises(TooLarge, match="4096"):
        read(tar(entry("d" * 5000, b"x")), compressed=False)
    with pytest.raises(TooLarge, match="an entry"):
        read(tar(entry("d/a", size=1 << 40), form=tarfile.GNU_FORMAT), compressed=False)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    with pytest.raises(TooLarge, match="more than 3 entries"):
        read(tar(*(entry(f"d/e/{i}") for i in range(4))), compressed=False)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 10_000)
    with pytest.raises(TooLarge, match="unpacks to more"):
        read(gzip.compress(tar(entry("d/e/a", bytes(5000)), entry("d/e/b", bytes(9000)))))


def test_memory_is_bounded_while_a_bomb_streams_by() -> None:
    """A gzip of zeros is unpacked a piece at a time, and no further than its limit."""
    bomb = zlib.compress(bytes(64 << 20), 9, 31)
    seen: list[int] = []

    def unpack() -> None:
        seen.extend(len(piece) for piece in archives.Inflate().pieces(bomb))

    with pytest.raises(TooLarge):
        unpack()
    assert max(seen) <= 64 << 10
    assert sum(seen) <= archives.MAX_RATIO * len(bomb)


def pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """An extended header with these records."""
    return entry("h", records, type=kind)


BROKEN = (
    b"",
    b"no tar at all",
    bytes([255]) * 512,
    tar(entry("d/a", b"x" * 600))[:1000],
    tar(entry("d/a", b"x"), ended=False)[:700],
    tar(pax(b"8 path=x\n"), entry("d/a")),
    tar(pax(b"path=x\n"), entry("d/a")),
    tar(pax(b"99999999999 path=x\n"), entry("d/a")),
    tar(pax(b"10 path=x"), entry("d/a")),
    tar(pax(b"12 size=-1x\n"), entry("d/a")),
    tar(pax(b"11 path=/x\n"), entry("d/a")),
    tar(pax(b"x" * 70_000), entry("d/a")),
    tar(entry("d/a", size=-5), form=tarfile.GNU_FORMAT),
    tar(entry("d/a", type=tarfile.GNUTYPE_SPARSE)),
)


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_what_is_no_tar_is_refused(number: int) -> None:
    """With a reason that the client reads."""
    with pytest.raises((Invalid, TooLarge)):
        read(BROKEN[number], compressed=False)


def test_what_is_no_gzip_is_refused() -> None:
    """Cut off counts."""
    whole = gzip.compress(tar(entry("d/a", b"x" * 5000)))
    for data in (b"", b"x", gzip.compress(b""), whole[:-40]):
        with pytest.raises(Invalid):
            read(data)


@given(st.data())
def test_a_damaged_archive_is_read_or_refused(data: st.DataObject) -> None:
    """Never anything else, wherever it is damaged."""
    whole = bytearray(tar(pax(b"12 path=d/z\n"), entry("d/a", b"a" * 700), entry("d/b", b"b")))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # the checksum of the first header fits again
        head = bytearray(whole[:512])
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        whole[:512] = head
    with suppress(MoorageError):
        read(bytes(whole), compressed=False, piece=data.draw(st.sampled_from([100, 512, 9999])))
