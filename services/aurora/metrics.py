"""What aurora tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import LATENCY_BUCKETS

ACTIVE = Gauge("voxloop_aurora_active_turns", "Turns that are animated now")
TURNS = Counter("voxloop_aurora_turns_total", "Turns that ended: done, cancelled, failed", ["outcome"])
FRAMES = Counter("voxloop_aurora_frames_total", "Frames sent to the callers of Animate")
PEER_ERRORS = Counter("voxloop_aurora_peer_errors_total", "Faults of Audio2Face, by code", ["code"])
FIRST_FRAME = Histogram(
    "voxloop_aurora_first_frame_seconds",
    "From a turn's first sound to its first frame",
    buckets=LATENCY_BUCKETS,
)
LATENESS = Histogram(
    "voxloop_aurora_frame_lateness_seconds",
    "From the sound of a frame's time coming in to that frame going out",
    buckets=LATENCY_BUCKETS,
)
UNKNOWN_EMOTIONS = Counter(
    "voxloop_aurora_unknown_emotions_total", "Emotions that callers asked for and Audio2Face does not have"
)
MARKS_IGNORED = Counter(
    "voxloop_aurora_marks_ignored_total", "Phones and words of callers that were not passed on", ["reason"]
)
ROTATIONS = Counter("voxloop_aurora_rotations_total", "Streams that followed one grown too long")
SKEW = Histogram(
    "voxloop_aurora_viewer_skew_seconds",
    "How much later than its sound a frame went to the viewers; 0 when it went in time",
    buckets=LATENCY_BUCKETS,
)
STAGE_DROPS = Counter(
    "voxloop_aurora_viewer_frames_dropped_total",
    "Frames never shown to viewers: late, interrupted, or full (too far ahead of the sound)",
    ["reason"],
)
VIEWERS = Gauge("voxloop_aurora_viewers", "Viewers connected to /aurora/frames")
VIEWER_DROPS = Counter("voxloop_aurora_viewer_drops_total", "Messages dropped because a viewer was too slow")
RECORDING_FAULTS = Counter("voxloop_aurora_recording_faults_total", "Pieces of recordings that are missing")
LIVELINK_FAULTS = Counter(
    "voxloop_aurora_livelink_faults_total", "Datagrams that did not reach a Live Link host", ["host"]
)
