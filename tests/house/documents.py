"""Documents: every link and every path they name leads somewhere, and nothing names what a reader does not have."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from tests.house.source import ROOT
from tests.house.tables import FORBIDDEN_WORDS

FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
NAMED_PATH = re.compile(r"`((?:src|tests|docs|bench|\.ci)/[\w./-]+)`")


def check_links(path: str, text: str, root: Path = ROOT) -> list[str]:
    """Relative links of a Markdown file that lead to no file, or to no heading of it."""
    prose = _blank(INLINE_CODE, _blank(FENCE, text))
    found = []
    for match in LINK.finditer(prose):
        link = unquote(match[1] or match[2])
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (root / path).parent / name
        where = f"{path}:{_line(prose, match)}"
        if name and not target.exists():
            found.append(f"{where}: {link} leads nowhere")
        elif anchor and (not name or name.endswith(".md")):
            there = target.read_text(encoding="utf-8") if name else text
            if anchor not in anchors(there):
                found.append(f"{where}: {link}: no such heading")
    return found


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """The text with what matches replaced by spaces, so that line numbers stay."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def anchors(text: str) -> set[str]:
    """The anchors that a renderer makes of the headings: lower case, hyphens for spaces, -1, -2 for repetitions."""
    made: set[str] = set()
    counts: dict[str, int] = {}
    for heading in HEADING.findall(_blank(FENCE, text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        made.add(f"{slug}-{counts[slug]}" if slug in counts else slug)
        counts[slug] = counts.get(slug, 0) + 1
    return made | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def check_named_paths(path: str, text: str, root: Path = ROOT) -> list[str]:
    """Files and folders that a document names in backticks and that are not there. Records of the past may."""
    if path.startswith("docs/decisions/") or path == "CHANGELOG.md":
        return []
    return [
        f"{path}:{_line(text, match)}: {match[1]} is not there"
        for match in NAMED_PATH.finditer(text)
        if not (root / match[1]).exists()
    ]


def check_words(path: str, text: str) -> list[str]:
    """Words that no file of the project may hold."""
    return [
        f"{path}:{number}: names {word}"
        for number, line in enumerate(text.splitlines(), 1)
        for word in FORBIDDEN_WORDS
        if word in line
    ]
