"""flowverdict says why a VPC flow was rejected, how sure it is, and what to change.

Data goes one way: sources -> records -> flows -> decision -> explain -> alerts -> delivery (see CONTRIBUTING.md).
"""
