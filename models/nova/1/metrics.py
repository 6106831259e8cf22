"""The engine's own figures on Triton's /metrics, each labelled with the model's name."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from .engine import Stats


class Metrics:
    def __init__(self, model: str) -> None:
        def gauge(name: str, description: str) -> pb_utils.Metric:
            return _metric(model, name, description, pb_utils.MetricFamily.GAUGE)

        def counter(name: str, description: str) -> pb_utils.Metric:
            return _metric(model, name, description, pb_utils.MetricFamily.COUNTER)

        self._running = gauge("voxloop_engine_running", "Answers that the engine is generating")
        self._waiting = gauge("voxloop_engine_waiting", "Requests that wait for the engine")
        self._tokens = counter(
            "voxloop_engine_generated_tokens_total", "Tokens that the engine has generated"
        )
        self._cancelled = counter("voxloop_engine_cancelled_total", "Requests that were cancelled")
        self._last = Stats(0, 0, 0, 0)

    def report(self, stats: Stats) -> None:
        """Each call to Triton is a round trip between processes: only what changed is told."""
        last, self._last = self._last, stats
        if stats.running != last.running:
            self._running.set(stats.running)
        if stats.waiting != last.waiting:
            self._waiting.set(stats.waiting)
        if stats.generated_tokens != last.generated_tokens:
            self._tokens.increment(stats.generated_tokens - last.generated_tokens)
        if stats.cancelled != last.cancelled:
            self._cancelled.increment(stats.cancelled - last.cancelled)


_families: list[pb_utils.MetricFamily] = []
"""A family must outlive its metrics."""


def _metric(model: str, name: str, description: str, kind: int) -> pb_utils.Metric:
    family = pb_utils.MetricFamily(name=name, description=description, kind=kind)
    _families.append(family)
    return family.Metric(labels={"model": model})
