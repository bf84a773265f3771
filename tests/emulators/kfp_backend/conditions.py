"""Conditions of ``dsl.If`` in the part of CEL that KFP's compiler writes. From reading compiled pipelines.

Values are compared as the backend does: a whole number is the same as a float, and text is never a number unless the
expression casts it.
"""

import ast
import re
from collections.abc import Mapping
from typing import Any

INPUT = re.compile(r"inputs\.parameter_values\[(['\"])(.+?)\1\]")
TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
OPERATORS = ((r"&&", " and "), (r"\|\|", " or "), (r"!(?!=)", " not "))
CONSTANTS = {"true": True, "false": False, "null": None}
CASTS: dict[str, Any] = {"int": int, "double": float, "string": str, "bool": bool}
COMPARISONS: dict[type, Any] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class ConditionFailed(Exception):  # noqa: N818  # the driver ends with it
    """A condition that the driver cannot evaluate; its step fails."""


def holds(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Raises:
        ConditionFailed: If it has no value.
    """
    names: dict[str, Any] = dict(CONSTANTS)

    def named(match: "re.Match[str]") -> str:
        if match[2] not in parameters:
            raise ConditionFailed(f"no such key: {match[2]}")
        names[f"v{len(names)}"] = parameters[match[2]]
        return f"v{len(names) - 1}"

    def kept(match: "re.Match[str]") -> str:
        names[f"v{len(names)}"] = ast.literal_eval(match[0])
        return f"v{len(names) - 1}"

    text = TEXT.sub(kept, INPUT.sub(named, condition))
    for pattern, replacement in OPERATORS:
        text = re.sub(pattern, replacement, text)
    return bool(_value(ast.parse(text.strip(), mode="eval").body, names))


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, names)
        return not value if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.BoolOp):
        joined = all if isinstance(node.op, ast.And) else any
        return joined(_value(part, names) for part in node.values)
    if isinstance(node, ast.Compare):
        left, right = _value(node.left, names), _value(node.comparators[0], names)
        try:
            return COMPARISONS[type(node.ops[0])](left, right)
        except TypeError as error:
            raise ConditionFailed(f"no such overload: {error}") from None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return CASTS[node.func.id](_value(node.args[0], names))
    raise ConditionFailed(f"unknown expression: {ast.dump(node)}")
