"""/metrics, and the buckets that all latency histograms share."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

LATENCY_BUCKETS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
)  # fmt: skip
"""Seconds: fine below 50 ms, where this product lives, and up to a hopeless 10 s."""

TASKS = Gauge("voxloop_asyncio_tasks", "Tasks of the event loop that have not ended.")

router = APIRouter(tags=["metrics"])


@router.get("/metrics")
async def metrics() -> Response:
    TASKS.set(len(asyncio.all_tasks()))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
