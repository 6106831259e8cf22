"""What a client asks for: how it is heard, how it is answered, and how that sounds."""

from __future__ import annotations

from dataclasses import dataclass

from services.sophia.tool_use import NO_TOOLS
from services.sophia.tools import Offer
from shared.audio import RATE


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Rates in Hz."""

    input_rate: int = RATE
    output_rate: int = RATE
    language: str = "en-US"
    voice: str = ""
    system: str = ""
    animation: bool = False
    emotion: str = ""
    """In which the face begins each reply."""
    speed: float = 1.0
    """Of the voice; 1 is its own."""
    silent: bool = False
    """Replies are read and not heard."""
    answers: bool = True
    """What was said is answered. Otherwise it is only told, and `respond` asks for the answer."""
    interruptible: bool = True
    """Speech over a reply hushes it, and may end it."""
    offer: Offer = NO_TOOLS
    """The client's own functions, and what must be called."""
    hands_over: bool = False
    """A call of one of them ends the reply, and the client asks for the next. Otherwise the reply waits."""
