"""What clients of shared keys saw is judged."""

from __future__ import annotations

import pytest

from zraft.app.registers import NotLinearizable, Observed, judge
from zraft.sim.history import Get, Operation, Put
from zraft.types import NOT_FOUND


def put(value: str, call: int, returned: int | None) -> Operation:
    return Operation(client="a", key="k", call=call, returned=returned, input=Put(value), output="ok")


def get(value: object, call: int, returned: int) -> Operation:
    return Operation(client="b", key="k", call=call, returned=returned, input=Get(), output=value)


def test_a_history_with_an_order_is_accepted() -> None:
    """Also where a write of unknown outcome was seen."""
    observed = Observed([get(NOT_FOUND, 0, 1), put("x", 1, 4), get("x", 2, 3), put("y", 5, None), get("y", 6, 7)])
    assert observed.reads == 3
    judge(observed)


def test_a_read_that_goes_back_is_refused() -> None:
    """Its key is named."""
    with pytest.raises(NotLinearizable, match="key 'k' is not linearizable"):
        judge(Observed([put("x", 0, 1), put("y", 2, 3), get("x", 4, 5)]))
