"""The campaign in short, and that it finds what is to be found."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import campaign
from tests.fuzz.kit import Finding, Target, inputs, judge, run, shortened, traced
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS
from zraft.errors import ProtocolError

pytestmark = pytest.mark.uncounted  # counting takes memory, which is counted here


def careless(data: bytes) -> None:
    """Trusts a length, and does not know what to do with an empty input."""
    if data[0] > 0x7F:
        raise ProtocolError("not this")
    bytes(256 * int.from_bytes(data[:2], "big"))


CARELESS = Target("wire.careless", careless, (ProtocolError,), lambda _: [b"\x00\x05hello", b"\xff"])


def test_the_same_seed_draws_the_same_inputs() -> None:
    """And another one does not."""
    target = TARGETS["wire.requests"]
    assert list(inputs(target, 3, 80)) == list(inputs(target, 3, 80))
    assert list(inputs(target, 3, 80)) != list(inputs(target, 4, 80))


def test_what_a_careless_reader_does_is_found() -> None:
    """Memory for a length that lies, and an exception that is none of ours."""
    tally = run(CARELESS, 1, 300)
    kinds = {finding.what.partition(":")[0].lstrip("0123456789 ") for finding in tally.findings}
    assert "IndexError" in kinds
    assert any(kind.startswith("bytes of memory") for kind in kinds)
    assert tally.accepted
    assert tally.refused


def test_a_finding_is_made_shorter() -> None:
    """What does not belong to it is left out."""
    assert shortened(CARELESS, b"\x70\x00" + b"\x00" * 100) == b"\x70\x00"


def test_every_change_is_made() -> None:
    """Also of inputs that are empty, and of those that are no MessagePack."""
    chance = Random(1)
    found = {mutated(chance, [b"", b"\x93\x01\x02\x03", b"\xc1plain"]) for _ in range(500)}
    assert len(found) > 300


def test_a_finding_is_kept_with_what_replays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file for each kind of finding; the exit status says whether it is mended."""
    monkeypatch.setitem(TARGETS, CARELESS.name, CARELESS)
    totals = campaign.Totals(first=1)
    said = totals.add(run(CARELESS, 1, 300), tmp_path)
    assert len(said) == len(totals.kept) >= 2
    [path, *_] = totals.kept.values()
    assert f"replay it: python -m tests.fuzz.campaign --replay {path}" in said[0]
    assert list(totals.lines())[-1].endswith("FAILED")
    assert campaign.main(["--replay", path]) == 1
    assert "wire.careless: " in capsys.readouterr().out
    Path(path).write_bytes(b"wire.careless\n\x00\x05hello")
    assert campaign.main(["--replay", path]) == 0


def test_a_campaign_reports_in_json_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without time nothing is tried, and nothing was found."""
    assert campaign.main(["--minutes", "0", "--json", "--jobs", "1", "--first", "7", "--kept", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["inputs"], found["kept"]) == (7, 0, {})


def test_a_finding_says_where_it_comes_from() -> None:
    """Target, seed and number are enough to draw it again."""
    with traced():
        assert judge(CARELESS, b"\xff") is False
    assert str(Finding("a", 2, 3, b"xy", "why")) == "a, input 3 of seed 2 (2 bytes): why"
