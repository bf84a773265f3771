"""What training jobs write: their epochs while they run, and their last words when they fail.

The algorithm's lines ("Epoch[3] Validation-accuracy=0.93") are read from CloudWatch Logs. A pod that may not read logs
goes without: the trials' objectives come from SageMaker itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kfp_image_tuning.engines.epoch_log import EpochLog
from kfp_image_tuning.engines.sagemaker.aws.calls import Caller, PermanentError, TransientError
from kfp_image_tuning.search.result import Epoch

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
LAST_LINES = 5
_PREFIX = re.compile(r"^\[[^\]]*\]\s*")
_LONGEST_LINE = 200


@dataclass
class _Log:
    """What was read of one training job's log."""

    streams: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    epochs: EpochLog = field(default_factory=EpochLog)
    lines: list[str] = field(default_factory=list)


class TrainingLogs:
    """Reads the logs of a tuning job's training jobs, each line once.

    Args:
        caller: Makes the calls.

    Attributes:
        denied: Why logs cannot be read; empty if they can.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._logs: dict[str, _Log] = {}
        self.denied = ""

    def read_on(self, job_name: str, *, to_the_end: bool = False) -> None:
        """Read what a training job has written since the last time.

        Args:
            job_name: Of the training job.
            to_the_end: It has ended: read all that is left. Otherwise a single call must do, since other training jobs
                and other searches share the account's few calls per second.

        Raises:
            TransientError: If it cannot be read now.
        """
        if self.denied:
            return
        log = self._logs.setdefault(job_name, _Log())
        try:
            if to_the_end or not log.streams:
                log.streams = self._streams(job_name)
            for stream in log.streams:
                while self._read_page(log, stream) and to_the_end:
                    pass
        except PermanentError as error:
            # There is no log before the first line.
            if error.code != "ResourceNotFoundException":
                self.denied = str(error)
        except TransientError as error:
            if error.kind != "denied":
                raise
            self.denied = str(error)

    def history(self, job_name: str) -> tuple[Epoch, ...]:
        """The epochs that ended, in order, as far as they were read."""
        return self._logs.get(job_name, _Log()).epochs.history

    def last_lines(self, job_name: str) -> Sequence[str]:
        """The last lines that were read."""
        return self._logs.get(job_name, _Log()).lines

    def _streams(self, job_name: str) -> list[str]:
        """The streams of the first machine, which writes the epochs; a restarted one has several."""
        answer = self._caller.logs(
            "describe_log_streams", logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job_name}/algo-1-"
        )
        return sorted(stream["logStreamName"] for stream in answer["logStreams"])

    def _read_page(self, log: _Log, stream: str) -> bool:
        """Read a page of a stream; whether there may be more."""
        query: dict[str, Any] = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
        token = log.tokens.get(stream)
        if token:
            query["nextToken"] = token
        answer = self._caller.logs("get_log_events", **query)
        for event in answer["events"]:
            self._take_line(log, event["message"])
        log.tokens[stream] = answer["nextForwardToken"]
        # The same token again means that there is nothing more.
        return bool(answer["nextForwardToken"] != token)

    @staticmethod
    def _take_line(log: _Log, line: str) -> None:
        log.epochs.read(line)
        text = _PREFIX.sub("", line.strip())[:_LONGEST_LINE]
        if text:
            log.lines = [*log.lines, text][-LAST_LINES:]
