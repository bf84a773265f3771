"""YAML for people and for every reader: text of several lines as it is, nothing by reference, keys sorted.

Readers differ in what they take for text. PyYAML knows YAML 1.1, kubectl and KFP's backend are written in Go, others
know YAML 1.2: ``1e-06`` is text to the first and a number to the others, ``on`` the other way round. So everything that
any of them takes for something else is written in quotes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_FLOAT = "tag:yaml.org,2002:float"
_YAML_1_2_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+")

_MAYBE_NO_TEXT = re.compile(
    # Numbers in all bases and forms, dates, times; Go drops underscores before it looks.
    r"[-+]?([._]*\d.*|[._]+(e[-+]?\d+)?|[._]*(inf|nan)_*)|"
    r"[._-]*(true|false|yes|no|on|off|y|n|t|f|null|~|<<|=)_*",
    re.IGNORECASE,
)
_TO_ESCAPE = re.compile(r"[^\n -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
"""Control characters, and line breaks that YAML 1.1 knows and YAML 1.2 does not."""


class YamlLoader(yaml.SafeLoader):
    """PyYAML's safe reader, to which ``1e-6`` is a number, as it is to everybody else.

    It refuses what holds itself, which YAML can say and nothing of ours can walk through.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ARG002
        """What a node stands for, with all that is in it: only so does PyYAML notice a circle."""
        return super().construct_object(node, deep=True)


YamlLoader.add_implicit_resolver(_FLOAT, re.compile(rf"(?:{_YAML_1_2_FLOAT.pattern})$"), list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style_of(text))


def _style_of(text: str) -> str | None:
    """How a text is written; None: without quotes, unless PyYAML needs some."""
    if _TO_ESCAPE.search(text):
        return '"'
    if "\n" in text:
        return "|"
    return "'" if _MAYBE_NO_TEXT.fullmatch(text) else None


_Dumper.add_representer(str, _represent_text)


def dump_documents(documents: Sequence[Mapping[str, Any]]) -> str:
    """The documents as one YAML file; the same documents give the same text."""
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)
    return text
