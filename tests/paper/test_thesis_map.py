"""docs/thesis-map.md names what is there: every code place, every test, and every rule of the core has both."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([\d.]+) \| (.+) \| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
CHAPTERS = frozenset(
    "3.3 3.4 3.5 3.6.1 3.6.2 3.7 3.8 3.9 3.10 4.1 4.2.1 4.2.2 4.2.3 4.3 5.1 6.1 6.2 6.4 9.6 10.2.1 10.2.2".split()
)


def rows() -> list[tuple[str, ...]]:
    """(section, rule, code, test) of the map."""
    return ROW.findall((ROOT / "docs/thesis-map.md").read_text(encoding="utf-8"))


def defined(path: Path) -> set[str]:
    """Functions, classes and methods of a module, as `name` and `Class.name`."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return names


def missing(places: list[str], folder: Path) -> list[str]:
    """Those of `file::name` that are not there."""
    return [
        place
        for place in places
        if not (folder / place.partition("::")[0]).is_file()
        or place.partition("::")[2] not in defined(folder / place.partition("::")[0])
    ]


def test_every_code_place_of_the_map_exists() -> None:
    """A map that leads nowhere is worse than none."""
    assert missing([code for _, _, code, _ in rows()], ROOT / "src/zraft") == []


def test_every_test_of_the_map_exists() -> None:
    """Each rule is claimed by a test that can fail."""
    assert missing([test for _, _, _, test in rows()], ROOT / "tests/paper") == []


def test_every_chapter_has_its_rules() -> None:
    """No section of the thesis that the core implements is left out, and none is listed twice with one rule."""
    found = rows()
    assert {section for section, _, _, _ in found} >= CHAPTERS
    assert len({(section, rule) for section, rule, _, _ in found}) == len(found)


def test_a_place_that_is_not_there_is_seen() -> None:
    """The checker itself."""
    places = ["test_thesis_map.py::missing", "test_thesis_map.py::nothing", "nowhere.py::missing"]
    assert missing(places, ROOT / "tests/paper") == places[1:]
