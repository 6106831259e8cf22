"""Refuses at once what would only fail slowly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import PeerUnavailable, VoxloopError


class Circuit:
    """Opens after `failures` retryable failures in a row, rests, then lets one attempt try.

    Only what is `retryable` counts: a refusal is an answer. An attempt that somebody's success overtook says
    nothing about now, and does not count either.
    """

    def __init__(
        self, peer: str, *, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._peer = peer
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0
        self._trying = False
        self._successes = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    def check(self) -> None:
        """Raises PeerUnavailable where an attempt would not be let through."""
        if self.is_open and (self._trying or self._clock() < self._rests_until):
            raise PeerUnavailable(
                self._peer,
                f"it failed {self._failures} times in a row and is asked only every {self._rest_s:g} s now",
            )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        self.check()
        is_trial, since = self.is_open, self._successes
        self._trying = self._trying or is_trial
        try:
            yield
        except VoxloopError as error:
            if error.retryable and since == self._successes:
                self._failures += 1
                self._rests_until = self._clock() + self._rest_s
            elif not error.retryable:
                self.succeeded()
            raise
        else:
            self.succeeded()
        finally:
            if is_trial:
                self._trying = False

    def succeeded(self) -> None:
        """The peer answers; also to be said at the first token, long before the last."""
        self._failures = 0
        self._successes += 1
