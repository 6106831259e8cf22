"""The phones and words that ride on a message of Audio2Face's protocol, in fields that are none of it.

See proto/face/v1/face.proto for why.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from embedded.face import metrics
from embedded.face.timed import TimedSpeech
from shared.phones import Phone, Word
from shared.wire.audio2face import messages_pb2
from shared.wire.face.v1 import face_pb2

MAX_MARKS = 1024
"""Of either in one message, which holds ten seconds of sound at most."""
MAX_BYTES = 1 << 18
"""Of what stands in a message beside its sound."""


def read_marks(message: messages_pb2.AudioWithEmotionStream, timed: TimedSpeech) -> None:
    """Adds what the message brings, good or bad, to `timed`; never raises for it."""
    faults, used, told = timed.faults.copy(), timed.used, face_pb2.Timing()
    try:
        if message.ByteSize() - len(message.audio_with_emotion.audio_buffer) <= MAX_BYTES:
            told.MergeFromString(message.SerializeToString())
        else:
            timed.faults["too many"] += 1
    except DecodeError:
        told.Clear()
        timed.faults["not readable"] += 1
    timed.add(Phone(mark.start_s, mark.end_s, mark.label) for mark in told.phones[:MAX_MARKS])
    timed.add(Word(mark.start_s, mark.end_s, mark.label) for mark in told.words[:MAX_MARKS])
    if ignored := sum(max(0, len(marks) - MAX_MARKS) for marks in (told.phones, told.words)):
        timed.faults["too many"] += ignored
    metrics.MARKS.labels("used").inc(timed.used - used)
    for fault, count in (timed.faults - faults).items():
        metrics.MARKS.labels(fault).inc(count)
