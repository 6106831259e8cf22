"""sophia's own metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import LATENCY_BUCKETS

TURN_STAGE = Histogram(
    "voxloop_turn_stage_seconds", "Where the time of a turn goes.", ["stage"], buckets=LATENCY_BUCKETS
)
TURN_LATENCY = Histogram(
    "voxloop_turn_latency_seconds",
    "From the end of a question to the first sound of its reply.",
    buckets=LATENCY_BUCKETS,
)
SESSIONS = Gauge("voxloop_sophia_sessions", "Open voice sessions.")
TURNS = Counter("voxloop_sophia_turns_total", "Turns by how they ended.", ["end"])
PAUSES = Counter(
    "voxloop_sophia_pauses_total", "Replies hushed by speech over them, by what it was.", ["outcome"]
)
QUIET_FINALS = Counter(
    "voxloop_sophia_quiet_finals_total", "Utterances that ended by their quiet, because Riva sent no final."
)
END_OF_TURN = Counter(
    "voxloop_sophia_end_of_turn_total",
    "What SOPHIA_END_OF_TURN said of finals; a verdict that is late or failed is ignored.",
    ["verdict"],
)
EARLY_STARTS = Counter(
    "voxloop_sophia_early_starts_total",
    "Answers begun before the final, by whether the final was what they answer.",
    ["outcome"],
)
TOOL_CALLS = Counter(
    "voxloop_sophia_tool_calls_total", "Functions that the model called, by what came of it.", ["outcome"]
)
PHONES_IGNORED = Counter(
    "voxloop_sophia_phones_ignored_total", "Phones of Riva's behind one whose length is none."
)
FAULTS = Counter("voxloop_sophia_faults_total", "Errors told to clients.", ["code"])
UNKNOWN_EMOTIONS = Counter("voxloop_sophia_unknown_emotions_total", "Tags of replies that name none.")
FRAMES_DROPPED = Counter("voxloop_sophia_frames_dropped_total", "Face frames not sent.", ["reason"])
AUDIO_DROPPED = Counter(
    "voxloop_sophia_audio_dropped_seconds_total", "Microphone audio that Riva was too slow for."
)
