"""The coverage floors: `python -m tests.house.coverage_floor build/coverage.json` fails where a room is below its own.

Lines and branches of a room count together, over all its files and from all suites: a floor for the room, not for
each file, so that nobody writes empty mirror tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.house.source import SRC, room_of
from tests.house.tables import COVERAGE_ELSEWHERE, COVERAGE_FLOORS


def room_percentages(report: dict[str, Any]) -> dict[str, float]:
    """Room -> percent of its lines and branches that ran, from the JSON report of coverage."""
    covered: dict[str, int] = {}
    total: dict[str, int] = {}
    for path, file in report["files"].items():
        room, summary = _room(Path(path).as_posix()), file["summary"]
        covered[room] = covered.get(room, 0) + summary["covered_lines"] + summary["covered_branches"]
        total[room] = total.get(room, 0) + summary["num_statements"] + summary["num_branches"]
    return {room: 100.0 * covered[room] / total[room] if total[room] else 100.0 for room in total}


def _room(path: str) -> str:
    """The single modules beside the rooms count as one room."""
    return "zraft" if path == f"{SRC}{room_of(path)}.py" else room_of(path)


def check_floors(report: dict[str, Any]) -> list[str]:
    """Rooms below their floor."""
    return [
        f"{room}: {percent:.1f} % covered, at least {_floor(room):.0f} % wanted"
        for room, percent in sorted(room_percentages(report).items())
        if percent < _floor(room)
    ]


def _floor(room: str) -> float:
    return COVERAGE_FLOORS.get(room, COVERAGE_ELSEWHERE)


def main(path: str) -> int:
    """Prints every room with its floor; 1 where one is missed."""
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    for room, percent in sorted(room_percentages(report).items()):
        print(f"  {room:<12} {percent:5.1f} %  (floor {_floor(room):.0f} %)")
    missed = check_floors(report)
    print("\n".join(missed) if missed else "every room is above its floor")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
