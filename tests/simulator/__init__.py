"""A VPC simulator with known ground truth: the oracle that flowverdict's verdicts are measured by.

It imports nothing of flowverdict. ``simulate(seed, kind=..., fmt=...)`` returns flow log files, a
configuration snapshot, and the truth about every rejected flow.

Not simulated: transit gateways, virtual private gateways, load balancers that keep the client's
address, regional NAT gateways, groups of other accounts, traffic to the addresses that AWS never
logs, tracking that overflows, asymmetric routes, fragments, and the short time that a rule change
takes to work. Untracked flows are simulated only in the kind of that name.
"""

from tests.simulator.scoring import Outcome, falsely_certain, key_of_answer, mistakes, outcome
from tests.simulator.simulation import KINDS, Simulation, simulate
from tests.simulator.truth import Truth

__all__ = [
    "KINDS",
    "Outcome",
    "Simulation",
    "Truth",
    "falsely_certain",
    "key_of_answer",
    "mistakes",
    "outcome",
    "simulate",
]
