"""What a container's health check runs: a question to its own process that only real work answers.

    probe.py http URL                    a page of ours, as /readyz, which asks the dependencies in turn
    probe.py triton HTTP_URL MODEL       one token; readiness alone stays true without the model
    probe.py riva HOST:PORT CA_FILE      one word spoken, over TLS
    probe.py grpc HOST:PORT              grpc.health.v1

Exit status 0 where it works; else 1, with one line that says why. It runs often, so it imports little.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

DEADLINE_S = 8.0


def http(url: str) -> None:
    _open(urllib.request.Request(url))


def triton(url: str, model: str) -> None:
    _open(urllib.request.Request(f"{url}/v2/health/ready"))
    body = {"text_input": "Hi", "sampling_parameters": '{"max_tokens": 1}'}
    _open(
        urllib.request.Request(
            f"{url}/v2/models/{model}/generate",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
    )


def riva(target: str, ca: str) -> None:
    import grpc
    from riva.client.proto import riva_audio_pb2, riva_tts_pb2, riva_tts_pb2_grpc

    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    with grpc.secure_channel(target, credentials) as channel:
        request = riva_tts_pb2.SynthesizeSpeechRequest(
            text="a", language_code="en-US", encoding=riva_audio_pb2.LINEAR_PCM, sample_rate_hz=16000
        )
        answer = riva_tts_pb2_grpc.RivaSpeechSynthesisStub(channel).Synthesize(request, timeout=DEADLINE_S)
        if not answer.audio:
            raise OSError("no sound came")


def grpc(target: str) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=DEADLINE_S
        )
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise OSError("it does not serve")


def _open(request: urllib.request.Request) -> None:
    try:
        # No proxy: the container asks itself.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=DEADLINE_S).read()
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code}: {error.read(2000).decode(errors='replace')}") from None


def main(arguments: list[str]) -> int:
    kinds = {"http": http, "triton": triton, "riva": riva, "grpc": grpc}
    try:
        kinds[arguments[0]](*arguments[1:])
    except (KeyError, IndexError, TypeError):
        print(__doc__, file=sys.stderr)
        return 2
    except Exception as error:  # whatever it is, the container is not healthy
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
