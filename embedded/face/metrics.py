"""How many streams run, and how they ended."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ACTIVE = Gauge("voxloop_face_active_streams", "Streams that are animated now")
STREAMS = Counter("voxloop_face_streams_total", "Streams that ended: done, cancelled, refused", ["outcome"])
FRAMES = Counter("voxloop_face_frames_total", "Frames sent")
AUDIO = Counter("voxloop_face_audio_seconds_total", "Sound received, in seconds")
MARKS = Counter(
    "voxloop_face_marks_total", "Phones and words that callers told, by what came of them", ["outcome"]
)
