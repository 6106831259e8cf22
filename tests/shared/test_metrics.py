"""/metrics, as Prometheus reads it."""

from __future__ import annotations

from itertools import pairwise

import httpx
import pytest
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from shared.metrics import LATENCY_BUCKETS
from tests.shared.served import served


async def scraped() -> httpx.Response:
    async with served() as client:
        return await client.get("/metrics")


async def test_prometheus_can_read_it() -> None:
    answer = await scraped()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert {family.name for family in text_string_to_metric_families(answer.text)} >= {"python_info"}


async def test_what_is_counted_shows() -> None:
    counter = Counter("voxloop_test_events", "Events of this test", ["kind"])
    try:
        counter.labels('a "quoted" kind\n').inc(3)
        families = {family.name: family for family in text_string_to_metric_families((await scraped()).text)}
        sample = families["voxloop_test_events"].samples[0]
        assert (sample.labels["kind"], sample.value) == ('a "quoted" kind\n', 3.0)
    finally:
        REGISTRY.unregister(counter)


async def test_the_tasks_of_the_event_loop_are_counted() -> None:
    families = {family.name: family for family in text_string_to_metric_families((await scraped()).text)}
    assert families["voxloop_asyncio_tasks"].samples[0].value >= 1


@pytest.mark.parametrize("seconds", [0.0004, 0.012, 0.7, 9.0, 60.0])
def test_a_latency_falls_into_a_bucket_of_about_its_size(seconds: float) -> None:
    histogram = Histogram("voxloop_test_seconds", "Of this test", buckets=LATENCY_BUCKETS, registry=None)
    histogram.observe(seconds)
    bounds = [
        float(sample.labels["le"])
        for metric in histogram.collect()
        for sample in metric.samples
        if sample.name.endswith("_bucket") and sample.value == 1
    ]
    assert seconds <= min(bounds)
    if LATENCY_BUCKETS[0] < seconds < LATENCY_BUCKETS[-1]:
        assert min(bounds) <= 2 * seconds


def test_buckets_rise() -> None:
    assert all(low < high for low, high in pairwise(LATENCY_BUCKETS))
