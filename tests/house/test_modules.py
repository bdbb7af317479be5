"""Modules, tests, suites and coverage: the rules hold, and their checkers see what breaks them."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.house.coverage_floor import check_floors, room_percentages
from tests.house.manners import check_no_sleep, check_tests_claim
from tests.house.modules import check_docstring, check_exports, check_packages, check_room_name
from tests.house.source import expect_clean, expect_nothing, python_files
from tests.house.suites import check_every_suite_ran

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here


def test_every_module_says_what_it_is_for() -> None:
    """A module's first line says what the room is for."""
    expect_clean(check_docstring, python_files("src/", "tests/"))


def test_every_room_has_a_noun() -> None:
    """No room for what has no place, in src or in tests."""
    expect_clean(check_room_name, python_files("src/", "tests/"))


def test_every_room_is_a_package() -> None:
    """Tools and wheels see only packages."""
    expect_nothing(check_packages(python_files("src/")))


def test_every_exported_name_exists_and_is_documented() -> None:
    """What `zraft.__all__` promises is there, with a docstring."""
    expect_nothing(check_exports(importlib.import_module("zraft")))


def test_every_test_claims_something() -> None:
    """Each test can fail, and says in one sentence what it claims."""
    expect_clean(check_tests_claim, python_files("tests/"))


def test_no_test_waits_for_real_time() -> None:
    """Only tests/stack has a real clock."""
    expect_clean(check_no_sleep, python_files("tests/"))


@pytest.mark.parametrize("source", ["", "x = 1", '""', '"  "'])
def test_a_module_without_a_docstring_is_seen(source: str) -> None:
    """An empty one is none."""
    assert len(check_docstring("src/zraft/core/log.py", source)) == 1


@pytest.mark.parametrize("path", ["core/utils.py", "helpers/log.py", "node/peer_manager.py", "core/_base.py"])
def test_a_room_without_a_noun_is_seen(path: str) -> None:
    """As a file, as a folder, as a part of a name."""
    assert len(check_room_name(f"src/zraft/{path}", "")) == 1
    assert check_room_name("src/zraft/core/database.py", "") == []


def test_a_folder_that_is_no_package_is_seen() -> None:
    """A forgotten `__init__.py` hides a room from the wheel's users."""
    assert check_packages(["src/zraft/__init__.py", "src/zraft/core/log.py"]) == ["src/zraft/core: no __init__.py"]


def test_a_broken_export_is_seen() -> None:
    """Missing, twice, or without a docstring of its own; a constant needs none."""
    module = ModuleType("toy")
    module.__dict__.update(Good=type("Good", (), {"__doc__": "Says."}), Bare=type("Bare", (), {}), VERSION="1")
    module.__dict__["__all__"] = ["Good", "Good", "Bare", "Gone", "VERSION"]
    assert [line.split(":")[0] for line in check_exports(module)] == ["Good", "Bare", "Gone"]


@pytest.mark.parametrize(
    ("body", "complaints"),
    [
        ("assert 1", 0),
        ("with pytest.raises(ValueError): f()", 0),
        ("check_safety(1)", 0),
        ("world.expect_leader(1)", 0),
        ("run()", 1),
        ("pass", 1),
    ],
)
def test_a_test_that_cannot_fail_is_seen(body: str, complaints: int) -> None:
    """It asserts, expects an error, or calls something whose name begins with check_ or expect_."""
    assert len(check_tests_claim("tests/unit/test_x.py", f'def test_x():\n    """Says."""\n    {body}\n')) == complaints


def test_a_test_without_a_sentence_is_seen() -> None:
    """In a class too; a function inside a test is none."""
    source = 'class TestA:\n    def test_x(self):\n        assert 1\n\ndef test_y():\n    """S."""\n    assert 1\n'
    assert len(check_tests_claim("tests/unit/test_x.py", source)) == 1
    inner = 'def test_y():\n    """Says."""\n    def test_inner(): ...\n    assert 1\n'
    assert check_tests_claim("tests/unit/test_x.py", inner) == []


@pytest.mark.parametrize(
    "source", ["time.sleep(1)", "await asyncio.sleep(0.1)", "from time import sleep\nsleep(1)", "asyncio.sleep(x)"]
)
def test_a_sleeping_test_is_seen(source: str) -> None:
    """In any form; tests/stack may."""
    assert len(check_no_sleep("tests/unit/test_x.py", source)) == 1
    assert check_no_sleep("tests/stack/test_x.py", source) == []


def test_yielding_and_simulated_sleep_are_allowed() -> None:
    """`asyncio.sleep(0)` waits for nothing, and a simulated clock has a sleep of its own."""
    assert check_no_sleep("tests/unit/test_x.py", "await asyncio.sleep(0)\nworld.sleep(5)\n") == []


def test_a_suite_that_ran_nothing_is_seen() -> None:
    """However many tests another folder ran."""
    ran = ["tests/unit/test_x.py::test_y", "tests/units/test_x.py::test_y"]
    assert check_every_suite_ran(["tests/unit", "tests/unit/"], ran) == []
    assert len(check_every_suite_ran(["tests/unit", "tests/paper"], ran)) == 1


def test_a_room_below_its_floor_is_seen() -> None:
    """Lines and branches count together, over all files of a room; pure rooms have the higher floor."""

    def file(covered: int) -> dict[str, dict[str, int]]:
        counts = {"covered_lines": covered, "num_statements": 100, "covered_branches": 50, "num_branches": 50}
        return {"summary": counts}

    report = {
        "files": {
            "src/zraft/core/log.py": file(85),
            "src/zraft/core/raft.py": file(100),
            "src/zraft/node/loop.py": file(80),
            "src/zraft/wire/frames.py": file(91),
            "src/zraft/app/cli.py": file(70),
            "src/zraft/types.py": file(70),
            "src/zraft/errors.py": file(80),
        }
    }
    assert room_percentages(report)["core"] == 95.0
    assert [line.split(":")[0] for line in check_floors(report)] == ["app", "wire", "zraft"]
