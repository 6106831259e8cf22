"""Whether a process that nothing is heard of still gets somewhere, as Linux tells (proc(5))."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

WORKING = frozenset("RD")
"""States of a thread that runs or waits for its turn, or that waits for the disk."""


class Progress:
    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._seen: dict[str, int] = {}

    def made(self) -> bool:
        """Since the last call: has any thread run, or is one at work? False of a process that is gone."""
        before, self._seen = self._seen, {}
        working = False
        with suppress(OSError):
            for task in self._tasks.iterdir():
                with suppress(OSError):  # a thread that has just ended
                    # State, and after it user and system time as fields 14 and 15; a name may hold anything.
                    fields = (task / "stat").read_text(errors="replace").rpartition(") ")[2].split()
                    self._seen[task.name] = int(fields[11]) + int(fields[12])
                    working = working or fields[0] in WORKING
        return working or self._seen != before
