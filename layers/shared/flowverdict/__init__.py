"""flowverdict says why a VPC flow was rejected, how sure it is, and what to change.

Data passes the packages in one direction: flowlog (sources to records), flows, network, verdict,
alerts, then lifecycle, policy and delivery, with app on top (see CONTRIBUTING.md).
"""
