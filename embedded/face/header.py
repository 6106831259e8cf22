"""The stream header: what a client announces, checked and turned into our own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embedded.face.blendshapes import INDEX, NAMES, Array
from embedded.face.engine import Tuning
from embedded.face.expression import STRENGTH, TRANSITION_S, Emotions
from shared.errors import AudioError
from shared.wire.audio2face import audio_pb2, messages_pb2

MIN_RATE, MAX_RATE = 16_000, 144_000  # Hz, as Audio2Face-3D documents them
BITS = 16


@dataclass(frozen=True)
class StreamHeader:
    rate: int
    """Hz of the sound that follows."""
    emotions: Emotions
    tuning: Tuning


def read_header(header: messages_pb2.AudioWithEmotionStreamHeader) -> StreamHeader:
    """Raises AudioError for a format that is not served."""
    _check_format(header.audio_header)
    parameters, post = header.emotion_params, header.emotion_post_processing_params
    emotions = Emotions(
        parameters.beginning_emotion,
        parameters.live_transition_time if parameters.HasField("live_transition_time") else TRANSITION_S,
        post.emotion_strength if post.HasField("emotion_strength") else STRENGTH,
    )
    shapes = header.blendshape_params
    tuning = Tuning(
        multipliers=_per_shape(shapes.bs_weight_multipliers, 1.0),
        offsets=_per_shape(shapes.bs_weight_offsets, 0.0),
        clamp=shapes.enable_clamping_bs_weight if shapes.HasField("enable_clamping_bs_weight") else True,
    )
    return StreamHeader(header.audio_header.samples_per_second, emotions, tuning)


def _check_format(audio: audio_pb2.AudioHeader) -> None:
    if audio.audio_format != audio_pb2.AudioHeader.AUDIO_FORMAT_PCM:
        raise AudioError(f"audio_format {audio.audio_format} is not served, only AUDIO_FORMAT_PCM")
    if audio.channel_count != 1:
        raise AudioError(f"channel_count must be 1, not {audio.channel_count}")
    if audio.bits_per_sample != BITS:
        raise AudioError(f"bits_per_sample must be {BITS}, not {audio.bits_per_sample}")
    if not MIN_RATE <= audio.samples_per_second <= MAX_RATE:
        raise AudioError(
            f"samples_per_second must be within {MIN_RATE}..{MAX_RATE}, not {audio.samples_per_second}"
        )


def _per_shape(values: Mapping[str, float], default: float) -> Array:
    """(52,); names of other face models are passed over, as Audio2Face does."""
    result = np.full(len(NAMES), default, np.float32)
    for name, value in values.items():
        if name in INDEX:
            result[INDEX[name]] = value
    return result
