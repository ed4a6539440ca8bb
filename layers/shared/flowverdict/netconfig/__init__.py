"""Security groups and network ACLs as AWS holds them, and what they say to one packet.

``model`` is the configuration, ``evaluate`` the answers with their evidence, ``snapshot`` reads the answers of EC2's
``Describe*`` calls, from a file or from the API alike. Those three are pure. ``describe`` makes the calls, ``ec2`` decides
which ones a set of rejected flows needs.
"""
