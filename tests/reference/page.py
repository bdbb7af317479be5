"""`python -m tests.reference.page`: docs/reference from what zraft exports, its docstrings and its signatures.

With `--check` nothing is written: the exit code says whether the pages are up to date.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.reference.reading import assignment, docstring, exported, members, owners, signature, thing_of
from tests.reference.topics import MADE_FOR_YOU, SETTINGS, TOPICS, Topic

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
USES = {
    "__aenter__": "async with",
    "__enter__": "with",
    "__await__": "await",
    "__aiter__": "async for",
    "__iter__": "for",
    "__contains__": "in",
    "__getitem__": "[]",
    "__len__": "len()",
}
TREE = next(topic.names for topic in TOPICS if topic.file == "errors.md")
"""Its page draws who inherits from whom."""
MARK = "<!-- made by `python -m tests.reference.page`; do not edit -->\n\n"
NEXT_PARAMETER = re.compile(r", (?=\*{0,2}\w+: |\*, |/)")
WIDTH = 100


def problems(names: Iterable[str], topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Names without a page or docstring, methods without one, and examples in docstrings, where nothing runs them."""
    shown = [name for topic in topics for name in topic.names]
    found = [f"{name}: on no page" for name in names if name not in shown]
    found += [f"{name}: on {shown.count(name)} pages" for name in sorted(set(shown)) if shown.count(name) > 1]
    for name in shown:
        said = {name: docstring(name)}
        if inspect.isclass(thing_of(name)):
            said |= {f"{name}.{member}": doc for member, (_, doc) in members(thing_of(name)).items()}
        found += [f"{one}: no docstring" for one, doc in said.items() if not doc]
        found += [f"{one}: an example in its docstring" for one, doc in said.items() if "\n    " in doc or ">>>" in doc]
    return found


def pages() -> dict[str, str]:
    """The text of each file of the folder."""
    return {"README.md": contents(), **{topic.file: page(topic) for topic in TOPICS}}


def contents() -> str:
    """The page that leads to all the others."""
    lines = [f"{MARK}# Reference\n", "Every public name, from its docstring. Each page begins with a program.\n"]
    for topic in TOPICS:
        links = (f"[`{name}`]({topic.file}#{name.replace('.', '').lower()})" for name in topic.names)
        text = textwrap.fill(", ".join(links), 118, break_long_words=False, break_on_hyphens=False)
        lines.append(f"## [{topic.title}]({topic.file})\n\n{text}\n")
    return "\n".join(lines)


def page(topic: Topic) -> str:
    """The whole text of a page."""
    parts = [f"{MARK}# {topic.title}\n\n{topic.head}"]
    if topic.file == "errors.md":
        parts.append("```\n" + "\n".join(tree(thing_of(topic.names[0]), topic.names)) + "\n```\n")
    return "\n".join([*parts, *("\n".join(_entry(name)) for name in topic.names)])


def tree(root: type, names: Iterable[str], indent: str = "") -> Iterator[str]:
    """The errors below `root`, with what `executed` is where nobody says otherwise, and what else they are."""
    notes = [f'executed "{root.default_executed}"'] if hasattr(root, "default_executed") else []
    notes += [f"also a {base.__name__}" for base in root.__bases__ if hasattr(builtins, base.__name__) and indent]
    yield f"{indent + root.__name__:<28}{', '.join(notes)}".rstrip()
    for name in names:
        if root in (kind := thing_of(name)).__bases__:
            yield from tree(kind, names, indent + "   ")


def laid_out(head: str) -> str:
    """A line for each parameter, where they are too many for one."""
    if len(head) <= WIDTH:
        return head
    start, _, rest = head.partition("(")
    inner, end, answer = rest.rpartition(")")
    return f"{start}(\n    {NEXT_PARAMETER.sub(',' + chr(10) + '    ', inner)},\n{end}{answer}"


def _entry(name: str) -> Iterator[str]:
    thing, last = thing_of(name), name.rpartition(".")[2]
    yield f"## `{name}`\n"
    if found := assignment(name):
        yield f"```\n{found[0]}\n```\n"
    elif name not in MADE_FOR_YOU and not getattr(thing, "_is_protocol", False):
        yield f"```\n{laid_out(f'{last}(*, ...)' if name in SETTINGS else signature(last, thing))}\n```\n"
    yield docstring(name) + "\n"
    if inspect.isclass(thing):
        made = {method for owner in owners(thing) for method in vars(owner)}
        if uses := [f"`{word}`" for method, word in USES.items() if method in made]:
            yield f"Used with {', '.join(uses)}.\n"
        if above := [other for other in exported() if thing_of(other) in thing.__mro__[1:] and other not in TREE]:
            yield f"Has what `{above[0]}` has.\n"
        for head, doc in members(thing_of(name)).values():
            yield f"*   `{head}`\n\n{textwrap.indent(doc, '    ')}\n"


def there() -> dict[str, str]:
    """What the folder has."""
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}


def main() -> int:
    """Write the pages, or compare. 1: they are not up to date, or a docstring is missing."""
    found = problems(exported())
    for problem in found:
        print(problem)
    if "--check" not in sys.argv[1:]:
        for file, text in pages().items():
            (FOLDER / file).write_text(text, encoding="utf-8")
    return int(bool(found) or there() != pages())


if __name__ == "__main__":
    raise SystemExit(main())
