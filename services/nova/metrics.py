"""What nova measures itself: Triton counts a cancelled stream as a success and times no decoupled model."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import LATENCY_BUCKETS

_UPSTREAM = ("contract", "model")

FIRST_TOKEN = Histogram(
    "voxloop_nova_time_to_first_token_seconds",
    "From the arrival of a streamed request to its first text, the wait for a place included",
    _UPSTREAM,
    buckets=LATENCY_BUCKETS,
)
INTER_TOKEN = Histogram(
    "voxloop_nova_inter_token_seconds",
    "Between one piece of a streamed answer and the next",
    _UPSTREAM,
    buckets=LATENCY_BUCKETS,
)
ANSWER = Histogram(
    "voxloop_nova_answer_seconds",
    "From the arrival of a request to the end of its answer",
    (*_UPSTREAM, "finish_reason"),
    buckets=(*LATENCY_BUCKETS, 20.0, 30.0, 60.0, 120.0),
)
TOKENS = Counter(
    "voxloop_nova_tokens_total", "Tokens read (prompt) and made (completion)", (*_UPSTREAM, "kind")
)
CANCELLED = Counter(
    "voxloop_nova_cancelled_total", "Answers that the caller gave up, waiting or running", _UPSTREAM
)
FAILED = Counter("voxloop_nova_failed_total", "Answers that ended in an error", (*_UPSTREAM, "code"))
QUEUE = Histogram("voxloop_nova_queue_seconds", "Wait for a place", ("lane",), buckets=LATENCY_BUCKETS)
IN_FLIGHT = Gauge("voxloop_nova_in_flight", "Answers being generated", ("lane",))
WAITING = Gauge("voxloop_nova_waiting", "Answers waiting for a place", ("lane",))
REJECTED = Counter("voxloop_nova_rejected_total", "Answers refused for want of a place", ("lane", "reason"))
CIRCUIT = Gauge("voxloop_nova_circuit_open", "1 while the upstream is left alone after failures", _UPSTREAM)
