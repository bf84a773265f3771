"""What a command comes to: its exit code, and in the form of its last line with ``--json``, what a program asks for.

``outcome.schema.json`` beside this module says what is in that line; docs/command_line.md shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """What a command comes to.

    Attributes:
        facts: What the JSON line tells of it, by name; JSON's own types.
        exit_code: The program's.
        error: Code and message, if it failed.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    error: tuple[str, str] | None = None

    def to_dict(self, command: str) -> dict[str, Any]:
        """The JSON form.

        Args:
            command: The command's name.
        """
        error = {"error": {"code": self.error[0], "message": self.error[1]}} if self.error else {}
        return {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "exit_code": self.exit_code,
            **error,
            **self.facts,
        }
