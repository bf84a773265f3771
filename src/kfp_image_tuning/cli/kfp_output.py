"""What a reader sees of a pipeline that KFP runs on this machine: the components' own lines.

KFP frames them with lines of its own (its executor's log with the whole input in JSON, rules, task results); these are
left out, but for the start of a step, which becomes a heading.
"""

import re
from collections.abc import Iterator, Mapping

from kfp_image_tuning.steps.plain_errors import MARK, RULE

_TASK = re.compile(r"[\d:.]+ - INFO - Executing task .*?'([\w-]+)'")
_RUNNER = re.compile(r"[\d:.]+ - (INFO|WARNING|ERROR) - ")
_EXECUTOR = "[KFP Executor "
_INDENTATION = "    "


class OutputFilter:
    """Takes the lines of a local run one by one and gives those that are meant for the reader.

    Args:
        headings: What to show when a task starts, by the last word of its name; empty: nothing.

    Attributes:
        error: What the component that failed said last, line by line, out of its frame; empty if it said nothing.
        code: That error's code.
    """

    def __init__(self, headings: Mapping[str, str]) -> None:
        self._headings = headings
        self._in_input = False
        self._in_results = False
        self._in_frame = False
        self._after_rule = False
        self.error: list[str] = []
        self.code = ""

    def lines(self, line: str) -> Iterator[str]:
        """The lines to show for one line of the run."""
        line = line.rstrip("\n")
        if task := _TASK.match(line):
            self._in_results = False
            if heading := self._headings.get(task[1].rpartition("-")[2], task[1]):
                yield heading
            return
        if _RUNNER.match(line):
            # What a finished task has put out follows in lines of its own, up to the next task.
            self._in_results = "Streamed logs" not in line
            return
        text = line.removeprefix(_INDENTATION)
        if self._in_input:
            self._in_input = text != "}"
        elif text.startswith(_EXECUTOR):
            self._in_input = text.endswith("Got executor_input:")
        elif self._in_frame:
            self._in_frame = text != RULE
            self.error += [text] if self._in_frame and text.strip() else []
        elif self._after_rule and text.startswith(MARK):
            self._in_frame, self._after_rule, self.error = True, False, []
            self.code = text.removeprefix(MARK).strip()
        elif self._in_results and text != RULE:
            self._after_rule = False
        else:
            # A rule is the upper side of a frame only if the mark follows.
            held = [RULE] if self._after_rule else []
            self._after_rule = text == RULE
            if not self._after_rule and text.strip():
                held.append(text)
            yield from held
