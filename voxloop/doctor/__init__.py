"""`voxloop doctor`: what is wrong on this machine, why, and what to do. It looks and never acts.

Facts are collected once, concurrently, into frozen dataclasses (facts.py); checks are data over them
(checks.py and its three parts, a phase each). Nothing here starts, stops, downloads or writes anything.
"""
