"""The one error tree.

    VoxloopError
    ├── SettingsError        a setting is missing, malformed, or contradicts another
    ├── StartupError         a process of ours cannot start (port in use, missing library, …)
    ├── InputError           the caller sent what cannot be served
    │   ├── AudioError       … and it was audio
    │   ├── Unauthorized     … or it came without a valid key
    │   └── UnknownModel     … or it names a model that is not here
    ├── Overloaded           a bound of ours is reached; the same request may pass later
    └── PeerError            a server that we depend on let us down
        ├── PeerUnavailable  nobody answers there
        ├── PeerTimeout      it did not answer within its deadline
        ├── PeerCertificate  its TLS certificate is expired, foreign, or for another host
        ├── PeerRefused      it understood us and said no
        └── PeerProtocol     it answered what its protocol does not allow

Each error says what was wrong and where (`message`), and what to do (`hint`). `code` is stable and
machine-readable, `status` is the HTTP status it becomes, `retryable` says whether the very same
request may succeed later. No message holds a secret, a transcript or audio.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar, cast


class VoxloopError(Exception):
    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        return f"{self.message}{'' if self.message.endswith(('.', '!', '?')) else '.'} {self.hint}"


class SettingsError(VoxloopError):
    code = "settings"


class StartupError(VoxloopError):
    code = "startup"


class InputError(VoxloopError):
    code = "bad_request"
    status = 400


class AudioError(InputError):
    code = "bad_audio"


class Unauthorized(InputError):
    code = "unauthorized"
    status = 401


class UnknownModel(InputError):
    code = "unknown_model"
    status = 404


class Overloaded(VoxloopError):
    code = "overloaded"
    status = 429
    retryable = True


class PeerError(VoxloopError):
    """`peer` is the short name of the server: triton, riva, audio2face, nova, aurora."""

    code = "peer_error"
    status = 502

    def __init__(self, peer: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{peer}: {message}", hint=hint)
        self.peer = peer
        self.args = (peer, message)  # what pickle calls us with, on the way out of a worker process


class PeerUnavailable(PeerError):
    code = "peer_unavailable"
    status = 503
    retryable = True


class PeerTimeout(PeerError):
    code = "peer_timeout"
    status = 504
    retryable = True


class PeerCertificate(PeerError):
    code = "peer_certificate"


class PeerRefused(PeerError):
    code = "peer_refused"


class PeerProtocol(PeerError):
    code = "peer_protocol"


E = TypeVar("E", bound=VoxloopError)


def first_of(group: BaseExceptionGroup[E]) -> E:
    """The first error of what ends a TaskGroup; `except*` has chosen by its type what is in it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return cast(E, error)
