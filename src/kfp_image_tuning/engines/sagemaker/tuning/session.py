"""A session of one tuning job: launched or attached to, followed to its end, and its result.

SageMaker chooses and runs the trials; this process only looks on. It may die at any moment: the tuning job's name is
made from the run, so the next process finds it, and a tag holds the hash of the request, so that nobody else's job is
taken for ours. Should nobody come back, the tuning job ends by its own time limit.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.protocol import Attached, Event, Plan
from kfp_image_tuning.engines.sagemaker.aws.calls import (
    Answer,
    Backoff,
    Caller,
    PermanentError,
    TransientError,
    TransientKind,
)
from kfp_image_tuning.engines.sagemaker.request.job_names import REQUEST_TAG, console_url, log_url, request_hash
from kfp_image_tuning.engines.sagemaker.request.limits import count_trials
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.tuning.outcome import describe_outcome, refuse_outcome
from kfp_image_tuning.engines.sagemaker.tuning.stopping import job_guard, renew_guard
from kfp_image_tuning.engines.sagemaker.tuning.trial_tracker import TrialTracker

LONGEST_SILENCE = 5.0
"""Seconds without an update, at most: so quickly a time limit acts."""
STOPPING_SECONDS = 5.0
"""Seconds between two looks while the tuning job is being stopped."""
LAUNCH_SECONDS: dict[TransientKind, float] = {"transient": 300, "credentials": 20, "denied": 0}
ENDED = ("Completed", "Failed", "Stopped")
LATE_LOOKS = 5
"""Looks at something that lags behind: the list of an ended job's training jobs, the tags of a new one."""

_GOES_ON = (
    "The tuning job {name} continues without us until its own time limit; run the same command again to attach to it, "
    "or stop it at {url}"
)


class SageMakerSession:
    """One tuning job, on its way or ended.

    Args:
        plan: Its request.
        options: Where, and as whom to call.
    """

    def __init__(self, plan: Plan, options: SageMakerOptions) -> None:
        self._search, self._request = plan.search, plan.request
        self._job_name = str(plan.request["HyperParameterTuningJobName"])
        self._options = options
        self._caller = Caller(options)
        self._guard = job_guard(
            self._caller, "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=self._job_name
        )
        self._tracker = TrialTracker(self._caller, plan.search, options.resolved_region)
        self._stop_wished = False
        self._create_was_sent = False
        self._looks_for_tags = 0
        self._tuning_job: dict[str, Any] = {}

    def events(self) -> Iterator[Event]:
        """Launch the tuning job or attach to it, and look at it until it and all its training jobs have ended."""
        try:
            attached = self._attach()
        except EngineError:
            # A stop that was asked for continues without this process.
            if not self._stop_wished:
                self._guard.close()
            raise
        yield Event(kind="attached", attached=attached)
        if self._tuning_job:
            yield from self._follow()

    def stop(self) -> None:
        """Stop the tuning job: the call is sent at once, by a process that is waiting for it."""
        if self._tuning_job and (self._is_over() or self._has_run_all_trials()):
            return
        self._stop_wished = True
        self._guard.stop()

    def result(self) -> Mapping[str, Any]:
        """Say what came of the tuning job; the best model is in S3.

        Raises:
            EngineError: If the tuning job left no model, or was stopped and that is not a result (``on_stopped``).
        """
        self._guard.close()
        if not self._tuning_job:
            return {"tuning_job": self._job_name, "status": "not started"}
        details = describe_outcome(self._tuning_job, self._request, self._tracker, self._options)
        refuse_outcome(self._tuning_job, self._tracker, self._options, stopped_by_us=self._stop_wished)
        return details

    def _attach(self) -> Attached:
        """Create the tuning job, or attach to the one that this run has created before."""
        self._retry(self._guard.start)
        birth = self._retry(self._create)
        if birth == "none":
            return Attached()
        if birth == "found":
            # Until then a signal must not stop it.
            self._guard.close()
            self._retry(self._check_that_it_is_ours)
            self._retry(self._guard.start)
        if self._stop_wished:
            self._guard.stop()
        self._retry(self._see)
        if birth == "found":
            self._retry(self._take_up)
        started = self._tuning_job["CreationTime"].timestamp()
        ended = self._tuning_job.get("HyperParameterTuningEndTime")
        until = ended.timestamp() if ended else time.time()
        return Attached(
            trials=tuple(self._tracker.trials.values()),
            seconds=max(0.0, until - started) if birth == "found" else 0.0,
            started_at=started,
        )

    def _follow(self) -> Iterator[Event]:
        region = self._options.resolved_region
        yield Event(kind="waiting", note=f"tuning job {self._job_name}: {console_url(region, self._job_name)}")
        yield Event(kind="waiting", note=f"logs: {log_url(region, self._job_name)}")
        backoff = Backoff(self._first_pause)
        late_looks = 0
        while True:
            wait = self._options.poll_seconds
            try:
                yield from self._look(whole=late_looks > 0)
                backoff.forget()
                if self._is_over():
                    late_looks += 1
                    if self._knows_all_trials() or late_looks > LATE_LOOKS:
                        return
            except TransientError as error:
                wait = backoff.next_pause(error, self._goes_on())
                yield Event(kind="waiting", note=f"SageMaker cannot be asked now, trying again: {error}")
            yield from self._wait(wait)

    @property
    def _first_pause(self) -> float:
        """Seconds before the second try."""
        return self._options.poll_seconds / 30

    def _create(self) -> Literal["created", "found", "none"]:
        """Create the tuning job, or find the one of this name; none, if the end is wanted before that."""
        if self._stop_wished:
            # A call whose answer was lost may have created it.
            return "found" if self._create_was_sent and self._exists() else "none"
        self._create_was_sent = True
        try:
            self._caller.sagemaker("create_hyper_parameter_tuning_job", **self._request)
        except PermanentError as error:
            if error.code == "ResourceInUse":
                return "found"
            raise EngineError(f"{error}; {_CREATE_WAYS_OUT.get(error.code, _CREATE_WAY_OUT)}") from error
        return "created"

    def _exists(self) -> bool:
        try:
            self._describe()
        except PermanentError as error:
            if error.code == "ResourceNotFound":
                return False
            raise
        return True

    def _check_that_it_is_ours(self) -> None:
        """Compare the tags of the tuning job that is there with our request's hash."""
        job = self._describe()
        tags: dict[str, str] = {}
        query = {"ResourceArn": job["HyperParameterTuningJobArn"]}
        while True:
            answer = self._caller.sagemaker("list_tags", **query)
            tags |= {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
            if not answer.get("NextToken"):
                break
            query["NextToken"] = answer["NextToken"]
        if not tags and self._looks_for_tags < LATE_LOOKS:
            self._looks_for_tags += 1
            raise TransientError("transient", "list_tags: a new tuning job's tags may not be known yet")
        ours = tags.get(REQUEST_TAG) == request_hash(self._request)
        deleted = job["HyperParameterTuningJobStatus"] in ("Deleting", "DeleteFailed")
        if ours and not deleted:
            return
        whose = "was started by another request" if REQUEST_TAG in tags else "was not started by this program"
        raise EngineError(
            f"tuning job {self._job_name} exists in {self._options.resolved_region} and "
            f"{'is being deleted' if ours else whose}; give this search a run of its own (on the command line another "
            "--output, in a pipeline another run), or repeat the earlier search with its own settings"
        )

    def _see(self) -> None:
        """Look at the tuning job for the first time."""
        self._tuning_job = self._describe()

    def _take_up(self) -> None:
        """Remember the trials that an earlier process has seen."""
        for _ in self._tracker.look(self._tuning_job):
            pass

    def _describe(self) -> dict[str, Any]:
        return self._caller.sagemaker("describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=self._job_name)

    def _look(self, *, whole: bool) -> Iterator[Event]:
        try:
            self._tuning_job = self._describe()
            yield from self._tracker.look(self._tuning_job, whole=whole)
        except PermanentError as error:
            if error.code == "ResourceNotFound":
                raise EngineError(f"tuning job {self._job_name} is gone: somebody has deleted it") from error
            raise EngineError(f"{error}. {self._goes_on()}") from error

    def _has_run_all_trials(self) -> bool:
        """Whether nothing is left that could be stopped, though SageMaker may not have drawn the line yet."""
        return not self._tracker.unfinished and len(self._tracker.trials) >= count_trials(self._search)

    def _is_over(self) -> bool:
        return self._tuning_job["HyperParameterTuningJobStatus"] in ENDED

    def _knows_all_trials(self) -> bool:
        counted = sum(self._tuning_job["TrainingJobStatusCounters"].values())
        return not self._tracker.unfinished and len(self._tracker.trials) >= counted

    def _wait(self, seconds: float) -> Iterator[Event]:
        """Wait, with a sign of life every few seconds; a wish to stop shortens it."""
        if self._is_over() or self._has_run_all_trials():
            self._guard.disarm()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LONGEST_SILENCE))
            yield Event(kind="waiting")
            renew_guard(self._guard)
            if self._stop_wished:
                until = min(until, time.monotonic() + STOPPING_SECONDS)

    def _retry(self, attempt: Callable[[], Answer]) -> Answer:
        """Try until it works, or has failed for too long."""
        uncertain = "If the tuning job was started all the same, the same command attaches to it"
        return Backoff(self._first_pause, LAUNCH_SECONDS).retry(
            attempt, lambda: self._goes_on() if self._tuning_job else uncertain, time.sleep
        )

    def _goes_on(self) -> str:
        return _GOES_ON.format(name=self._job_name, url=console_url(self._options.resolved_region, self._job_name))


_CREATE_WAYS_OUT = {
    "ResourceLimitExceeded": (
        "ask for a higher limit under Service Quotas, use fewer parallel trials, or choose another instance_type"
    ),
    "ValidationException": "nothing was started; change what it names and run again",
}
_CREATE_WAY_OUT = "nothing was started"
