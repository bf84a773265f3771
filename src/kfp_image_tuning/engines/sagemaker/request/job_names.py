"""Names, tags and links of a tuning job, all of them made from the run alone, never from the clock.

A restarted process therefore finds the tuning job that an earlier one started, and the hash of the request, kept as a
tag, tells it from a foreign one of the same name.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kfp_image_tuning.core.json_files import sha256_of
from kfp_image_tuning.engines.naming import DIGEST_LENGTH, make_name

REQUEST_TAG = "kfp-image-tuning:request"
RUN_TAG = "kfp-image-tuning:run"
MAX_NAME_LENGTH = 32
_TAG_FORBIDDEN = re.compile(r"[^\w .:/=+\-@]")


def request_hash(request: Mapping[str, Any]) -> str:
    """SHA-256 of a request without its name and without the tags that this project adds."""
    content = {name: value for name, value in request.items() if name != "HyperParameterTuningJobName"}
    content["Tags"] = [tag for tag in request.get("Tags", ()) if tag["Key"] not in (REQUEST_TAG, RUN_TAG)]
    return sha256_of(content)


def tuning_job_name(prefix: str, run: str, identity: str) -> str:
    """The name of the tuning job of a run: ``PREFIX-0123456789abcdef``, at most 32 characters.

    Args:
        prefix: First part; what a name may not hold is left out of it.
        run: Identity of the run; empty: ``identity`` counts alone.
        identity: Hash of the request.
    """
    # SageMaker compares names without regard to case; a single dash is the only separator that every name may hold.
    return make_name(prefix, sha256_of(run or identity)[:DIGEST_LENGTH], MAX_NAME_LENGTH)


def own_tags(run: str, identity: str) -> list[dict[str, str]]:
    """The tags by which this project knows its tuning jobs."""
    tags = [{"Key": REQUEST_TAG, "Value": identity}]
    if run:
        tags.append({"Key": RUN_TAG, "Value": _TAG_FORBIDDEN.sub("_", run)[:256]})
    return tags


def console_url(region: str, job_name: str) -> str:
    """Where the AWS console shows a tuning job."""
    return f"{_console(region)}/sagemaker/home?region={region}#/hyper-tuning-jobs/{job_name}"


def transform_url(region: str, job_name: str) -> str:
    """Where the AWS console shows a batch transform job, with a link to its logs."""
    return f"{_console(region)}/sagemaker/home?region={region}#/transform-jobs/{job_name}"


def log_url(region: str, training_job_prefix: str) -> str:
    """Where the AWS console shows the logs of the training jobs whose names start with a prefix."""
    # The console's own way of escaping: what stands after the # is escaped twice, with $ for %.
    group = quote(quote("/aws/sagemaker/TrainingJobs", safe=""), safe="").replace("%", "$")
    filter_ = quote(f"?logStreamNameFilter={training_job_prefix}", safe="").replace("%", "$")
    return f"{_console(region)}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{filter_}"


def _console(region: str) -> str:
    if region.startswith("cn-"):
        return f"https://{region}.console.amazonaws.cn"
    if region.startswith("us-gov-"):
        return f"https://{region}.console.amazonaws-us-gov.com"
    return f"https://{region}.console.aws.amazon.com"
