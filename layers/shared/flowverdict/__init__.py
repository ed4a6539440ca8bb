"""flowverdict says why a VPC flow was rejected, how sure it is, and what to change.

Data passes the packages in one direction: flowlog (sources to records), flows, network, verdict,
alerts, then lifecycle, policy and delivery, with app on top (see CONTRIBUTING.md).
"""

import gc
import os

# numpy loads OpenBLAS, which starts a thread for each further processor. A thread without work runs
# in a loop at first: twice the time that numpy itself takes to load. Nothing here needs it.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# What is loaded at a start stays. To look through it again after each 2,000 new objects took a
# twentieth of a cold start; see ``core.garbage_collection`` for reading.
gc.set_threshold(50_000)
