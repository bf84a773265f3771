"""What went wrong at an object store, in one sentence with the way out.

The client's exceptions are of few kinds (most are "GenericError"), but their text holds the chain of causes down to the
system's own error, and what the server answered. Nothing of that text is passed on as it is: addresses in it may hold a
signature, answers an access key.
"""

import re
import socket
import ssl
from urllib.parse import urlsplit

from kfp_image_tuning.core.store_address import KUBEFLOW_ADDRESS, StoreAddress

PROBE_SECONDS = 3.0

_NOT_RESOLVED = ("dns error", "failed to lookup address")
_REFUSED = ("ConnectionRefused", "Connection refused")
_NO_TLS = ("InvalidContentType", "InvalidMessage", "CorruptMessage")
_CERTIFICATE = ("InvalidCertificate", "UnknownIssuer", "certificate")
_WANTS_TLS = ("HTTP request to an HTTPS server", "HTTP request was sent to HTTPS port")
_BROKEN = ("ConnectionReset", "IncompleteMessage", "Parse(", "BrokenPipe")
_SILENT = ("TimedOut", "Timeout", "timed out", "Unreachable", "unreachable")
_KEYS = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|InvalidClientTokenId|AuthFailure")
_EXPIRED = re.compile(r"ExpiredToken|TokenRefreshRequired|RequestExpired")
_CLOCK = re.compile(r"RequestTimeTooSkewed")
_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IncorrectEndpoint|BareRedirect|without LOCATION")
_DENIED = re.compile(r"AccessDenied|AllAccessDisabled|PermissionDenied|status: 403|status code: 403")
_NO_BUCKET = re.compile(r"NoSuchBucket|specified bucket does not exist")
_NO_IDENTITY = re.compile(
    r"169\.254\.169\.254|metadata\.google|169\.254\.170\.2|TokenRequest|token request|AssumeRoleWithWebIdentity"
)
_STATUS = re.compile(r"status code: (\d{3}(?: [A-Za-z][A-Za-z ]*)?)")


def describe_failure(error: Exception, uri: str, address: StoreAddress) -> str:
    """The sentence for an exception of the client.

    Args:
        error: What was raised.
        uri: What was to be reached, without credentials; its bucket is named in the sentence.
        address: Where.
    """
    return f"{uri}: {_describe(str(error), error, uri, address)}"


def _describe(text: str, error: Exception, uri: str, address: StoreAddress) -> str:
    parts = urlsplit(uri)
    is_bucket = parts.scheme not in ("http", "https")
    where = address.endpoint or (f"{parts.scheme}://{parts.netloc}" if not is_bucket else f"the {parts.scheme} store")
    known = f"{where} (from {address.source})" if address.source else where
    way = "endpoint_url or AWS_ENDPOINT_URL" if is_bucket else "the address"
    if _NO_IDENTITY.search(text):
        return f"no credentials for {where}; {_give_credentials(parts.scheme)}"
    if found := _describe_connection(text, where, known, way, is_bucket):
        return found
    if _NO_BUCKET.search(text):
        return f"the bucket {parts.netloc!r} does not exist at {known}; check its name, or make it"
    if _KEYS.search(text):
        return f"{where} does not know the access key, or the secret key is wrong; {_give_credentials(parts.scheme)}"
    if _EXPIRED.search(text):
        return f"the credentials for {where} have expired; give new ones"
    if _CLOCK.search(text):
        return f"{where} refuses the request because this machine's clock is wrong; set it right"
    if _REGION.search(text):
        return f"the bucket {parts.netloc!r} is in another region; set region or AWS_REGION to the bucket's"
    if _DENIED.search(text) or type(error).__name__ == "PermissionDeniedError":
        thing = f"in the bucket {parts.netloc!r}" if is_bucket else "here"
        return f"no permission {thing}; allow these credentials to list, read and write there"
    if "status code: 401" in text or type(error).__name__ == "UnauthenticatedError":
        return f"{where} wants credentials (401 Unauthorized); {_give_credentials(parts.scheme)}"
    if isinstance(error, FileNotFoundError):
        return f"is not there (404 Not Found); check {'the bucket and the path' if is_bucket else 'the address'}"
    if status := _STATUS.search(text):
        return f"{where} answered {status[1].strip()}; try again, or ask who runs it"
    return f"{where} failed ({_first_words(text)}); check the address, the network and the credentials"


def _describe_connection(text: str, where: str, known: str, way: str, is_bucket: bool) -> str:
    """What is wrong before the server has said anything; nothing if it has."""
    host = urlsplit(where).netloc or where
    if _has(text, _NOT_RESOLVED):
        # The name that did not resolve need not be the endpoint's: a cloud's bucket is part of its name.
        looked_up = re.search(r"uri: Some\(\s*https?://([^/\s:,]+)", text)
        name = looked_up[1] if looked_up else host.partition(":")[0]
        example = f", such as {KUBEFLOW_ADDRESS} for Kubeflow's own store" if is_bucket else ""
        return f"the name {name} does not resolve ({known}); check it, and set {way} to one that does{example}"
    if _has(text, _REFUSED):
        return f"{host} refuses the connection ({known}); check the port and that the store runs there"
    if _has(text, _WANTS_TLS) or (_has(text, _BROKEN) and where.startswith("http://") and speaks_tls(where)):
        return f"{known} speaks TLS only; use https:// in its address"
    if "https://" in text and _has(text, _NO_TLS):
        return f"{known} does not speak TLS; use http:// in its address"
    if "https://" in text and _has(text, _CERTIFICATE):
        return (
            f"the certificate of {known} is not trusted here; add its authority to this machine's (SSL_CERT_FILE), or "
            "use a name that is in the certificate"
        )
    if _has(text, _BROKEN):
        return f"{known} broke the connection; try again, and check that an object store answers there"
    if _has(text, _SILENT):
        return f"{known} does not answer; check the address, and what network policies and proxies allow"
    return ""


def _give_credentials(scheme: str) -> str:
    if scheme == "gs":
        return "set GOOGLE_SERVICE_ACCOUNT_KEY, or give the pod's service account an identity"
    if scheme == "minio":
        return (
            "give the secret that holds the right keys (accesskey and secretkey, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY), or set these two variables"
        )
    if scheme == "s3":
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a secret that holds them, or give the pod a role"
    return "give a user and password, or a signed address, that is valid"


def speaks_tls(endpoint: str) -> bool:
    """Whether a server answers to TLS, which a client that speaks without only sees as a broken connection."""
    parts = urlsplit(endpoint)
    context = ssl.create_default_context()
    # Nothing is sent: only whether the server speaks TLS is asked, not who it is.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 80), PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname),
        ):
            return True
    except OSError:
        return False


def _has(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _first_words(text: str) -> str:
    first = text.strip().partition("\n")[0]
    return re.sub(r"[a-z]+://[^\s)\"']+", lambda found: found[0].partition("?")[0].rpartition("@")[2], first)[:200]
