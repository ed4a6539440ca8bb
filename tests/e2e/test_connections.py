"""All connections are to the loopback of this machine, and the watch sees all others."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from tests.e2e.connections import PROC, Peer, peers_in, watching
from tests.e2e.subscribers import wait_until

if TYPE_CHECKING:
    from tests.e2e.connections import Watch
    from tests.e2e.stack import Stack
    from tests.e2e.webhook import Webhook

_HEADER = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
    "uid  timeout inode\n"
)
_LINES = (
    # A socket that listens: no peer.
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     "
    "0        0 11 1 0 100 0 0 10 0\n"
    "   1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     "
    "0        0 12 1 0 20 4 30 10 -1\n"
    "   2: 0A00000A:9C42 0C7100CB:01BB 02 00000000:00000000 00:00000000 00000000     "
    "0        0 13 1 0 20 4 30 10 -1\n"
)
_LINES_6 = (
    "   0: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:1F90 01 "
    "0:0 0:0 0 0 0 14 1 0\n"
    "   1: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:1F90 01 "
    "0:0 0:0 0 0 0 15 1 0\n"
    "   2: B80D0120000000000000000001000000:9C40 B80D0120000000000000000002000000:01BB 01 "
    "0:0 0:0 0 0 0 16 1 0\n"
)


def test_peers_are_read_from_the_kernels_table() -> None:
    found = dict(peers_in(_HEADER + _LINES))
    assert found == {
        "12": Peer(address=ip_address("127.0.0.1"), port=8080),
        "13": Peer(address=ip_address("203.0.113.12"), port=443),
    }
    assert [inode for inode, peer in found.items() if peer.is_here] == ["12"]


def test_loopback_of_both_families_is_here_and_the_rest_is_not() -> None:
    found = dict(peers_in(_HEADER + _LINES_6))
    assert {inode: peer.is_here for inode, peer in found.items()} == {
        "14": True,
        "15": True,
        "16": False,
    }
    assert found["16"].address == ip_address("2001:db8::2")


@pytest.mark.skipif(
    not (PROC / "net" / "tcp").exists(),
    reason="connections are read from /proc, which this system has not",
)
def test_a_childs_connection_is_seen(hook: Webhook) -> None:
    port = int(hook.url.rpartition(":")[2])
    script = (
        f"import socket, sys; s = socket.create_connection(('127.0.0.1', {port})); sys.stdin.read()"
    )
    with watching() as watch:
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:  # noqa: S603 - our own line
            wait_until(
                lambda: (
                    True if Peer(address=ip_address("127.0.0.1"), port=port) in watch.seen else None
                ),
                "its connection",
            )
            child.communicate(b"")
        assert watch.beyond_loopback == []


@pytest.mark.skipif(
    not (PROC / "net" / "tcp").exists(),
    reason="connections are read from /proc, which this system has not",
)
def test_nothing_beyond_loopback_has_been_talked_to_so_far(watch: Watch, stack: Stack) -> None:
    """Assert this early; the fixture ``watch`` asserts the same when the session ends."""
    emulator = Peer(address=ip_address("127.0.0.1"), port=int(stack.place.url.rpartition(":")[2]))
    assert emulator in watch.seen
    assert watch.looks > 10
    assert watch.beyond_loopback == []
