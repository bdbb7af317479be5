"""The page about the simulation says what the code does."""

from __future__ import annotations

import re

from tests.sim.matrix import CHECKS, DRAWN, ELSEWHERE, FAULTS, INVARIANTS, PAGE, ROOT, named, page, raised
from zraft.sim.profiles import PROFILES, Rates


def test_every_rate_that_is_drawn_has_a_row() -> None:
    """And no row is about one that is not drawn."""
    assert set(FAULTS) == set(Rates.__struct_fields__)


def test_every_rate_can_be_drawn_by_some_profile() -> None:
    """A fault that never happens proves nothing."""
    for name in Rates.__struct_fields__:
        assert any(getattr(profile, name)[1] and name not in profile.never for profile in PROFILES.values()), name


def test_every_property_that_a_run_can_break_has_a_row_with_its_files() -> None:
    """The files are those that raise it."""
    assert {name: sorted(files.split(", ")) for name, (_, files) in CHECKS.items()} == {
        name: sorted(files) for name, files in raised().items()
    }


def test_every_invariant_is_watched_or_said_to_be_proven_elsewhere() -> None:
    """And what endangers one names one."""
    watched = {name for text, _ in CHECKS.values() for name in named(text)}
    assert set(INVARIANTS) == watched | set(ELSEWHERE)
    for name, fault in FAULTS.items():
        assert bool(named(fault.risks)) == bool(fault.risks), name


def test_the_profiles_that_the_page_names_exist() -> None:
    """Also in what is drawn besides the rates."""
    found = {name for where, _ in DRAWN for name in re.findall(r"`(\w+)`", where)}
    assert found <= set(PROFILES)


def test_the_page_is_up_to_date() -> None:
    """`python -m tests.sim.matrix` makes it."""
    assert PAGE.read_text(encoding="utf-8") == page()
    assert PAGE.is_relative_to(ROOT / "docs")
