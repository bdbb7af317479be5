"""Outcomes: which can travel, when they are encoded, what a caller is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zraft.errors import BackendError, Rejected
from zraft.machine.backend import Reject
from zraft.session.outcomes import encode_result, rejected, settled
from zraft.types import NOT_FOUND
from zraft.wire.values import decode_value


@pytest.mark.parametrize("result", [None, True, 3, 1.5, "ok", b"x", NOT_FOUND, [1, {"a": NOT_FOUND}], {"k": [1]}])
def test_a_result_travels(result: Any) -> None:
    """Whether it waited as a value or was encoded at once."""
    assert decode_value(encode_result(result)) == result
    assert decode_value(encode_result(settled(result))) == result


def test_a_container_is_encoded_at_once() -> None:
    """What happens to it afterwards is in no reply; what cannot change waits as it is."""
    result = [1]
    kept = settled(result)
    result.append(2)
    assert type(kept) is msgspec.Raw
    assert decode_value(encode_result(kept)) == [1]
    assert settled("ok") == "ok"


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    return [deep(levels - 1)] if levels else 1


@pytest.mark.parametrize("result", [object(), 1 << 64, "\ud800", deep(65), deep(5000 // 10), [{1, 2}]])
def test_a_result_that_cannot_travel_is_an_error_of_the_backend(result: Any) -> None:
    """The command has run; its type is named for everybody alike."""
    with pytest.raises(BackendError) as told:
        encode_result(settled(result))
    assert (told.value.type, told.value.executed) == ("UnencodableResult", "yes")


def test_an_outcome_that_is_an_error_is_raised() -> None:
    """Encoding it would hide it."""
    for error in (BackendError("KeyError"), Rejected("full")):
        assert settled(error) is error
        with pytest.raises(type(error)):
            encode_result(error)


def test_a_refusal_is_told_as_the_wire_shows_it() -> None:
    """Tuples are lists; a later change of the detail is not in it."""
    detail = {"limits": (1, 2)}
    told = rejected(Reject("full", detail))
    assert isinstance(told, Rejected)
    assert (told.code, told.detail, told.executed) == ("full", {"limits": [1, 2]}, "no")


@pytest.mark.parametrize("detail", [object(), deep(65)])
def test_a_refusal_whose_detail_cannot_travel_did_not_run(detail: Any) -> None:
    """It is an error of the backend, the same everywhere."""
    told = rejected(Reject("full", detail))
    assert isinstance(told, BackendError)
    assert (told.type, told.executed) == ("UnencodableResult", "no")
