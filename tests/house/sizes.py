"""Sizes: a file is read in one sitting, a function seen on one screen. Docstrings, comments and blanks are free."""

from __future__ import annotations

import ast
import io
import tokenize

from tests.house.source import Function, functions, parse
from tests.house.tables import FILE_LINES, FUNCTION_LINES, HOT_LOOP_LINES, HOT_LOOPS

NOT_CODE = frozenset(
    {
        tokenize.COMMENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
        tokenize.INDENT,
        tokenize.NEWLINE,
        tokenize.NL,
    }
)


def check_file_size(path: str, source: str) -> list[str]:
    """A file above the limit, every line counted."""
    lines = len(source.splitlines())
    return [f"{path}:1: {lines} lines, {FILE_LINES} at most: one main idea per file"] if lines > FILE_LINES else []


def check_function_sizes(path: str, source: str) -> list[str]:
    """Functions with more lines of code than they may have."""
    found = []
    for name, lines, line in function_sizes(source):
        limit = HOT_LOOP_LINES if f"{path}::{name}" in HOT_LOOPS else FUNCTION_LINES
        if lines > limit:
            found.append(f"{path}:{line}: {name} has {lines} lines of code, {limit} at most")
    return found


def function_sizes(source: str) -> list[tuple[str, int, int]]:
    """(dotted name, lines of code, first line) of every function; an inner function counts for the outer one too."""
    code = _lines_of_code(source)
    return [
        (name, sum(line in code for line in range(node.lineno, (node.end_lineno or 0) + 1)), node.lineno)
        for name, node in functions(source)
    ]


def _lines_of_code(source: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parse(source)):
        if isinstance(node, Function | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines
