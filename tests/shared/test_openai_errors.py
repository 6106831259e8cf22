"""What OpenAI's clients are told, whatever went wrong."""

from __future__ import annotations

import orjson
import pytest

from shared.errors import InputError, Overloaded, PeerUnavailable, UnknownModel, VoxloopError
from shared.openai_errors import error_body, failure


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (InputError("no"), 400, "invalid_request_error", "bad_request"),
        (UnknownModel("no"), 404, "invalid_request_error", "model_not_found"),
        (Overloaded("no"), 429, "rate_limit_error", "overloaded"),
        (PeerUnavailable("riva", "no"), 503, "api_error", "peer_unavailable"),
    ],
)
def test_an_error_has_openais_form(error: VoxloopError, status: int, kind: str, code: str) -> None:
    response = failure(error)
    assert response.status_code == status
    assert orjson.loads(response.body) == error_body(error)
    told = error_body(error)["error"]
    assert told == {"message": str(error), "type": kind, "param": None, "code": code}


def test_who_may_try_again_is_told_when() -> None:
    assert failure(Overloaded("full")).headers["retry-after"] == "1"
    assert "retry-after" not in failure(InputError("no")).headers
