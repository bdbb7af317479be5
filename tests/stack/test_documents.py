"""What the documents show is run: each program as it stands, the tests of each document by pytest, each command.

The first line of a Python snippet is the name of its file. In a console block a line after "$ " is a command, and the
others are what it prints: "…" stands for anything, and the width of columns does not count. Everything of one document
happens in one folder, with `zraft dev` running there where the document runs it. Ports are replaced by free ones.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stack.clusters import plain_environment
from zraft.app.devfile import NAME
from zraft.app.processes import PortLease
from zraft.config import Config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md"))]]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.py)\n")
PORTS = {"71": 4, "72": 3}
"""Ports of the documents that are replaced: 7101 and its like; how many of each."""
BACKGROUND = "zraft dev"
TRANSFERS = 5
"""So often is leadership handed over anew: on a busy machine nobody may take it in time, and the command says so."""
INSTEAD = {
    "make demo": f"make -n -C {shlex.quote(str(ROOT))} demo",  # run by test_demo
    "make chaos MINUTES=20": f"make -n -C {shlex.quote(str(ROOT))} chaos",
    "make test": f"make -n -C {shlex.quote(str(ROOT))} test",  # it would run this test
    "pip install '.[server]'": f"{shlex.quote(sys.executable)} -m pip install -q --dry-run --no-deps --no-index "
    f"--no-build-isolation {shlex.quote(f'{ROOT}[server]')}",
}
"""Commands that are too much for a test, and what is run in their place."""


def user_environment() -> dict[str, str]:
    """The commands of this environment are found by their names."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**plain_environment("PYTEST_"), "PATH": path}


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The name in the first line of a Python snippet."""
        match = FILE.match(self.text)
        return match[1] if match else ""

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Each command with what it prints."""
        assert self.text.startswith("$ "), self.text
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def blocks(document: str, language: str | None = None) -> list[Block]:
    """Those of a document, of one language or all."""
    found = [Block(*groups) for groups in BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))]
    return [block for block in found if language in (None, block.language)]


def snippets(document: str) -> dict[str, str]:
    """The files that a document shows."""
    return {block.file: block.text for block in blocks(document, "python")}


def is_of_pytest(name: str) -> bool:
    return name.startswith(("test_", "conftest"))


def with_console() -> list[str]:
    return [document for document in DOCUMENTS if blocks(document, "console")]


def programs() -> list[tuple[str, str]]:
    return [(document, name) for document in DOCUMENTS for name in snippets(document) if not is_of_pytest(name)]


def with_tests() -> list[str]:
    return [document for document in DOCUMENTS if any(is_of_pytest(name) for name in snippets(document))]


class Place:
    """A folder in which a document's commands and programs are run, with ports that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = {prefix: PortLease.in_a_row(count) for prefix, count in PORTS.items()}
        self._dev: subprocess.Popen[bytes] | None = None
        self._jobs: list[subprocess.Popen[bytes]] = []
        """Commands that end with "&"; the shell calls the first one %1."""

    def with_ports(self, text: str) -> str:
        """The text with the ports of this place."""
        for prefix, row in self._rows.items():
            for number, lease in enumerate(row, 1):
                text = re.sub(rf"\b{prefix}0{number}\b", str(lease.port), text)
        return text

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=user_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python with warnings as errors."""
        return self.run(sys.executable, "-W", "error", *words)

    def command(self, command: str) -> str:
        """What a command prints; it must succeed without a word on stderr. `zraft dev` goes on."""
        if command.split()[:2] == BACKGROUND.split():
            return self._start_dev(command)
        if command.endswith(" &"):
            return self._start_job(command.removesuffix(" &"))
        if command.startswith("kill %"):
            return self._end_job(self._jobs[int(command.removeprefix("kill %")) - 1])
        done = self.run("sh", "-c", INSTEAD.get(command, self.with_ports(command)))
        for _ in range(TRANSFERS - 1):
            if done.returncode and command.startswith("zraft transfer"):
                done = self.run("sh", "-c", self.with_ports(command))
        assert (done.returncode, done.stderr) == (0, ""), command
        return "" if command in INSTEAD else done.stdout

    def _start_dev(self, command: str) -> str:
        words = [*command.split(), "--base-port", str(self._rows["71"][0].port)]
        printed = self.folder / "dev.txt"
        with printed.open("wb") as out:
            self._dev = subprocess.Popen(
                words, cwd=self.folder, env=user_environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 60
        while "Ctrl-C" not in printed.read_text():
            assert self._dev.poll() is None, printed.read_text()
            assert time.monotonic() < deadline, printed.read_text()
            time.sleep(0.05)
        return printed.read_text()

    def _start_job(self, command: str) -> str:
        """What the command says first; it goes on."""
        log = (self.folder / "jobs.txt").open("ab")
        with log:
            job = subprocess.Popen(
                self.with_ports(command).split(),
                cwd=self.folder,
                env=user_environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._jobs.append(job)
        assert job.stdout is not None
        return job.stdout.readline().decode()

    def _end_job(self, job: subprocess.Popen[bytes]) -> str:
        job.terminate()
        assert job.wait(20) == 0, (self.folder / "jobs.txt").read_text()
        if job.stdout is not None:
            job.stdout.close()
        return ""

    def close(self) -> None:
        """Nothing runs here any more; `zraft dev` ends well by Ctrl-C."""
        try:
            for job in self._jobs:
                if job.poll() is None:
                    self._end_job(job)
            if self._dev is not None:
                self._dev.send_signal(signal.SIGINT)
                assert self._dev.wait(20) == 0, (self.folder / "dev.txt").read_text()
                assert not (self.folder / NAME).exists()
        finally:
            for lease in (lease for row in self._rows.values() for lease in row):
                lease.release()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def expect_printed(shown: str, printed: str) -> None:
    """What was printed is what the document shows."""
    pattern = r"\s+".join(".*".join(map(re.escape, word.split("…"))) for word in shown.split())
    assert re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL), f"shown:\n{shown}\nprinted:\n{printed}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document)])
def test_no_snippet_is_left_out(document: str) -> None:
    """Every block is a drawing, settings, a program or test with its file's name, or commands."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(blocks(document))
    for block in blocks(document):
        assert block.language in ("", "python", "console", "toml")
        assert block.language != "python" or block.file, block.text
        assert block.language != "console" or block.commands
    assert len(snippets(document)) == len(blocks(document, "python"))


def test_every_command_that_is_not_run_is_still_shown() -> None:
    """The list of exceptions describes the documents that are there."""
    shown = {
        command for document in with_console() for block in blocks(document, "console") for command, _ in block.commands
    }
    assert set(INSTEAD) <= shown


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document, "toml")])
def test_the_settings_of_a_document_are_settings(document: str, tmp_path: Path) -> None:
    """Each block is a file that a node takes."""
    for block in blocks(document, "toml"):
        path = tmp_path / "zraft.toml"
        path.write_text(block.text, encoding="utf-8")
        assert Config.load(path, environment={}) != Config.load(None, environment={}), block.text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", with_console())
def test_the_commands_of_a_document_do_what_it_shows(document: str, place: Place) -> None:
    """One after the other; its programs run while `zraft dev` does."""
    for block in blocks(document, "console"):
        for command, shown in block.commands:
            expect_printed(place.with_ports(shown), place.command(command)) if shown else place.command(command)
    for name in snippets(document):
        if not is_of_pytest(name):
            expect_runs(place, document, name)


@pytest.mark.parametrize(("document", "name"), [one for one in programs() if one[0] not in with_console()])
def test_a_program_of_a_document_runs(document: str, name: str, place: Place) -> None:
    """To its end, without a word on stderr."""
    expect_runs(place, document, name)


def expect_runs(place: Place, document: str, name: str) -> None:
    (place.folder / name).write_text(place.with_ports(snippets(document)[name]), encoding="utf-8")
    done = place.python(name)
    assert (done.returncode, done.stderr) == (0, ""), f"{document}: {name}"
    assert done.stdout.strip()


@pytest.mark.parametrize("document", with_tests())
def test_the_tests_of_a_document_pass(document: str, place: Place) -> None:
    """With its conftest.py beside them, as a user would have them."""
    files = {name: text for name, text in snippets(document).items() if is_of_pytest(name)}
    for name, text in files.items():
        (place.folder / name).write_text(text, encoding="utf-8")
    plugins = ["-p", "zraft.testing.plugin", "-p", "no:cacheprovider", "-p", "no:xdist"]  # the first as if installed
    done = place.python("-m", "pytest", "-q", *plugins, str(place.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(text.count("\ndef test_") for text in files.values())
    assert f"{count} passed" in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_is_there(document: str) -> None:
    """So that no document sends a stranger to a target that has gone."""
    text, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in (document, "Makefile"))
    code = "\n".join([*re.findall(r"`([^`\n]+)`", text), *(block.text for block in blocks(document))])
    for target in re.findall(r"(?:^|\$ )make ([a-z]+)", code, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
