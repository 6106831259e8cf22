"""A client of Audio2Face-3D made of NVIDIA's own stubs: run with the Python of .venv-wire.

python nvidia_client.py HOST:PORT < PCM16 at 16 kHz

Prints as JSON what came: the kinds of messages in their order, names, times, weights, and the final status.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from nvidia_ace.audio_pb2 import AudioHeader
from nvidia_audio2face_3d.audio2face_pb2_grpc import A2FControllerServiceStub
from nvidia_audio2face_3d.messages_pb2 import (
    AudioWithEmotion,
    AudioWithEmotionStream,
    AudioWithEmotionStreamHeader,
    BlendShapeParameters,
    EmotionParameters,
    EmotionPostProcessingParameters,
    EmotionWithTimeCode,
    FaceParameters,
)

RATE = 16000
PIECE = RATE // 10 * 2


def requests(pcm: bytes) -> Iterator[AudioWithEmotionStream]:
    """Every kind of parameter is said, as NVIDIA's sample does from its configuration."""
    header = AudioWithEmotionStreamHeader(
        audio_header=AudioHeader(
            audio_format=AudioHeader.AUDIO_FORMAT_PCM,
            channel_count=1,
            samples_per_second=RATE,
            bits_per_sample=16,
        ),
        face_params=FaceParameters(float_params={"upperFaceStrength": 1.0, "lowerFaceSmoothing": 0.006}),
        emotion_post_processing_params=EmotionPostProcessingParameters(emotion_strength=0.6, max_emotions=3),
        blendshape_params=BlendShapeParameters(
            bs_weight_multipliers={"JawOpen": 1.0},
            bs_weight_offsets={"CheekPuff": 0.5},
            enable_clamping_bs_weight=True,
        ),
        emotion_params=EmotionParameters(live_transition_time=0.5, beginning_emotion={"joy": 1.0}),
    )
    yield AudioWithEmotionStream(audio_stream_header=header)
    emotion = [EmotionWithTimeCode(time_code=0.0, emotion={"joy": 1.0})]
    for at in range(0, len(pcm), PIECE):
        sound = AudioWithEmotion(audio_buffer=pcm[at : at + PIECE], emotions=[] if at else emotion)
        yield AudioWithEmotionStream(audio_with_emotion=sound)
    yield AudioWithEmotionStream(end_of_audio=AudioWithEmotionStream.EndOfAudio())


def conversation(target: str, pcm: bytes) -> dict[str, Any]:
    kinds: list[str] = []
    names: list[str] = []
    times: list[float] = []
    weights: list[list[float]] = []
    status: dict[str, Any] = {}
    with grpc.insecure_channel(target) as channel:
        for message in A2FControllerServiceStub(channel).ProcessAudioStream(requests(pcm), timeout=30):
            kind = message.WhichOneof("stream_part")
            kinds += [kind] if [kind] != kinds[-1:] else []
            names += message.animation_data_stream_header.skel_animation_header.blend_shapes
            for pose in message.animation_data.skel_animation.blend_shape_weights:
                times.append(pose.time_code)
                weights.append(list(pose.values))
            if kind == "status":
                status = {"code": message.status.code, "message": message.status.message}
    return {
        "grpcio": grpc.__version__,
        "kinds": kinds,
        "names": names,
        "times": times,
        "weights": weights,
        "status": status,
    }


if __name__ == "__main__":
    json.dump(conversation(sys.argv[1], sys.stdin.buffer.read()), sys.stdout)
