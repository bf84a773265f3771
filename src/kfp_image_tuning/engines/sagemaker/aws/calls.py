"""Calls that outlive what a cloud does to a client in days: throttling, errors of its own, resets, expired credentials.

A call that failed in a way that may pass raises `TransientError`; `Backoff` says how long to wait, and when it is
enough.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from kfp_image_tuning.core.backoff import pauses
from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.sagemaker.aws.clients import Clients, make_clients
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions

TransientKind = Literal["transient", "credentials", "denied"]
Answer = TypeVar("Answer")

THROTTLING_CODES = frozenset(
    {
        "LimitExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown",
        "Throttling", "ThrottledException", "ThrottlingException", "TooManyRequestsException",
    }
)  # fmt: skip
TRANSIENT_CODES = frozenset({"InternalFailure", "InternalServerError", "RequestTimeout", "RequestTimeoutException"})
CREDENTIAL_CODES = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId", "RequestExpired",
        "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip
CREDENTIAL_ERRORS = frozenset(
    {
        "CredentialRetrievalError", "MetadataRetrievalError", "NoAuthTokenError", "NoCredentialsError",
        "PartialCredentialsError", "RefreshWithMFAUnsupportedError", "SSOTokenLoadError", "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)  # fmt: skip
"""botocore's names of the exceptions that speak of credentials; all its others speak of the way to AWS."""
DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})

TOLERATED_SECONDS: Mapping[TransientKind, float] = {"transient": 6 * 3600, "credentials": 1800, "denied": 300}
"""How long errors of a kind are tolerated, one after the other."""
LONGEST_PAUSE = 60.0
"""The longest pause between two tries, as a multiple of the first."""


class TransientError(Exception):
    """A call failed in a way that may pass.

    Attributes:
        kind: What went wrong: the way there, the credentials, or a permission (which may take minutes to be known).
    """

    def __init__(self, kind: TransientKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class PermanentError(Exception):
    """SageMaker's final answer to one call is no.

    Attributes:
        code: AWS's name of the error.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _SignedError(Exception):
    """Carries a request out of botocore before it is sent."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


class Caller:
    """Makes calls, and makes its clients again when their credentials no longer count.

    Args:
        options: Where and as whom to call.
    """

    def __init__(self, options: SageMakerOptions) -> None:
        self._options = options
        self._clients = self._connect()

    def sagemaker(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call SageMaker.

        Raises:
            TransientError: If it may work later.
            PermanentError: If it will not.
        """
        return self._call(lambda clients: clients.sagemaker, method, parameters)

    def logs(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call CloudWatch Logs; raises as `sagemaker` does."""
        return self._call(lambda clients: clients.logs, method, parameters)

    def sign(self, method: str, **parameters: Any) -> Any:
        """Make a call of SageMaker up to the point where it would be sent; raises as `sagemaker` does.

        Returns:
            botocore's request, signed, with ``method``, ``url``, ``headers`` and ``body``.
        """
        client = self._clients.sagemaker
        event = f"before-send.sagemaker.{client.meta.method_to_api_mapping[method]}"

        def take(request: Any, **_: Any) -> None:
            raise _SignedError(request)

        client.meta.events.register(event, take)
        try:
            self._call(lambda clients: clients.sagemaker, method, parameters)
        except _SignedError as signed:
            return signed.request
        finally:
            client.meta.events.unregister(event, take)
        raise AssertionError("botocore sends nothing without this event")

    def _connect(self) -> Clients:
        from botocore.exceptions import BotoCoreError

        try:
            return make_clients(self._options)
        except (BotoCoreError, ValueError) as error:
            raise EngineError(
                f"AWS: {error}; fix endpoint_url, AWS_ENDPOINT_URL, AWS_PROFILE, the region or the configuration file"
            ) from error

    def _call(self, choose: Callable[[Clients], Any], method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        try:
            answer: dict[str, Any] = getattr(choose(self._clients), method)(**parameters)
            return answer
        except ClientError as error:
            code = str(error.response["Error"].get("Code", ""))
            message = f"{method}: {error.response['Error'].get('Message') or code}"
            kind = _kind(code, int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0)))
            if kind is None:
                raise PermanentError(code, message) from error
            if kind == "credentials":
                self._clients = self._connect()
            raise TransientError(kind, f"{message} ({code})") from error
        except ParamValidationError as error:
            raise PermanentError("ValidationException", f"{method}: {error}") from error
        except BotoCoreError as error:
            kind = "credentials" if type(error).__name__ in CREDENTIAL_ERRORS else "transient"
            if kind == "credentials":
                self._clients = self._connect()
            raise TransientError(kind, f"{method}: {error}") from error


def _kind(code: str, status: int) -> TransientKind | None:
    if code in THROTTLING_CODES or code in TRANSIENT_CODES or status >= 500 or status == 429:
        return "transient"
    if code in CREDENTIAL_CODES:
        return "credentials"
    return "denied" if code in DENIED_CODES else None


class Backoff:
    """How errors in a row are tolerated: pauses that grow, and an end.

    Args:
        first_pause: Seconds.
        tolerated: How many seconds of each kind.
    """

    def __init__(self, first_pause: float, tolerated: Mapping[TransientKind, float] = TOLERATED_SECONDS) -> None:
        self._first_pause, self._tolerated = first_pause, tolerated
        self._pauses = pauses(first_pause, first_pause * LONGEST_PAUSE)
        self._kind: TransientKind | None = None
        self._since = 0.0

    def forget(self) -> None:
        """A call has worked."""
        self._pauses = pauses(self._first_pause, self._first_pause * LONGEST_PAUSE)
        self._kind = None

    def next_pause(self, error: TransientError, when_spent: str) -> float:
        """The seconds to wait before the next try.

        Args:
            error: What happened.
            when_spent: What the user should know when it is enough.

        Raises:
            EngineError: When it is enough.
        """
        if error.kind != self._kind:
            self._kind, self._since = error.kind, time.monotonic()
        seconds = time.monotonic() - self._since
        if seconds >= self._tolerated[error.kind]:
            raise EngineError(f"{error}, for {duration(seconds)} now; {_WAY_OUT[error.kind]}. {when_spent}") from error
        return next(self._pauses)

    def retry(
        self, attempt: Callable[[], Answer], when_spent: Callable[[], str], sleep: Callable[[float], None]
    ) -> Answer:
        """Try until it works.

        Args:
            attempt: What is tried.
            when_spent: What the user should know when it is enough.
            sleep: Waits for so many seconds.

        Raises:
            EngineError: When it has failed for too long, or will never work.
        """
        while True:
            try:
                return attempt()
            except TransientError as error:
                sleep(self.next_pause(error, when_spent()))
            except PermanentError as error:
                raise EngineError(f"{error}; run the same command again") from error


_WAY_OUT: dict[TransientKind, str] = {
    "transient": "check the network and the AWS Health Dashboard",
    "credentials": "give the pod valid AWS credentials (service account, Pod Identity, or AWS_* variables)",
    "denied": "allow this action in the pod's IAM policy",
}
