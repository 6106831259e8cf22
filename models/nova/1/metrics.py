"""The engine's own figures on Triton's /metrics, each labelled with the model's name."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from .messages import Stats


class Metrics:
    """Each call to Triton is a round trip between processes: only what changed is told."""

    def __init__(self, model: str) -> None:
        gauge, counter = pb_utils.MetricFamily.GAUGE, pb_utils.MetricFamily.COUNTER
        self._families = [  # they must outlive their metrics
            pb_utils.MetricFamily(name=f"voxloop_engine_{name}", description=description, kind=kind)
            for name, description, kind in (
                ("running", "Answers that the engine is generating", gauge),
                ("waiting", "Requests that wait for the engine", gauge),
                ("generated_tokens_total", "Tokens that the engine has generated", counter),
                ("cancelled_total", "Requests whose cancellation has reached the engine", counter),
            )
        ]
        self._running, self._waiting, self._tokens, self._cancelled = (
            family.Metric(labels={"model": model}) for family in self._families
        )
        self._last = Stats()

    def close(self) -> None:
        """Triton's stub crashes at its end when a metric is still there."""
        del self._running, self._waiting, self._tokens, self._cancelled, self._families

    def report(self, stats: Stats) -> None:
        """An engine that was started again counts from 0; the counters go on."""
        last, self._last = self._last, stats
        if stats.running != last.running:
            self._running.set(stats.running)
        if stats.waiting != last.waiting:
            self._waiting.set(stats.waiting)
        if stats.generated_tokens > last.generated_tokens:
            self._tokens.increment(stats.generated_tokens - last.generated_tokens)
        if stats.cancelled > last.cancelled:
            self._cancelled.increment(stats.cancelled - last.cancelled)
