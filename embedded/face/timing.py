"""The phones that ride on a message of Audio2Face's protocol, in a field that is none of it.

See proto/face/v1/face.proto for why.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from embedded.face import metrics
from embedded.face.timed import TimedPhones
from shared.phones import Phone
from shared.wire.audio2face import messages_pb2
from shared.wire.face.v1 import face_pb2

MAX_PHONES = 1024
"""Of one message, which holds ten seconds of sound at most."""


def read_phones(message: messages_pb2.AudioWithEmotionStream, phones: TimedPhones) -> None:
    """Adds what the message brings, good or bad, to `phones`; never raises for it."""
    before, used = phones.faults.copy(), phones.used
    try:
        told = face_pb2.Timing.FromString(message.SerializeToString()).phones
    except DecodeError:
        told = face_pb2.Timing().phones
        phones.faults["not readable"] += 1
    phones.add(Phone(phone.start_s, phone.end_s, phone.label) for phone in told[:MAX_PHONES])
    if len(told) > MAX_PHONES:
        phones.faults["too many"] += len(told) - MAX_PHONES
    metrics.PHONES.labels("used").inc(phones.used - used)
    for fault, count in (phones.faults - before).items():
        metrics.PHONES.labels(fault).inc(count)
