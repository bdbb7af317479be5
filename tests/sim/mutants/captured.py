"""Bugs of a state that is captured without a copy: what was captured changes, or what goes on is another state."""

from __future__ import annotations

from tests.sim.mutants.mutation import Change, Mutant
from tests.unit.machine.dialects import DICT, TABLE

_OVERLAY = "zraft.machine.overlay:Overlay"
_OVERLAID = "tests.unit.machine.test_overlay"
_BUILT_IN = "tests.unit.machine.test_built_in"

CAPTURED = (
    Mutant(
        "captured-value",
        "a key that is captured gets its new value in place",
        (Change(f"{_OVERLAY}.__setitem__", "self._changed[key] = value", "self._below[key] = value"),),
        played=f"{_BUILT_IN}:test_a_snapshot_is_of_the_moment_it_was_captured",
        arguments=(DICT,),
    ),
    Mutant(
        "captured-key",
        "a key that is captured is removed in place",
        (Change(f"{_OVERLAY}.__delitem__", "self._gone[key] = None", "del self._below[key]"),),
        played=f"{_BUILT_IN}:test_a_snapshot_is_of_the_moment_it_was_captured",
        arguments=(TABLE,),
    ),
    Mutant(
        "captured-early",
        "what lies above is merged while the snapshot is being written",
        (Change(f"{_OVERLAY}.merge", "if self._captures:", "if len(self._captures) > 1:"),),
        played=f"{_OVERLAID}:test_what_lies_above_is_merged_in_pieces",
    ),
    Mutant(
        "captured-layers",
        "the second of two captures sees what changes after it",
        (Change(f"{_OVERLAY}.capture", "self._changed.copy()", "self._changed"),),
        played=f"{_OVERLAID}:test_a_second_capture_is_of_its_own_moment",
    ),
    Mutant(
        "captured-late",
        "what is not held any more is read to its end, and published",
        (
            Change(
                "zraft.machine.overlay:Capture.pairs",
                "yield from self._pairs()\n    self._check()",
                "yield from self._pairs()",
            ),
        ),
        played=f"{_OVERLAID}:test_what_is_held_no_longer_is_not_read_to_its_end",
    ),
    Mutant(
        "captured-name",
        "a key that was removed and stored again keeps the old of two equal keys, on this replica only",
        (Change(f"{_OVERLAY}.__setitem__", " and key not in self._gone", ""),),
        played=f"{_OVERLAID}:test_the_first_of_equal_keys_is_kept_until_it_is_removed",
    ),
)
