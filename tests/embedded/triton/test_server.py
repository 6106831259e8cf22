from __future__ import annotations

from pathlib import Path

import pytest

from embedded.triton import server
from embedded.triton.installation import Installation
from embedded.triton.settings import TritonSettings
from shared.errors import StartupError

INSTALLED = Installation(
    env=Path("/env"),
    python="3.11",
    libdir=Path("/usr/lib"),
    tritonserver=Path("/env/tritonserver"),
    backend=Path("/env/libtriton_python.so"),
    backend_utils=Path("/env/triton_python_backend_utils.py"),
    stub=Path("/env/stub"),
)


def test_the_stub_finds_its_own_python_first() -> None:
    inherited = {
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/opt/lib",
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/y",
        "HOME": "/root",
    }
    assert server.environment(INSTALLED, inherited) == {
        "PATH": "/env/bin:/bin",
        "LD_LIBRARY_PATH": "/usr/lib:/opt/lib",
        "VIRTUAL_ENV": "/env",
        "HOME": "/root",
    }


def test_every_address_is_bound_and_only_the_named_models_are_loaded() -> None:
    settings = TritonSettings(host="127.0.0.2", http_port=1, grpc_port=2, metrics_port=3, models=("a", "b"))
    command = server.command(settings, INSTALLED, Path("/backends"))
    assert command[0] == "/env/tritonserver"
    assert {f"--{kind}-address=127.0.0.2" for kind in ("http", "grpc", "metrics")} < set(command)
    assert {"--http-port=1", "--grpc-port=2", "--metrics-port=3"} < set(command)
    assert [part for part in command if "model" in part] == [
        f"--model-repository={settings.repository}",
        "--model-control-mode=explicit",
        "--load-model=a",
        "--load-model=b",
    ]


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(StartupError, match=r"there is no model absent in .*models"):
        server.prepare(
            TritonSettings(http_port=65001, grpc_port=65002, metrics_port=65003, models=("absent",))
        )
