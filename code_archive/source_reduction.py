"""Source code without docstrings and comments, for the archive that a pod unpacks and nobody reads.

They are a third of the archive, which has to fit into one command-line argument. Every line stays in its place, so that
a traceback from a pod names the lines of the repository.
"""

import ast
import io
import tokenize

_EMPTY = '""'


def reduce_source(source: str) -> str:
    """The same program with empty docstrings and no comments.

    Args:
        source: A Python module that does not use its ``__doc__``.
    """
    lines = source.split("\n")
    for node in _string_statements(ast.parse(source)):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        # Columns count bytes of UTF-8.
        before = lines[first].encode()[: node.col_offset].decode()
        after = lines[last].encode()[node.end_col_offset :].decode()
        lines[first : last + 1] = [before + _EMPTY + after] + [""] * (last - first)
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join(lines)


def _string_statements(tree: ast.Module) -> list[ast.Expr]:
    """Statements that are a string and nothing else: docstrings of modules, classes, functions and attributes."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
