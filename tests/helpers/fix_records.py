"""Records of the network of ``tests.helpers.fixes``, drawn for laws."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from tests.helpers.fixes import NETWORK, rejected

OUTSIDERS = [ip_address(text) for text in ("198.51.100.77", "203.0.113.66", "130.176.10.10")]
PORTS = [22, 80, 123, 443, 1023, 1024, 5432, 8080, 8443, 40_000]

NAMES = [each.interface_id.removeprefix("eni-0f") for each in NETWORK.interfaces or ()]
ADDRESSES = {
    each.interface_id.removeprefix("eni-0f"): str(each.addresses[0])
    for each in NETWORK.interfaces or ()
}
FAR = [*ADDRESSES.values(), *map(str, OUTSIDERS), "169.254.171.33", "52.219.45.7", "10.99.1.1"]


@st.composite
def records(draw: st.DrawFn) -> str:
    """Return one record, rejected or accepted, of any of the interfaces."""
    name = draw(st.sampled_from(NAMES))
    own, far = ADDRESSES[name], draw(st.sampled_from(FAR))
    way = draw(st.sampled_from(("ingress", "egress")))
    ports = (draw(st.sampled_from((25, 443, 40_000))), draw(st.sampled_from(PORTS)))
    if draw(st.booleans()):
        ports = ports[::-1]
    ends = (far, own) if way == "ingress" else (own, far)
    flags = draw(st.sampled_from(("2", "18", "-")))
    action = draw(st.sampled_from(("REJECT", "REJECT", "ACCEPT")))
    return rejected(name, *ends, ports, way, flags=flags, action=action)
