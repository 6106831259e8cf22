from __future__ import annotations

from pathlib import Path

import httpx
import psutil

from embedded.triton.guardian import REGION, SHARED_MEMORY, STUB
from tests.fixtures.triton import MODEL, triton_server


def test_a_server_that_is_killed_at_work_leaves_neither_processes_nor_memory(tmp_path: Path) -> None:
    body = {
        "text_input": "Hello",
        "parameters": {"stream": True, "max_tokens": 2000, "temperature": 1, "ignore_eos": True},
    }
    with triton_server(tmp_path) as server:
        family = server.stubs
        (stub,) = (process for process in family if process.name().startswith(STUB[:15]))
        (region,) = (SHARED_MEMORY / word for word in stub.cmdline() if word.startswith(REGION))
        assert region.exists()
        with httpx.stream("POST", f"{server.url}/v2/models/{MODEL}/generate_stream", json=body) as answer:
            assert next(answer.iter_lines())
            server.process.kill()
            assert not psutil.wait_procs(family, timeout=20)[1]
        assert not region.exists()
