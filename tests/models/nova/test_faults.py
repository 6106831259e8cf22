"""What goes wrong in the engine costs its requests, not the server. Each test has a server of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from embedded.triton.guardian import REGION, SHARED_MEMORY
from tests.fixtures.launch import ROOT
from tests.fixtures.triton import Triton, triton_server
from tests.models.nova.wire import HELLO, LONG, eventually, post, responses, streamed, texts

SHORT = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}


def repository(folder: Path, **parameters: str) -> dict[str, str]:
    """The environment of a server whose nova has other parameters, and the same weights."""
    nova = folder / "models" / "nova"
    shutil.copytree(ROOT / "models" / "nova", nova)
    config = (nova / "config.pbtxt").read_text()
    for name, value in parameters.items():
        head, key, tail = config.partition(f'key: "{name}" value: {{ string_value: "')
        assert key, f"config.pbtxt has no parameter {name}"
        config = head + key + value + tail[tail.index('"') :]
    (nova / "config.pbtxt").write_text(config)
    return {"VOXLOOP_TRITON_REPOSITORY": str(folder / "models")}


def engine_of(server: Triton) -> psutil.Process:
    return next(process for process in server.stubs if "1.process" in process.cmdline())


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """Room for 16 requests and none to wait, and a cache of 1024 tokens."""
    folder = tmp_path_factory.mktemp("tight")
    with triton_server(
        folder, repository(folder, max_running="16", max_waiting="0", cache_tokens="1024")
    ) as server:
        yield server


async def test_an_engine_that_dies_fails_its_requests_and_comes_back(tmp_path: Path) -> None:
    with triton_server(tmp_path) as server:
        async with InferenceServerClient(server.grpc) as client:
            answers = responses(client, HELLO, LONG)
            assert texts(await anext(answers))
            engine_of(server).kill()
            with pytest.raises(InferenceServerException, match="the engine's process ended by SIGKILL"):
                async for _ in answers:
                    pass
            await eventually(lambda: post(server, {"text_input": HELLO}).is_success)
            assert await streamed(client, HELLO, SHORT)
        assert server.process.poll() is None


def suspend_the_first_engine(repository: Path) -> tuple[psutil.Process, Path]:
    """As soon as it is there, amid its start; and the memory that its stub shares with the server."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline", "cwd"]):
            told = process.info
            if "1.process" in (told["cmdline"] or ()) and told["cwd"] == str(repository / "nova"):
                process.suspend()
                stub = psutil.Process(process.ppid())
                (region,) = (word for word in stub.cmdline() if word.startswith(REGION))
                return process, SHARED_MEMORY / region
        time.sleep(0.02)  # of another process's children nothing tells us
    raise AssertionError("no engine was started")


def test_an_engine_that_stands_still_while_it_loads_is_started_again(tmp_path: Path) -> None:
    """Seen once, in a container: its threads slept, and none would ever wake another."""
    env = repository(tmp_path, stall_s="1")
    with ThreadPoolExecutor(1) as pool:
        suspended = pool.submit(suspend_the_first_engine, Path(env["VOXLOOP_TRITON_REPOSITORY"]))
        with triton_server(tmp_path, env) as server:
            assert not suspended.result()[0].is_running()
            assert post(server, {"text_input": HELLO}).is_success
        assert "stood still for 1 s while it loaded its model; starting it again" in server.log.read_text()


def test_a_start_that_hangs_ends_the_server_for_its_supervisor_to_start_another(tmp_path: Path) -> None:
    env = repository(tmp_path, stall_s="600") | {"VOXLOOP_TRITON_START_S": "3"}
    with ThreadPoolExecutor(1) as pool:
        suspended = pool.submit(suspend_the_first_engine, Path(env["VOXLOOP_TRITON_REPOSITORY"]))
        with (
            pytest.raises(AssertionError, match="triton: not started after 3 s; ending it"),
            triton_server(tmp_path, env),
        ):
            pass
    engine, region = suspended.result()
    assert not psutil.wait_procs([engine], timeout=20)[1]
    assert not region.exists()


async def test_a_request_that_outgrows_the_cache_is_told_so(tight: Triton) -> None:
    async with InferenceServerClient(tight.grpc) as client:
        complaint = "the engine's key-value cache is full; try again later"
        with pytest.raises(InferenceServerException, match=complaint):
            await streamed(client, HELLO, LONG)
        assert await streamed(client, HELLO, SHORT)


async def test_one_request_too_many_is_refused_at_once(tight: Triton) -> None:
    async with InferenceServerClient(tight.grpc) as client, asyncio.TaskGroup() as group:
        sampling = {"max_tokens": 40, "temperature": 1, "ignore_eos": True, "n": 1}
        asked = [group.create_task(refused_or_served(client, sampling)) for _ in range(64)]
    outcomes = {task.result() for task in asked}
    assert "" in outcomes
    assert outcomes - {""}
    assert all("the engine is full: it has 16 requests; try again later" in text for text in outcomes - {""})


async def refused_or_served(client: InferenceServerClient, sampling: object) -> str:
    try:
        await streamed(client, HELLO, sampling)
    except InferenceServerException as error:
        return str(error)
    return ""
