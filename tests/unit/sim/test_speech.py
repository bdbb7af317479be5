"""Simulated clients and the log speak of the same operations, whatever the backend."""

from __future__ import annotations

import pytest

from tests.unit.machine.dialects import BUILT_IN, Dialect
from zraft.sim.history import Get, Input, Operation, Put, Register, Remove, Swap
from zraft.sim.judging import resolved
from zraft.sim.run import run_seed
from zraft.sim.speech import SPEECHES
from zraft.wire.values import decode_value, decoder_for, encode_value

WRITES: tuple[Input, ...] = (Put("a"), Remove(), Swap(None, "b"), Swap("b", "c"), Swap("x", "d"), Remove(), Remove())


@pytest.mark.parametrize("dialect", BUILT_IN, ids=lambda dialect: dialect.name)
def test_a_backend_does_what_the_model_of_a_register_does(dialect: Dialect) -> None:
    """Every request has the output that the model gives, and is heard again in the log as what it was."""
    speech, model, backend = SPEECHES[dialect.name], Register(), dialect.fresh()
    state = model.initial
    for asked in WRITES:
        if isinstance(asked, Swap) and not speech.swaps:
            continue
        command = speech.request("k", asked)
        assert speech.heard(decode_value(encode_value(command))) == ("k", asked)
        expected, state = model.step(state, asked)
        assert speech.output(asked, dialect.apply(backend, command)) == expected
        query = decoder_for(dialect.backend.Query).decode(encode_value(speech.request("k", Get())))
        assert speech.output(Get(), backend.query(query).value) == model.step(state, Get())[0]


def test_a_swap_that_is_not_in_the_log_never_took_effect() -> None:
    """So nobody has to wonder when it did."""
    lost = Operation(client="c", key="k", call=1, returned=None, input=Swap(None, "a"))
    assert resolved([lost], []) == []


@pytest.mark.uncounted
@pytest.mark.timeout(300)
def test_swaps_meet_each_other_in_the_simulation() -> None:
    """Some of them find the value that they expect, and some do not."""
    report = run_seed(5, "table", keep_trace=True)
    assert not report.failure
    swaps = [line for line in report.trace if "Swap(" in line]
    assert {True, False} == {"-> True" in line for line in swaps if "-> ?" not in line and "refused" not in line}
