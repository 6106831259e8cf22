"""How often one client address may open a session."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that, the one that came longest ago is forgotten."""
IPV6_SITE_BITS = 64
"""One customer has at least this much of the address space to himself."""


class OpeningRate:
    """`per_minute` openings for each address, in a row or spread out; 0 means any number.

    `now` gives seconds on a steady clock.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and when that was

    def wait_s(self, address: str) -> float:
        """0 where it may open a session now, and then that is counted; otherwise how long it must wait."""
        if not self._per_minute:
            return 0.0
        site, now, per_s = _site(address), self._now(), self._per_minute / 60
        left, at = self._left.pop(site, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) * per_s)
        opens = left >= 1
        self._left[site] = (left - 1 if opens else left, now)
        if len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if opens else (1 - left) / per_s


def _site(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), IPV6_SITE_BITS), strict=False))
    return str(parsed)
