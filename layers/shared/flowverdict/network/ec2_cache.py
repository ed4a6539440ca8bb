"""Cache what EC2 returned, value by value, and the client of each account and Region.

One function instance evaluates many files of the same VPCs within seconds. A value that was read
less than ``CACHE_SECONDS`` ago is not requested again, so the EC2 API is called for new values
only. The cache is bounded by the number of elements in it; the oldest result is removed first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from botocore.client import BaseClient

    from flowverdict.core.errors import NotReadError
    from flowverdict.network.describe import Item
    from flowverdict.network.ec2_clients import Credentials


# A person who changes a rule and tries again sees the change within a minute.
CACHE_SECONDS = 60.0

MAX_CACHED_ITEMS = 10_000  # about 5 kB each as boto3 gives them: 50 MB of the functions' 512 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRegion:
    """An account and a Region.

    Parameters
    ----------
    account_id
        ``None`` for the account that the process's own credentials belong to.
    """

    account_id: str | None
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """The elements that EC2 returned for one value of a query; none is a result too.

    Parameters
    ----------
    until
        When the result expires, in seconds of the cache's clock.
    """

    items: tuple[Item, ...]
    read_at: datetime
    until: float

    @property
    def weight(self) -> int:
        """What the result counts towards ``MAX_CACHED_ITEMS``."""
        return 1 + len(self.items)


type _Key = tuple[AccountRegion, str, str]


class QueryCache:
    """Recent results by account and Region, name of the query, and value.

    ``clock`` returns seconds of which only differences matter.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._results: dict[_Key, QueryResult] = {}
        self._size = 0

    def get(self, account_region: AccountRegion, query: str, value: str) -> QueryResult | None:
        """Return the result for a value, or ``None`` if it is not cached or has expired."""
        result = self._results.get((account_region, query, value))
        return result if result is not None and self._clock() < result.until else None

    def put(
        self, account_region: AccountRegion, query: str, value: str, result: QueryResult
    ) -> None:
        """Store a result in place of an earlier one, and remove what has expired or is too much."""
        key = (account_region, query, value)
        self._remove(key)
        self._results[key] = result
        self._size += result.weight
        # The first is the oldest. A result that lives longer keeps those behind it a little longer.
        while (
            self._size > MAX_CACHED_ITEMS
            or self._clock() >= self._results[next(iter(self._results))].until
        ):
            self._remove(next(iter(self._results)))
            if not self._results:
                return

    def _remove(self, key: _Key) -> None:
        removed = self._results.pop(key, None)
        self._size -= 0 if removed is None else removed.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that failed and is not repeated until ``until``, in seconds of the reader's clock."""

    error: NotReadError
    until: float


@dataclass(slots=True, kw_only=True)
class Ec2Access:
    """What it takes to read one account and Region.

    Parameters
    ----------
    credentials
        Those of the assumed role; ``None`` for the process's own.
    make_client
        Creates the client of a service, by the service's name in boto3.
    refusals
        Calls that are not repeated for a while, by IAM action or prefix list id.
    """

    account_region: AccountRegion
    credentials: Credentials | None
    make_client: Callable[[str], BaseClient]
    refusals: dict[str, Refusal] = field(default_factory=dict)
    _clients: dict[str, BaseClient] = field(default_factory=dict)

    def client(self, service: str) -> BaseClient:
        """Return the client of a service; make the client when it is first needed."""
        if service not in self._clients:
            self._clients[service] = self.make_client(service)
        return self._clients[service]
