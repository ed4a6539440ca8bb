"""A VPC simulator with known ground truth: the oracle that flowverdict's verdicts are measured by.

It imports nothing of flowverdict. ``simulate(seed, kind=..., fmt=...)`` returns flow log files, a
configuration snapshot, and the truth about every rejected flow.

Not simulated: regional NAT gateways, groups of other accounts, references to groups over a transit
gateway, traffic to the addresses that AWS never logs, tracking that overflows, fragments, and the
short time that a rule change takes to work. Untracked flows are simulated only in the kind of that
name. The kinds of ``REAL_NETWORKS`` have what real networks have: time stamps as AWS writes them,
load balancers, gateways, appliances, connections that tracking forgot or that are over, and what no
VPC carries; ``fixes`` has what a careless fix breaks. ``fix_scoring`` runs the commands of all
fixes of a simulation, one after another.
"""

from tests.simulator.connections import REAL_NETWORKS
from tests.simulator.scoring import Outcome, falsely_certain, key_of_answer, mistakes, outcome
from tests.simulator.simulation import KINDS, Simulation, simulate
from tests.simulator.truth import Truth

__all__ = [
    "KINDS",
    "REAL_NETWORKS",
    "Outcome",
    "Simulation",
    "Truth",
    "falsely_certain",
    "key_of_answer",
    "mistakes",
    "outcome",
    "simulate",
]
