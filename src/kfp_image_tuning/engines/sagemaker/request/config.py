"""The options of a job, made of the few that every user gives, of all others by name, and of the data set."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from kfp_image_tuning.core.errors import EngineError, EngineOptionsError
from kfp_image_tuning.core.object_forms import find_misfits, restore_whole_numbers
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.sagemaker.request.channels import CHANNEL_NAMES
from kfp_image_tuning.engines.sagemaker.request.options import TITLE, SageMakerOptions
from kfp_image_tuning.options.declared import AccountOptions

_DECIDED_HERE = ("data", "output_uri", "record_shards")
_IDENTITY_LENGTH = 16
_FOLDER = "kfp-image-tuning"
"""Where our files are in a bucket for which no folder is given."""
_BUCKET = re.compile(r"(?:s3://)?([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


@dataclass(frozen=True, kw_only=True)
class SageMakerConfig(AccountOptions):
    """Where in AWS a job runs.

    Attributes:
        run_id: Kubeflow's identity of the run; empty outside of it.
    """

    run_id: str = ""

    @property
    def folder(self) -> str:
        """The S3 folder for everything.

        Raises:
            EngineError: If the bucket's name is none.
        """
        return bucket_folder(self.bucket or "/".join((self.data or "").split("/")[:3]))

    def to_repeat(self) -> Self:
        """What to ask for to run the same search again, in a run of its own."""
        more = {name: value for name, value in self.sagemaker_options.items() if name != "run"}
        # A bucket also where the data set named it: the images that are prepared again are not there.
        return replace(self, bucket=self.bucket or self.folder, sagemaker_options=more)

    def options(self, dataset: Dataset, task: str, initial_model: str | None = None) -> SageMakerOptions:
        """The options of a job; a task that Kubeflow starts again gets the same run, another task another one.

        Args:
            dataset: The data set.
            task: What tells this task from others of the same run.
            initial_model: What every trial starts from.

        Raises:
            EngineError: With everything that is unknown, missing or given twice.
        """
        run = self.run
        if not run and not self.sagemaker_options.get("run") and self.run_id:
            run = f"{self.run_id}/{task}"
        return _make_options(self, run, dataset, initial_model)


def _make_options(
    config: SageMakerConfig, run: str | None, dataset: Dataset, initial_model: str | None
) -> SageMakerOptions:
    more = restore_whole_numbers(config.sagemaker_options)
    given = {"role": config.role, "region": config.region, "run": config.run, "initial_model": initial_model}
    problems = find_misfits(SageMakerOptions, more, TITLE)
    problems += [
        f"sagemaker_options: {name} is decided by bucket and data set; leave it out"
        for name in _DECIDED_HERE
        if name in more
    ]
    problems += [
        f"sagemaker_options: {name} is given twice; give it as {name} alone"
        for name, value in given.items()
        if name in more and value
    ]
    if initial_model and not initial_model.startswith("s3://"):
        problems.append(
            f"initial_model: {initial_model!r} is not in S3, where training jobs read it; give the address of a "
            "model.tar.gz, such as s3://my-bucket/model.tar.gz"
        )
    problems = problems or _missing_channels(more)
    if problems:
        raise EngineOptionsError.from_problems(problems)
    identity = dataset.fingerprint.removeprefix("sha256:")[:_IDENTITY_LENGTH]
    data = (config.data or "").rstrip("/") or f"{config.folder}/datasets/{identity}"
    is_ours = more.get("content", "recordio") == "recordio"
    prepared = _channels(dataset, data, records_alone=not config.data) if is_ours else {}
    document = {
        **more,
        **{name: value for name, value in given.items() if value},
        "run": run or more.get("run", ""),
        "data": data,
        "output_uri": f"{config.folder}/models",
        "channels": {**prepared, **more.get("channels", {})},
        "record_shards": len(dataset.split("train").shards),
    }
    return SageMakerOptions.from_dict(document)


def _missing_channels(more: Mapping[str, Any]) -> list[str]:
    """What has no place in S3: data preparation writes record files alone."""
    content = more.get("content", "recordio")
    return [
        f"sagemaker_options: content {content!r} is not what data preparation writes; give channels.{name}, its place "
        "in S3"
        for name in CHANNEL_NAMES[content]
        if content != "recordio" and name not in more.get("channels", {})
    ]


def _channels(dataset: Dataset, data: str, *, records_alone: bool) -> dict[str, str]:
    """Where each channel's record files are: the file itself, or of several what their names begin with.

    Args:
        dataset: The data set.
        data: Its place in S3.
        records_alone: Nothing is beside the record files, so that they can be streamed as well. Otherwise the folder
            is meant, which is read as files only.
    """
    records = {name: [shard.record for shard in dataset.split(name).shards] for name in ("train", "validation")}
    found = {}
    for name, files in records.items():
        folder = f"{data}/{files[0].rpartition('/')[0]}/"
        found[name] = f"{data}/{files[0]}" if len(files) == 1 else f"{folder}{name}-" if records_alone else folder
    return found


def bucket_folder(bucket: str) -> str:
    """The S3 folder that is meant by ``bucket``, ``bucket/folder`` or ``s3://bucket/folder``.

    Raises:
        EngineError: If it is not a name of a bucket.
    """
    found = _BUCKET.fullmatch(bucket)
    if found is None:
        raise EngineError(
            f"bucket: {bucket!r} is not a bucket's name; give one such as my-bucket or s3://my-bucket/folder"
        )
    return f"s3://{found[1]}/{(found[2] or '').strip('/') or _FOLDER}"
