"""The long campaign, in short."""

from __future__ import annotations

import json

import pytest

from tests.sim.soak import Totals, main
from zraft.sim.run import Counters, Report


def test_a_campaign_adds_up_what_its_seeds_did() -> None:
    """Of a run that holds, and of one that does not: with the command that replays it."""
    totals = Totals(first=1)
    counters = Counters(events=100, simulated_ms=7_200_000, operations=5)
    report = Report(seed=1, profile="calm", failure="", unknown="", digest="", counters=counters)
    totals.add(report)
    totals.add(report)
    assert (totals.seeds, totals.operations, totals.simulated_hours) == (2, 10, 4.0)
    assert (totals.is_good, list(totals.lines())[-1]) == (True, "every property held")
    report.failure, report.unknown = "made up", "too long"
    report.counters.faults["kill"] = 3
    totals.add(report)
    lines = list(totals.lines())
    assert (totals.is_good, totals.unknown) == (False, 1)
    assert "FAILED made up\n  replay it: zraft sim --seed 1 --profile calm" in lines
    assert any("3 × kill" in line for line in lines)
    totals.seconds = 100.0
    assert "speed 3 events and 216.0 simulated seconds in a second" in list(totals.lines())


def test_a_campaign_reports_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without time no seed is run, and nothing failed."""
    assert main(["--minutes", "0", "--seeds-only", "--json", "--jobs", "1", "--first", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["seeds"], found["is_good"]) == (7, 0, True)
