"""Documents and dependencies: the rules hold in every file, and their checkers see what breaks them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house.dependencies import check_bounds, check_pins, check_reasons, declared
from tests.house.documents import anchors, check_links, check_named_paths, check_words
from tests.house.source import expect_clean, expect_nothing, read, repository_files
from tests.house.tables import FORBIDDEN_WORDS

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here


def test_every_link_leads_somewhere() -> None:
    """Relative links of all Markdown files, to files and to headings."""
    expect_clean(check_links, repository_files(".md"))


def test_every_path_that_a_document_names_is_there() -> None:
    """A document that names code is checked against the code."""
    expect_clean(check_named_paths, repository_files(".md"))


def test_no_file_names_what_a_reader_does_not_have() -> None:
    """No index hosts, no paths of one machine, no private notes."""
    expect_clean(check_words, repository_files())


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    """A missing file, a missing heading, a missing reference; what stands in code is no link."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# The `first` heading\n")
    text = (
        "[ok](a.md) [ok](a.md#the-first-heading) [ok](#own) [web](https://example.org/x)\n# Own\n"
        "[bad](b.md) [bad](a.md#second) [bad](#other)\n[ref]: c.md\n`[code](d.md)`\n```\n[code](e.md)\n```\n"
    )
    found = check_links("docs/x.md", text, tmp_path)
    assert [line.split(":")[1].strip() for line in found] == ["3", "3", "3", "4"]


def test_anchors_are_those_of_the_renderer() -> None:
    """Lower case, hyphens, no punctuation, numbers for repetitions."""
    assert anchors("# A b, c!\n## A b, c!\n### [Link](x.md) `code`\n") == {"a-b-c", "a-b-c-1", "link-code"}


def test_a_path_that_is_gone_is_seen(tmp_path: Path) -> None:
    """Only paths into the folders of the project count; a record of the past may name what is gone."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").touch()
    text = "`src/a.py` `src/b.py` `a/b`"
    assert check_named_paths("docs/x.md", text, tmp_path) == ["docs/x.md:1: src/b.py is not there"]
    assert check_named_paths("docs/decisions/0001-x.md", text, tmp_path) == []


@pytest.mark.parametrize("word", FORBIDDEN_WORDS)
def test_a_forbidden_word_is_seen(word: str) -> None:
    """In any file, on any line."""
    assert len(check_words("docs/x.md", f"fine\nsee {word}\n")) == 1


def test_every_dependency_is_bounded_explained_and_pinned() -> None:
    """What CI ran is what a user can install again, and why each library is here is on record."""
    requirements = declared(tomllib.loads(read("pyproject.toml")))
    expect_nothing(check_bounds(requirements))
    expect_nothing(check_reasons(requirements, read("docs/decisions/0001-dependencies.md")))
    expect_nothing(check_pins(requirements, read("requirements-dev.lock")))


def test_a_careless_dependency_is_seen() -> None:
    """Without an upper bound, without a reason, without a pin, outside its pin, without a hash."""
    assert len(check_bounds([Requirement("a>=1"), Requirement("b"), Requirement("c>=1,<2")])) == 2
    assert len(check_reasons([Requirement("a"), Requirement("b-c")], "| a | why |\n")) == 1
    lock = "a==2.0 \\\n    --hash=sha256:0\nb==1.0\n"
    assert len(check_pins([Requirement("a>=1,<2"), Requirement("b>=1,<2"), Requirement("c>=1,<2")], lock)) == 3
