"""What the documents show is run: each program as it stands, and the tests of each document by pytest.

The first line of a snippet is the name of its file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = ["docs/clients.md", "docs/testing.md"]
SNIPPET = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```python$", re.MULTILINE)


def snippets(document: str) -> dict[str, str]:
    """The files that a document shows."""
    return dict(SNIPPET.findall((ROOT / document).read_text(encoding="utf-8")))


def programs() -> list[tuple[str, str]]:
    return [
        (document, name)
        for document in DOCUMENTS
        for name in snippets(document)
        if not name.startswith(("test_", "conftest"))
    ]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with warnings as errors, bounded."""
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("ZRAFT_", "PYTEST_"))},
        capture_output=True,
        text=True,
        timeout=50,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_snippet_names_its_file(document: str) -> None:
    """So that none is left out."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert len(FENCE.findall(text)) == len(snippets(document)) > 0


@pytest.mark.parametrize(("document", "name"), programs())
def test_a_program_of_a_document_runs(document: str, name: str, tmp_path: Path) -> None:
    """To its end, without a word on stderr."""
    (tmp_path / name).write_text(snippets(document)[name], encoding="utf-8")
    done = run(tmp_path, name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    "document", [one for one in DOCUMENTS if any(name.startswith("test_") for name in snippets(one))]
)
def test_the_tests_of_a_document_pass(document: str, tmp_path: Path) -> None:
    """With its conftest.py beside them, as a user would have them."""
    files = {name: text for name, text in snippets(document).items() if name.startswith(("test_", "conftest"))}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(text.count("\ndef test_") for text in files.values())
    assert f"{count} passed" in done.stdout
