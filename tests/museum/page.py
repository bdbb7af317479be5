"""`python -m tests.museum.page`: docs/museum.md from the exhibits, the tests named after them, and the mutants.

With `--check` nothing is written: the exit code says whether the page is up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.museum.exhibits import HALLS, Exhibit

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "museum.md"
_TEST = re.compile(r"^ *(?:async )?def (test_bm_(\d{3})_\w+)", re.MULTILINE)
_REFERENCE = re.compile(r"^([\w.-]+)/([\w.-]+)#(\d+)$")
_JIRA = re.compile(r"^(ZOOKEEPER|CURATOR)-\d+$")
_CVE = re.compile(r"^CVE-\d+-\d+$")

_HEAD = """\
<!-- made by `python -m tests.museum.page`; do not edit -->

# The museum

Bugs that other consensus systems had, and what keeps them from being repeated here: a test that plays the same story,
and, where the number has a star, a *mutant*: a change that puts the bug back, which the simulator (or, where it cannot
see such a thing, the test) must notice. `make mutants` puts every one of them back. Nobody is blamed here: these are
the projects that wrote down what went wrong, and this one learns from them.
"""


def played_by() -> dict[str, list[tuple[str, str]]]:
    """(file, test) of every test whose name begins with the number of an exhibit."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, number in _TEST.findall(path.read_text(encoding="utf-8")):
            found.setdefault(f"BM-{number}", []).append((path.relative_to(ROOT).as_posix(), name))
    return found


def problems(tests: dict[str, list[tuple[str, str]]], mutants: Iterable[str]) -> list[str]:
    """Exhibits without a test or a reason, starred ones without a mutant, tests of exhibits that are not there."""
    exhibits = {exhibit.id: exhibit for hall in HALLS for exhibit in hall.exhibits}
    put_back = {name.partition(" ")[0] for name in mutants}
    found = [f"{name}: no test, no reason" for name, e in exhibits.items() if name not in tests and not e.unplayed]
    found += [
        f"{name}: no mutant puts it back"
        for name, e in exhibits.items()
        if e.starred and not (name in put_back or e.unplayed)
    ]
    found += [f"{name}: tests, and no exhibit" for name in tests if name not in exhibits]
    return found


def page(tests: dict[str, list[tuple[str, str]]], mutants: dict[str, str]) -> str:
    """The whole text. `mutants`: what was changed, by names that begin with the exhibit's number."""
    lines = [_HEAD]
    for hall in HALLS:
        lines += [f"## {hall.title}", ""]
        for exhibit in hall.exhibits:
            put_back = [what for name, what in mutants.items() if name.partition(" ")[0] == exhibit.id]
            lines += [*_entry(exhibit, tests.get(exhibit.id, []), put_back), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(exhibit: Exhibit, tests: list[tuple[str, str]], mutants: Iterable[str]) -> Iterator[str]:
    seen = ", ".join(_linked(name) for name in exhibit.seen.split(", "))
    star = r"\*" if exhibit.starred else ""
    yield f"**{exhibit.id}{star}** {exhibit.what} *Seen in:* {seen}."
    yield ""
    for path, name in tests:
        yield f"*   `{name}` in `{path}`"
    if not tests:
        yield f"*   Not played: {exhibit.unplayed}"
    for what in mutants:
        yield f"*   Put back: {what}."


def _linked(name: str) -> str:
    if match := _REFERENCE.match(name):
        owner, repository, number = match.groups()
        return f"[{repository} {number}](https://github.com/{owner}/{repository}/issues/{number})"
    if _JIRA.match(name):
        return f"[{name}](https://issues.apache.org/jira/browse/{name})"
    if _CVE.match(name):
        return f"[{name}](https://nvd.nist.gov/vuln/detail/{name})"
    return name


def main() -> int:
    """Write the page, or compare. 1: it is not up to date, or an exhibit lacks something."""
    from tests.sim.mutants.mutants import ALL_MUTANTS  # noqa: PLC0415 - imports the product

    mutants = {mutant.name: mutant.what for mutant in ALL_MUTANTS}
    tests = played_by()
    for problem in problems(tests, mutants):
        print(problem)
    text = page(tests, mutants)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    return int(bool(problems(tests, mutants)) or PAGE.read_text(encoding="utf-8") != text)


if __name__ == "__main__":
    raise SystemExit(main())
