"""Write ``core/registered_names.py`` from IANA's registries of ports and protocols.

Download both first, then run ``refresh_registries.py PORTS.csv PROTOCOLS.csv``:
https://www.iana.org/assignments/service-names-port-numbers/service-names-port-numbers.csv,
https://www.iana.org/assignments/protocol-numbers/protocol-numbers-1.csv.

Of the ports only the system ports (below 1024) are taken: IANA gives these for protocols that its
own documents describe. Names of higher ports are those of the products that asked first, and
mislead: 8081 is "sunproxyadmin". What listens there today is in ``core/protocols.py``.
"""

from __future__ import annotations

import argparse
import csv
import re
import textwrap
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "layers/shared/flowverdict/core/registered_names.py"
SYSTEM_PORTS_END = 1024
WIDTH = 98
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/_-]*")
_DATE = re.compile(r"20\d\d-\d\d-\d\d")
_HEAD = '''"""IANA's names of protocols and of services at system ports (below 1024).

Written by ``scripts/refresh_registries.py``, which says where the registries are and why no higher
ports are here. The last change in the registry of ports is of {date}. Imported when such a name
is first needed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _table(text: str) -> Mapping[int, str]:
    pairs = (entry.split("=") for entry in text.split())
    return MappingProxyType({{int(number): name for number, name in pairs}})

'''


def ports_of(path: Path, transport: str) -> tuple[dict[int, str], str]:
    """Return the first name of each system port of a transport protocol, and the last date."""
    found: dict[int, str] = {}
    last = ""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            port, name = row["Port Number"], row["Service Name"]
            dates = _DATE.findall(f"{row['Registration Date']} {row['Modification Date']}")
            last = max([last, *dates])
            if (
                port.isdigit()
                and int(port) < SYSTEM_PORTS_END
                and row["Transport Protocol"] == transport
                and _NAME.fullmatch(name)
            ):
                found.setdefault(int(port), name)
    return found, last


def protocols_of(path: Path) -> dict[int, str]:
    """Return the keyword of each protocol number that has one."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    keywords = {int(row[0]): row[1].removesuffix(" (deprecated)").replace(" ", "-") for row in rows}
    return {
        number: keyword
        for number, keyword in keywords.items()
        if _NAME.fullmatch(keyword) and keyword != "Reserved"
    }


def table(name: str, names: dict[int, str]) -> str:
    """Return the source of a table."""
    text = " ".join(f"{number}={names[number]}" for number in sorted(names))
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    body = "\n".join(lines)
    return f'\n{name} = _table(\n    """\n{body}\n"""\n)\n'


def main() -> None:
    """Write the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ports", type=Path)
    parser.add_argument("protocols", type=Path)
    arguments = parser.parse_args()
    tcp, date = ports_of(arguments.ports, "tcp")
    udp, _ = ports_of(arguments.ports, "udp")
    only_udp = {port: name for port, name in udp.items() if tcp.get(port) != name}
    OUTPUT.write_text(
        _HEAD.format(date=date)
        + table("PROTOCOLS", protocols_of(arguments.protocols))
        + table("TCP_PORTS", tcp)
        + "\n# Where the name is not that of TCP."
        + table("UDP_PORTS", only_udp)
    )


if __name__ == "__main__":
    main()
