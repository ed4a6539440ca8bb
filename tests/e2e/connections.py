"""Record the TCP and UDP peers of this process and all its children, several times a second.

The module reads ``/proc``, so it works on Linux only. A connection shorter than the pause between
two looks can be missed. On a machine without access to the internet, a process that tries to
connect keeps trying (SYN_SENT), and its peer is recorded.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROC: Final = Path("/proc")
_PAUSE = 0.1  # seconds
# To find whose sockets they are takes 15 ms, so connections to loopback are looked up in every
# tenth look only. All others are looked up at once.
_NEAR_EVERY = 10
_TABLES = ("tcp", "tcp6", "udp", "udp6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The far end of a socket."""

    address: IPv4Address | IPv6Address
    port: int

    @property
    def is_here(self) -> bool:
        """Whether the address is this machine's loopback."""
        mapped = self.address.ipv4_mapped if isinstance(self.address, IPv6Address) else None
        return (mapped or self.address).is_loopback

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


def peers_in(table: str) -> Iterator[tuple[str, Peer]]:
    """Yield inode and peer of each connected socket in a table like ``/proc/net/tcp``."""
    for line in table.splitlines()[1:]:
        columns = line.split()
        address, port = columns[2].split(":")
        # Each group of 8 digits is a number in the machine's byte order, which is little-endian on
        # every machine that runs these tests.
        raw = b"".join(
            bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8)
        )
        far = ip_address(raw)
        if not far.is_unspecified:
            yield columns[9], Peer(address=far, port=int(port, 16))


class Watch:
    """The peers that ``watching`` has recorded."""

    def __init__(self) -> None:
        self._seen: dict[Peer, str] = {}
        self.looks = 0

    @property
    def seen(self) -> frozenset[Peer]:
        """Every peer so far."""
        return frozenset(self._seen)

    @property
    def beyond_loopback(self) -> list[str]:
        """Peers that are not this machine's loopback, and the command that talked to them."""
        return sorted(
            f"{command}: {peer}" for peer, command in self._seen.items() if not peer.is_here
        )

    def look(self) -> None:
        """Record every peer that is connected at this moment."""
        tables = [table.read_text() for name in _TABLES if (table := PROC / "net" / name).exists()]
        connected = {inode: peer for table in tables for inode, peer in peers_in(table)}
        self.looks += 1
        if self.looks % _NEAR_EVERY and all(peer.is_here for peer in connected.values()):
            return
        for pid in (os.getpid(), *descendants(os.getpid())):
            for inode in _socket_inodes(pid):
                if inode in connected and connected[inode] not in self._seen:
                    self._seen[connected[inode]] = _command(pid)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch in a thread until the block ends."""
    watch, ended, failed = Watch(), threading.Event(), list[BaseException]()

    def go_on_looking() -> None:
        try:
            while not ended.wait(_PAUSE):
                watch.look()
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread of the test
            failed.append(error)

    thread = threading.Thread(target=go_on_looking, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
    for error in failed:
        raise error


def descendants(root: int) -> Iterable[int]:
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended since it was listed
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(
            int(stat.parent.name)
        )
    waiting, found = [root], list[int]()
    while waiting:
        waiting += (new := children.get(waiting.pop(), []))
        found += new
    return found


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except FileNotFoundError:
                continue  # closed since it was listed
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
    except (FileNotFoundError, ProcessLookupError):
        return  # ended since it was listed


def _command(pid: int) -> str:
    try:
        return (
            (PROC / str(pid) / "cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")[:120]
        )
    except (FileNotFoundError, ProcessLookupError):
        return f"process {pid}"
