"""Find the change that a reviewer would approve, for all flows of a problem, or say why none is.

``intent`` decides whether a rule should change at all, ``candidates`` which change is the
narrowest, ``limits`` whether it can be run, ``blast_radius`` what it opens, and ``plan`` puts the
changes of a problem together. Every change is tried on the rules as read before it is offered.
"""
