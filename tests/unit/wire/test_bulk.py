"""The snapshot channel's bytes: openings, headers of parts, and what both sides check before they begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft import limits
from zraft.errors import ProtocolError, UsageError
from zraft.wire.bulk import (
    OPENING_BYTES,
    PART_BYTES,
    TOKEN_BYTES,
    FileEntry,
    check_files,
    check_positions,
    opening,
    part_header,
    part_of,
    token_of,
)

TOKEN = bytes(range(TOKEN_BYTES))
FILES: list[FileEntry] = [("a", 10, 1), ("b", 0, 0), ("c", 7, 2)]


def test_an_opening_is_its_golden_bytes() -> None:
    """A change of them is a change of the protocol."""
    assert opening(TOKEN) == b"ZBULK\x01" + TOKEN
    assert len(opening(TOKEN)) == OPENING_BYTES == 38


def test_a_part_header_is_its_golden_bytes() -> None:
    """File number, offset, length; 20 bytes."""
    assert part_header(2, 3, 4).hex() == "00000002" + "0000000000000003" + "0000000000000004"
    assert len(part_header(2, 3, 4)) == PART_BYTES


@pytest.mark.parametrize("size", [0, 16, TOKEN_BYTES - 1, TOKEN_BYTES + 1])
def test_a_token_of_another_length_is_the_callers_mistake(size: int) -> None:
    """Nothing is padded or cut."""
    with pytest.raises(UsageError, match="a token has 32 bytes"):
        opening(bytes(size))


@given(st.integers(0, OPENING_BYTES + 9))
def test_a_token_is_found_once_its_last_byte_is_there(length: int) -> None:
    """Until then the answer is to wait; what follows it is not looked at."""
    data = (opening(TOKEN) + b"more bytes")[:length]
    assert token_of(data) == (TOKEN if length >= OPENING_BYTES else None)


@given(st.integers(0, 5), st.integers(1, 255))
def test_an_opening_is_refused_at_its_first_wrong_byte(at: int, flip: int) -> None:
    """Magic or version: a stranger is known by less than a whole opening."""
    data = bytearray(opening(TOKEN))
    data[at] ^= flip
    assert token_of(bytes(data[:at])) is None
    with pytest.raises(ProtocolError):
        token_of(bytes(data[: at + 1]))


@pytest.mark.parametrize(("number", "offset", "length"), [(0, 4, 6), (0, 4, 1), (2, 0, 7)])
def test_a_part_that_continues_a_file_is_taken(number: int, offset: int, length: int) -> None:
    """In any order of files, up to their ends."""
    assert part_of(part_header(number, offset, length), FILES, [4, 0, 0]) == (number, length)


@pytest.mark.parametrize(
    ("number", "offset", "length"),
    [
        (3, 0, 1),  # no such file
        (0xFFFFFFFF, 0, 1),
        (0, 0, 10),  # again
        (0, 5, 5),  # a gap
        (0, 4, 0),  # nothing: a sender could go on for ever
        (0, 4, 7),  # beyond the end
        (0, 4, (1 << 64) - 1),
        (0, (1 << 64) - 1, 6),
        (1, 0, 1),  # of an empty file
    ],
)
def test_a_part_that_is_not_what_is_missing_is_refused(number: int, offset: int, length: int) -> None:
    """Gaps, overlaps, too much, nothing, and numbers as large as they get."""
    with pytest.raises(ProtocolError):
        part_of(part_header(number, offset, length), FILES, [4, 0, 0])


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../up", "/etc/passwd", "a/b", "a\\b", "nul\0", "new\nline", "\ud800", "x" * 256, "é" * 128],
)
def test_a_name_that_is_not_one_plain_component_is_refused(name: str) -> None:
    """BM-123: nothing can be written anywhere else, whoever made the list."""
    with pytest.raises(UsageError, match="name of a file"):
        check_files([(name, 1, 1)])


@pytest.mark.parametrize(("size", "checksum"), [(-1, 0), (1 << 63, 0), (1, -1), (1, 1 << 32)])
def test_a_size_or_checksum_that_cannot_be_is_refused(size: int, checksum: int) -> None:
    """Offsets stay within what headers and file systems hold."""
    with pytest.raises(UsageError, match="size"):
        check_files([("a", size, checksum)])


def test_files_are_bounded_and_have_names_of_their_own() -> None:
    """Two of one name would be one file on the disk."""
    assert check_files(FILES) == tuple(FILES)
    with pytest.raises(UsageError, match="name of a file"):
        check_files([*FILES, ("a", 1, 1)])
    with pytest.raises(UsageError, match="files"):
        check_files([(f"{number}", 1, 1) for number in range(limits.BULK_FILES + 1)])


@pytest.mark.parametrize("positions", [[], [0, 0], [0, 0, 0, 0], [11, 0, 0], [-1, 0, 0], [0, 1, 0]])
def test_positions_of_other_files_are_the_other_nodes_mistake(positions: list[int]) -> None:
    """They come over the control connection."""
    with pytest.raises(ProtocolError):
        check_positions(FILES, positions)


def test_positions_within_the_files_are_taken() -> None:
    """Begun, empty, whole."""
    assert check_positions(FILES, [4, 0, 7]) == (4, 0, 7)
