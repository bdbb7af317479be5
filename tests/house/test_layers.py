"""Layers: the rule holds in src, and its checkers see what breaks it."""

from __future__ import annotations

import pytest

from tests.house.layers import check_layers, check_sim_inherits_nothing
from tests.house.source import expect_clean, python_files
from tests.house.tables import LAYERS, LIBRARIES, PURE_ROOMS

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here


def test_imports_go_down() -> None:
    """No room imports one above or beside it, and no library that is not its own."""
    expect_clean(check_layers, python_files("src/"))


def test_sim_replaces_ports_only() -> None:
    """The simulator runs the production objects: it subclasses none of them."""
    expect_clean(check_sim_inherits_nothing, python_files("src/"))


def test_the_table_of_layers_has_no_cycle() -> None:
    """The rooms are listed from bottom to top, and each row names only rooms above it in the list."""
    seen: set[str] = {"*"}
    for room, below in LAYERS.items():
        assert below <= seen, room
        seen.add(room)


def test_pure_rooms_stand_on_pure_rooms() -> None:
    """Purity would be worth nothing if a pure room could import one that is not."""
    for room in PURE_ROOMS:
        assert LAYERS[room] <= PURE_ROOMS, room
    assert not any(PURE_ROOMS & LIBRARIES[library] for library in ("uvloop", "click"))


@pytest.mark.parametrize(
    ("path", "source", "target"),
    [
        ("src/zraft/core/log.py", "import zraft.wire.frames", "wire"),
        ("src/zraft/core/log.py", "from zraft import wire", "wire"),
        ("src/zraft/core/log.py", "from ..wire import frames", "wire"),
        ("src/zraft/core/log.py", "from zraft import Node", "__init__"),
        ("src/zraft/core/log.py", "import zraft", "__init__"),
        ("src/zraft/core/log.py", "def late():\n    from zraft.peer.replica import Replica", "peer"),
        ("src/zraft/wire/frames.py", "from zraft.transport import listener", "transport"),
        ("src/zraft/client/session.py", "from zraft.node.routing import x", "node"),
        ("src/zraft/node/routing.py", "from zraft.client.session import x", "client"),
        ("src/zraft/node/routing.py", "from zraft.sim.world import x", "sim"),
        ("src/zraft/sim/world.py", "from zraft.transport.frames import x", "transport"),
        ("src/zraft/limits.py", "from zraft.core import log", "core"),
        ("src/zraft/table.py", "from zraft.client import x", "client"),
    ],
)
def test_an_import_that_goes_up_is_seen(path: str, source: str, target: str) -> None:
    """Absolute, relative, late or through the package: every form is seen."""
    assert [line.rpartition(" ")[2] for line in check_layers(path, source)] == [target]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("src/zraft/core/log.py", "from zraft.core.entries import Entry\nfrom . import entries"),
        ("src/zraft/core/log.py", "from zraft import limits\nfrom zraft.types import Term\nimport msgspec"),
        ("src/zraft/peer/replica.py", "from zraft.storage.journal import Journal"),
        ("src/zraft/app/cli.py", "import click, uvloop\nfrom zraft.node import Node\nimport zraft"),
        ("src/zraft/__init__.py", "from zraft.app.cli import main"),
        ("src/zraft/errors.py", "from zraft.types import PeerId"),
    ],
)
def test_an_import_that_goes_down_is_allowed(path: str, source: str) -> None:
    """The checker does not cry wolf."""
    assert check_layers(path, source) == []


def test_a_library_outside_its_rooms_is_seen() -> None:
    """A new dependency, or one in the wrong room, is a decision, not an import."""
    assert len(check_layers("src/zraft/core/log.py", "import requests\nimport click\nimport json")) == 2


def test_a_room_without_a_layer_is_seen() -> None:
    """A new room gets its row in the table first."""
    assert check_layers("src/zraft/cellar/log.py", "") != []


@pytest.mark.parametrize(
    "source",
    [
        "from zraft.core.raft import Raft\nclass FakeRaft(Raft): ...",
        "from zraft.storage import journal\nclass FakeJournal(journal.Journal): ...",
        "import zraft.session.table as t\nclass Fake(t.Sessions[int]): ...",
    ],
)
def test_a_simulated_decision_is_seen(source: str) -> None:
    """By name, by module, by alias."""
    assert len(check_sim_inherits_nothing("src/zraft/sim/fakes.py", source)) == 1
    assert check_sim_inherits_nothing("src/zraft/peer/fakes.py", source) == []


def test_sim_may_have_classes_of_its_own() -> None:
    """Its own classes, and those of rooms whose ports it plays, are free."""
    source = "from zraft.core.raft import Raft\nfrom zraft.machine.backend import Backend\nclass Toy(Backend): r: Raft"
    assert check_sim_inherits_nothing("src/zraft/sim/toy.py", source) == []
