"""The call that stops a job, signed as boto3 signs it, for the stop guard."""

import contextlib
import os
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kfp_image_tuning.core.stop_guard import StopGuard, StopRequest
from kfp_image_tuning.engines.sagemaker.aws.calls import (
    CREDENTIAL_CODES,
    DENIED_CODES,
    THROTTLING_CODES,
    TRANSIENT_CODES,
    Caller,
    PermanentError,
    TransientError,
)

MISSING = ("ResourceNotFound", "not found", "could not find")
"""How SageMaker says that a job is not there, which it may be a moment later."""
PASSING = (*MISSING, *sorted(THROTTLING_CODES | TRANSIENT_CODES | CREDENTIAL_CODES | DENIED_CODES))


def job_guard(caller: Caller, method: str, **job: str) -> StopGuard:
    """The guard of a job that is running or about to be created.

    Args:
        caller: Has the client and its credentials.
        method: The call that stops the job, such as ``stop_transform_job``.
        **job: The job's name, as the call wants it.
    """
    from botocore.httpsession import where

    def prepare() -> StopRequest:
        signed: Any = caller.sign(method, **job)
        body = signed.body if isinstance(signed.body, str) else bytes(signed.body or b"").decode()
        return StopRequest(
            method=signed.method,
            url=signed.url,
            headers={name: _text(value) for name, value in signed.headers.items()},
            body=body,
            ca_file=os.environ.get("AWS_CA_BUNDLE") or where(),
            proxy=_find_proxy(signed.url),
            passing=PASSING,
        )

    return StopGuard(prepare)


def renew_guard(guard: StopGuard) -> None:
    """Let a guard's request be signed again when it is due; what fails is tried again the next time."""
    with contextlib.suppress(TransientError, PermanentError):
        guard.renew()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _find_proxy(url: str) -> str:
    """The environment's proxy on the way there, which botocore takes too; empty: none."""
    address = urlsplit(url)
    return "" if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme, "")
