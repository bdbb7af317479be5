"""Every conversation beside this file goes as its text says. `pytest tests/golden --rewrite` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.conversation import replay

FOLDER = Path(__file__).parent
CONVERSATIONS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_conversation_goes_as_written(path: Path, rewrite: bool) -> None:
    """The trace that a person reads is the trace that the replicas make."""
    text = path.read_text(encoding="utf-8")
    replayed = replay(text)
    if rewrite:
        path.write_text(replayed, encoding="utf-8")
    else:
        assert replayed == text


def test_every_conversation_says_what_it_shows() -> None:
    """A golden without a title would only be noise."""
    untitled = [path.name for path in CONVERSATIONS if not path.read_text(encoding="utf-8").startswith("# ")]
    assert untitled == []
    assert len(CONVERSATIONS) >= 30
