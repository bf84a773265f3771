"""boto3's clients of SageMaker, CloudWatch Logs and S3, made for a process that follows a job for days.

Retries are ours (`calls`): botocore's would keep a stop or a time limit waiting. Timeouts are short for the same
reason: the client that polls is the one that stops, so its connection is warm when SIGTERM leaves half a second.
"""

from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.service_model import model_loader

CONNECT_SECONDS = 3
READ_SECONDS = 10
SESSION_NAME = "kfp-image-tuning"


@dataclass(frozen=True)
class Clients:
    """The clients; boto3 makes their classes at run time, so there is no type to name."""

    sagemaker: Any
    logs: Any


def make_clients(options: SageMakerOptions) -> Clients:
    """Make the clients, with the credentials that are found now, or with the role to assume.

    Credentials come from wherever boto3 finds them: environment, IRSA, Pod Identity, files. An assumed role is assumed
    again before it expires.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        user_agent_extra="kfp-image-tuning",
    )
    session = _session(options)
    arguments: dict[str, Any] = {"config": config}
    if options.endpoint_url:
        arguments["endpoint_url"] = options.endpoint_url
    return Clients(session.client("sagemaker", **arguments), session.client("logs", **arguments))


def make_storage_client(options: SageMakerOptions, connections: int) -> Any:
    """Make a client of S3, with the same credentials; here botocore's own retries serve best.

    Args:
        options: Where and as whom to call.
        connections: Files that are sent at a time.
    """
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 10},
        max_pool_connections=connections,
        user_agent_extra="kfp-image-tuning",
    )
    arguments = {"endpoint_url": options.endpoint_url} if options.endpoint_url else {}
    return _session(options).client("s3", config=config, **arguments)


def _session(options: SageMakerOptions) -> Any:
    """A session with the credentials that are found now, or of the role to assume."""
    # Imported here: planning does without.
    import boto3

    session = boto3.Session(botocore_session=_botocore_session(), region_name=options.resolved_region)
    return _assumed(session, options) if options.assume_role else session


def _assumed(session: Any, options: SageMakerOptions) -> Any:
    """A session that acts in the role to assume, and assumes it again whenever its credentials come to their end."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    def client_creator(service: str, **arguments: Any) -> Any:
        if options.endpoint_url:
            arguments["endpoint_url"] = options.endpoint_url
        return session.client(service, **{"region_name": options.resolved_region, **arguments})

    fetcher = AssumeRoleCredentialFetcher(
        client_creator,
        session.get_credentials(),
        options.assume_role,
        extra_args={"RoleSessionName": SESSION_NAME},
    )
    assumed = _botocore_session()
    # botocore has no public way to give a session credentials that renew themselves.
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return boto3.Session(botocore_session=assumed, region_name=options.resolved_region)


def _botocore_session() -> Any:
    """A session that shares the service models that were read before."""
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", model_loader())
    return session
