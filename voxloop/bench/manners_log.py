"""What a service's log tells of faults that nobody has handled."""

from __future__ import annotations


def unhandled(log: str) -> int:
    return log.count(" ERROR ") + log.count("Traceback")
