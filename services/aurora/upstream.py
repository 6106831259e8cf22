"""What aurora asks of any Audio2Face."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from services.aurora.audio2face import Emotions, Frame, Names
from shared.phones import Mark


class Stream(Protocol):
    """The sound of one turn, and its frames. Every method raises PeerError; leaving the context cancels what
    is not finished."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, pcm: bytes, emotions: Emotions | None = None) -> None:
        """PCM16 mono at 16 kHz; `emotions` hold from its first sample on."""

    def tell(self, marks: Sequence[Mark]) -> None:
        """Phones and words of the sound that comes next. An upstream that has no use for them drops them."""

    async def end(self) -> None: ...

    def parts(self) -> AsyncIterator[Names | Frame]:
        """Ends after Audio2Face has said that all went well."""


class Upstream(Protocol):
    @property
    def gives_frames(self) -> bool:
        """Whether the frames come back here, and not by Live Link to where the face is."""

    def animate(self, emotions: Emotions) -> Stream: ...

    async def probe(self) -> None:
        """Raises PeerError."""

    async def close(self) -> None: ...
