"""The compose files and the images: read by both versions of compose, and run where there is an engine.

Where none runs, or the base image is not to be had, those tests skip and say so. VOXLOOP_COMPOSE_V2 may name
a compose v2 that is not installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from shared.process import free_port
from tests.conftest import ROOT

OVERLAY = ("-f", "docker-compose.yml", "-f", "docker-compose.triton.yml")
OURS = ("embedded-triton", "embedded-speech", "embedded-face", "nova", "aurora", "sophia")
VERSIONS = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if re.match(r"[A-Z]", line)
)


def run(*command: str, timeout_s: float = 60, **env: str) -> str:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


def compose_v2() -> str | None:
    named = os.environ.get("VOXLOOP_COMPOSE_V2")
    places = (
        "/usr/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/local/lib/docker/cli-plugins",
    )
    return named or next(
        (f"{at}/docker-compose" for at in places if Path(at, "docker-compose").is_file()), None
    )


@pytest.fixture(params=["1.29", "v2"])
def compose(request: pytest.FixtureRequest) -> str:
    program = shutil.which("docker-compose") if request.param == "1.29" else compose_v2()
    if not program:
        pytest.skip(f"no compose {request.param} on this machine")
    return program


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    run("sh", "deploy/prepare.sh")


@cache
def configuration(compose: str, *files: str, profiles: str = "", **more: str) -> dict[str, Any]:
    env = {**VERSIONS, "COMPOSE_PROFILES": profiles, **more}
    text = run(compose, "--env-file", ".env.example", *files, "config", **env)
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def mounts(service: dict[str, Any]) -> set[str]:
    return {
        mount["target"] if isinstance(mount, dict) else mount.split(":")[1]
        for mount in service.get("volumes", [])
    }


def published(service: dict[str, Any]) -> set[int]:
    ports = service.get("ports", [])
    assert all(
        str(port.get("host_ip") if isinstance(port, dict) else port).startswith("127.0.0.1") for port in ports
    )
    return {
        int(port["target"] if isinstance(port, dict) else port.rpartition(":")[2].split("/")[0])
        for port in ports
    }


def gpus(service: dict[str, Any]) -> object:
    reservations = service.get("deploy", {}).get("resources", {}).get("reservations", {})
    for device in reservations.get("devices", []):
        assert device["driver"] == "nvidia"
        assert device["capabilities"] == ["gpu"]
        return device.get("device_ids") or {-1: "all"}.get(device["count"], device["count"])
    return None


# What compose reads


def test_the_local_stack_runs_each_service_hardened(compose: str) -> None:
    services = configuration(compose)
    active = {name: each for name, each in services.items() if not each.get("profiles")}
    assert set(active) == {*OURS, "certificates"}
    for name, service in active.items():
        assert service["user"] == "10001:10001", name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        if name != "certificates":
            assert service["healthcheck"]["test"][:3] == ["CMD", "python", "probe.py"], name
            assert service["stop_grace_period"], name
    assert {name: published(each) for name, each in active.items() if published(each)} == {
        "nova": {8010, 8011},
        "aurora": {8030, 8031},
        "sophia": {8020},
        "embedded-triton": {8000, 8001, 8002},
        "embedded-speech": {50051},
        "embedded-face": {52000},
    }


def test_what_knows_no_key_is_published_on_this_machine_alone(compose: str) -> None:
    """published() holds each port to 127.0.0.1."""
    env = {"VOXLOOP_BIND": "0.0.0.0"}
    services = configuration(compose, *OVERLAY, profiles="vllm,trtllm,monitoring,embedded", **env)
    for name in (*NVIDIA, "embedded-triton", "embedded-speech", "embedded-face"):
        assert published(services[name])
    with pytest.raises(AssertionError):
        published(services["sophia"])


def test_monitoring_is_a_profile(compose: str) -> None:
    services = configuration(compose, profiles="monitoring")
    wanted = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
    assert {name: published(services[name]) for name in wanted} == {
        name: {port} for name, port in wanted.items()
    }
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/rules", "/etc/prometheus/targets"} <= mounts(
        services["prometheus"]
    )
    assert services["node-exporter"]["image"] == f"prom/node-exporter:{VERSIONS['NODE_EXPORTER_TAG']}"


TRITON_MOUNTS = {"/models", "/probe.py", "/hf-cache"}
NVIDIA = {
    "triton": ("tritonserver:26.09-vllm-python-py3", ["0"], TRITON_MOUNTS, {8000, 8001, 8002}),
    "triton-trtllm": ("tritonserver:26.09-trtllm-python-py3", ["0"], TRITON_MOUNTS, {8000, 8001, 8002}),
    "riva": ("riva/riva-speech:2.19.0", ["1"], {"/data", "/tls"}, {50051}),
    "audio2face": ("audio2face-3d:2.0", ["2"], {"/tmp/a2x"}, {52000}),  # noqa: S108
    "dcgm-exporter": ("k8s/dcgm-exporter:4.5.3-4.8.2-distroless", "all", set(), {9400}),
}


@pytest.mark.parametrize("name", NVIDIA)
def test_the_overlay_brings_each_of_nvidias_containers(compose: str, name: str) -> None:
    image, devices, mounted, ports = NVIDIA[name]
    service = configuration(compose, *OVERLAY, profiles="vllm,trtllm,monitoring")[name]
    home = "nvcr.io/nim/nvidia" if name == "audio2face" else "nvcr.io/nvidia"
    assert service["image"] == f"{home}/{image}"
    assert gpus(service) == devices
    assert mounts(service) == mounted
    assert published(service) == ports
    internal_only = set(service["networks"]) == {"engines"}
    assert not internal_only, "an internal network publishes no port"
    if name == "dcgm-exporter":
        assert service["cap_add"] == ["SYS_ADMIN"]
        return
    assert service["ulimits"]["memlock"] == -1
    assert str(service["shm_size"]) in {"1gb", "1073741824"}
    probe = " ".join(service["healthcheck"]["test"])
    assert {"triton": "probe.py triton", "riva": "grpc_health_probe", "audio2": "/v1/health/ready"}[
        name[:6].removesuffix("-") if name != "riva" else name
    ] in probe


def test_the_overlay_takes_the_embedded_engines_places(compose: str) -> None:
    services = configuration(compose, *OVERLAY, profiles="vllm,monitoring")
    running = {
        name for name, each in services.items() if not {"embedded", "trtllm"} & set(each.get("profiles", []))
    }
    assert running >= {"triton", "riva", "audio2face", "nova", "aurora", "sophia", "dcgm-exporter"}
    assert not running & {"embedded-triton", "embedded-speech", "embedded-face", "triton-trtllm"}
    assert services["nova"]["environment"]["NOVA_CONTRACT"] == "vllm"
    assert "probe.py" in str(services["triton"]["healthcheck"])
    assert "dgx" in str(services["prometheus"]["volumes"])


# What is written


def test_every_version_is_pinned_in_one_place_and_none_is_latest() -> None:
    for name in ("docker-compose.yml", "docker-compose.triton.yml", "Dockerfile"):
        for image in re.findall(r"^\s*(?:image:|FROM) *(\S+)", (ROOT / name).read_text(), re.MULTILINE):
            assert ":" not in image or "${" in image, f"{name}: {image} has a version of its own"
    tags = {key: value for key, value in VERSIONS.items() if key.endswith("_TAG")}
    assert len(tags) >= 11
    for key, tag in tags.items():
        assert re.search(r"\d+\.\d+", tag), key
    tracked = run("git", "ls-files", "-z").split("\0")
    files = [ROOT / name for name in tracked if name.endswith((".yml", ".sh", "Dockerfile", ".example"))]
    assert not [path for path in files if re.search(r":latest\b|=latest\b", path.read_text())]


def test_no_secret_is_tracked_or_sent_to_the_engine() -> None:
    assert run("git", "check-ignore", ".env", "secrets/nova_api_key").split() == [
        ".env",
        "secrets/nova_api_key",
    ]
    context = (ROOT / ".dockerignore").read_text().splitlines()
    assert context[1] == "*"
    assert not any("secrets" in line or ".env" in line for line in context[2:])
    assert not [key for key in VERSIONS if re.search("KEY|PASSWORD|TOKEN|SECRET", key)]


def test_scripts_pass_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck on this machine")
    run(
        "shellcheck",
        "deploy/prepare.sh",
        "deploy/host.sh",
        "setup.sh",
        ".ci/run",
        ".ci/base-image",
        ".ci/engine",
        ".ci/compose-v2",
    )


def test_the_dockerfile_keeps_the_rules_that_hadolint_has() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert all(re.match(r"\S+ AS [a-z-]+\n", stage) for stage in stages), "each stage has a name"
    for line in text.splitlines():
        assert not re.match(r"(ADD|MAINTAINER)\b", line)
        assert "sudo" not in line
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert "apt-get update" in line
        if "pip install" in line:
            assert "--require-hashes" in line
    finals = {stage.split()[2]: stage for stage in stages}
    for image in ("service", "engine", "triton"):
        assert finals[image].rstrip().split("USER ")[-1].startswith("10001:10001"), image
    assert not re.search(r"\b(gcc|g\+\+|clang|build-essential)\b", text)


# What runs


class Containers:
    """The local stack under a project name and on ports of its own."""

    def __init__(self, compose: str) -> None:
        self.project = f"voxloop-test-{os.getpid()}"
        self.env = {
            **VERSIONS,
            **{name: str(free_port()) for name in VERSIONS if name.endswith("_PORT")},
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_PROFILES": "",
            "DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0"),
        }
        self._compose = compose

    def compose(self, *arguments: str, timeout_s: float = 120) -> str:
        return run(
            self._compose, "--env-file", ".env.example", *arguments,
            timeout_s=timeout_s, **self.env,
        )  # fmt: skip

    def inspect(self, service: str) -> dict[str, Any]:
        (container,) = self.compose("ps", "-q", service).split()
        details: dict[str, Any] = json.loads(run("docker", "inspect", container))[0]
        return details

    def until_healthy(self, deadline_s: float = 420) -> None:
        """Longer than the embedded engine may take to give up a start (300 s) and be started again."""
        deadline = time.monotonic() + deadline_s
        while waiting := [
            name for name in OURS if self.inspect(name)["State"]["Health"]["Status"] != "healthy"
        ]:
            assert time.monotonic() < deadline, f"{waiting}: {self.compose('logs', '--tail=20', *waiting)}"
            time.sleep(0.5)  # between two asks of another process there is no event to await

    def voxloop(self, *arguments: str) -> dict[str, Any]:
        """As from a shell of this machine."""
        told = run("sh", "deploy/host.sh", "voxloop", *arguments, "--json", timeout_s=180, **self.env)
        answer: dict[str, Any] = json.loads(told)
        return answer

    def talk(self, folder: Path) -> dict[str, Any]:
        files = ("--reply", str(folder / "reply.wav"), "--frames", str(folder / "face.jsonl"))
        return self.voxloop("talk", "samples/question.wav", *files)

    def left(self) -> str:
        return "".join(
            run(
                "docker",
                kind,
                "ls",
                "-q",
                "--filter",
                f"label=com.docker.compose.project={self.project}",
                *more,
            )
            for kind, more in (("container", ["-a"]), ("network", []), ("volume", []))
        )


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    program = shutil.which("docker-compose")
    engine = shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False)
    if not program or not engine or engine.returncode:
        pytest.skip("no Docker engine runs here")
    base = f"debian:{VERSIONS['DEBIAN_TAG']}"
    found = subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False)
    if (
        found.returncode
        and subprocess.run(["docker", "pull", "-q", base], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"the image {base} is not to be had here")
    stack = Containers(program)
    try:
        stack.compose("build", timeout_s=900)
        stack.compose("up", "-d")
        stack.until_healthy()
        yield stack
    finally:
        stack.compose("down", "-v", "--remove-orphans")
    assert stack.left() == ""


def test_a_question_from_outside_is_answered(containers: Containers, tmp_path: Path) -> None:
    turn = containers.talk(tmp_path)
    assert "paris" in turn["answer"].lower()
    assert turn["faults"] == []
    assert turn["frames"] > 0


def test_doctor_and_smoke_reach_every_part_from_outside(containers: Containers, tmp_path: Path) -> None:
    """Riva by the CA of the containers, nova and aurora by their gRPC ports and keys."""
    told = containers.voxloop("smoke", "--out", str(tmp_path))
    ticks = {point["id"]: point["tick"] for point in told["points"]}
    ours = ("riva", "triton", "audio2face", "services", "nova", "tts", "aurora", "turn")
    assert {name: ticks[name] for name in ours} == dict.fromkeys(ours, "done"), told
    assert ticks["grafana"] == ticks["prometheus"] == "not applicable"


def test_an_engine_has_no_way_out(containers: Containers) -> None:
    """The network by which its port is published leads nowhere: no name server of the internet is reached."""
    reach = "import socket; socket.create_connection(('9.9.9.9', 53), 3)"
    container = containers.inspect("embedded-face")["Id"]
    found = subprocess.run(
        ["docker", "exec", container, "python", "-c", reach], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "Error" in found.stderr


def test_without_the_key_nobody_is_served(containers: Containers) -> None:
    for service, path in (("NOVA", "/v1/models"), ("SOPHIA", "/metrics"), ("AURORA", "/metrics")):
        url = f"http://127.0.0.1:{containers.env[f'{service}_PORT']}{path}"
        assert httpx.get(url, trust_env=False).status_code == 401, service


@pytest.mark.parametrize("service", OURS)
def test_a_container_is_held_to_its_limits_and_carries_no_secret(
    containers: Containers, service: str
) -> None:
    details = containers.inspect(service)
    host = details["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert details["Config"]["User"] == "10001:10001"
    told = json.dumps(details)
    for secret in (ROOT / "secrets").iterdir():
        assert not secret.read_text() or secret.read_text() not in told
    tools = "command -v gcc cc ld as pip apt-get-build || true"
    assert run("docker", "exec", details["Id"], "sh", "-c", tools) == ""


@pytest.mark.parametrize("service", ["embedded-triton", "sophia"])
def test_a_container_that_is_killed_comes_back_and_the_next_turn_works(
    containers: Containers, service: str, tmp_path: Path
) -> None:
    before = containers.inspect(service)["State"]
    if not Path(f"/proc/{before['Pid']}").exists() or os.geteuid():
        pytest.skip("the engine's processes are not ours to kill")
    os.kill(before["Pid"], signal.SIGKILL)  # a crash: `docker kill` would count as a wish
    deadline = time.monotonic() + 60
    while containers.inspect(service)["State"]["StartedAt"] == before["StartedAt"]:
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.2)  # between two asks of another process there is no event to await
    containers.until_healthy()
    assert "paris" in containers.talk(tmp_path)["answer"].lower()
