"""AWS's error answers, in the codes of each service and the form of its protocol."""

from __future__ import annotations

import io
import json
from enum import StrEnum
from http import HTTPStatus
from itertools import cycle
from typing import TYPE_CHECKING

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

    from tests.helpers.wire import Try

# Status and code, from each service's "Common Errors" page and its own lists.
_THROTTLED = {
    "s3": (503, "SlowDown"),
    "ec2": (503, "RequestLimitExceeded"),
    "sns": (400, "Throttling"),
    "sts": (400, "Throttling"),
    "appconfigdata": (429, "ThrottlingException"),
}
_DENIED = {
    "s3": (403, "AccessDenied"),
    "ec2": (403, "UnauthorizedOperation"),
    "sns": (403, "AuthorizationError"),
    "sts": (403, "AccessDenied"),
    "appconfigdata": (403, "AccessDeniedException"),
}
_EXPIRED = {
    "s3": (400, "ExpiredToken"),
    "ec2": (400, "RequestExpired"),
    "sns": (403, "ExpiredToken"),
    "sts": (403, "ExpiredToken"),
    "appconfigdata": (403, "ExpiredTokenException"),
}


class Fault(StrEnum):
    """A kind of failure; its value heads a column of ``docs/aws-errors.md``."""

    THROTTLED = "throttled"
    SERVER_ERROR = "500, 503"
    NO_ANSWER = "time-out, no connection"
    DENIED = "AccessDenied"
    EXPIRED = "ExpiredToken"
    MALFORMED = "malformed or cut short"

    @property
    def is_transient(self) -> bool:
        """Whether another try may succeed at once."""
        return self in {Fault.THROTTLED, Fault.SERVER_ERROR, Fault.NO_ANSWER}


class Broken:
    """Answers calls with one fault; where a fault has several forms, each try meets the next."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._server_errors = cycle((500, 503))
        self._silences = cycle((ConnectTimeoutError, ReadTimeoutError, EndpointConnectionError))

    def answer(self, tried: Try) -> AWSResponse:
        """Return AWS's answer, or raise what the SDK's HTTP client raises without one."""
        call, request, protocol = tried.call, tried.request, tried.protocol
        match self._fault:
            case Fault.THROTTLED:
                return _error(
                    request, protocol, *_THROTTLED.get(call.service, (400, "ThrottlingException"))
                )
            case Fault.SERVER_ERROR:
                if next(self._server_errors) == HTTPStatus.SERVICE_UNAVAILABLE:
                    return _answer(
                        request, 503, b"<html><body>503 Service Unavailable</body></html>"
                    )  # a load balancer's
                return _error(
                    request,
                    protocol,
                    500,
                    "InternalServerError" if "json" in protocol else "InternalError",
                )
            case Fault.NO_ANSWER:
                raise next(self._silences)(endpoint_url=request.url)
            case Fault.DENIED:
                return _error(
                    request, protocol, *_DENIED.get(call.service, (400, "AccessDeniedException"))
                )
            case Fault.EXPIRED:
                return _error(
                    request, protocol, *_EXPIRED.get(call.service, (400, "ExpiredTokenException"))
                )
            case Fault.MALFORMED:
                tried.carry_out()  # status 200 says that the call was carried out
                # The bytes of an object have no wrong form, but they can end too soon.
                headers = {"Content-Length": "4096"} if call.operation == "GetObject" else {}
                return _answer(request, 200, b"version account-id inter", headers)


def _error(request: AWSPreparedRequest, protocol: str, status: int, code: str) -> AWSResponse:
    words = f"<Code>{code}</Code><Message>in other words</Message>"
    match protocol:
        case "rest-xml":
            return _answer(request, status, f"<Error>{words}</Error>".encode())
        case "query":
            return _answer(
                request, status, f"<ErrorResponse><Error>{words}</Error></ErrorResponse>".encode()
            )
        case "ec2":
            return _answer(
                request,
                status,
                f"<Response><Errors><Error>{words}</Error></Errors></Response>".encode(),
            )
        case "json":
            return _answer(
                request,
                status,
                json.dumps(
                    {"__type": f"com.amazonaws#{code}", "message": "in other words"}
                ).encode(),
            )
        case "rest-json":
            return _answer(
                request, status, b'{"message": "in other words"}', {"x-amzn-ErrorType": code}
            )
    raise NotImplementedError(protocol)


class _Raw(io.BytesIO):
    """A body with the interface of urllib3's."""

    def stream(self, **_: object) -> list[bytes]:
        return [self.read()]


def _answer(
    request: AWSPreparedRequest, status: int, body: bytes, headers: dict[str, str] | None = None
) -> AWSResponse:
    given = HTTPHeaders()
    for name, value in (headers or {}).items():
        given[name] = value
    return AWSResponse(request.url, status, given, _Raw(body))


def appconfig(tried: Try) -> AWSResponse | None:
    """Return AppConfig's answers, which moto lacks; ``None`` for the calls of other services."""
    request = tried.request
    match str(tried.call):
        case "appconfigdata:StartConfigurationSession":
            return _answer(request, 201, b'{"InitialConfigurationToken": "one"}')
        case "appconfigdata:GetLatestConfiguration":
            headers = {
                "Next-Poll-Configuration-Token": "two",
                "Next-Poll-Interval-In-Seconds": "60",
                "Content-Type": "text/plain",
            }
            return _answer(request, 200, b'{"version": 1, "minimum_severity": "low"}', headers)
    return None
