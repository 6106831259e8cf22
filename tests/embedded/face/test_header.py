from __future__ import annotations

import pytest

from embedded.face.blendshapes import INDEX
from embedded.face.header import read_header
from shared.errors import AudioError
from shared.wire.audio2face import audio_pb2, messages_pb2


def header(
    rate: int = 16000, bits: int = 16, channels: int = 1, audio_format: int = 0
) -> messages_pb2.AudioWithEmotionStreamHeader:
    return messages_pb2.AudioWithEmotionStreamHeader(
        audio_header=audio_pb2.AudioHeader(
            audio_format=audio_format,  # type: ignore[arg-type]
            channel_count=channels,
            samples_per_second=rate,
            bits_per_sample=bits,
        )
    )


@pytest.mark.parametrize("rate", [16000, 44100, 144000])
def test_pcm16_mono_of_16_to_144_khz_is_served(rate: int) -> None:
    assert read_header(header(rate)).rate == rate


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (header(bits=32), "bits_per_sample must be 16, not 32"),
        (header(channels=2), "channel_count must be 1, not 2"),
        (header(rate=8000), "samples_per_second must be within 16000..144000, not 8000"),
        (header(rate=192000), "not 192000"),
        (header(audio_format=3), "audio_format 3 is not served"),
        (messages_pb2.AudioWithEmotionStreamHeader(), "channel_count must be 1, not 0"),
    ],
)
def test_anything_else_is_refused_by_name(bad: messages_pb2.AudioWithEmotionStreamHeader, named: str) -> None:
    with pytest.raises(AudioError, match=named):
        read_header(bad)


def test_multipliers_and_offsets_go_to_their_shapes_and_foreign_names_are_passed_over() -> None:
    announced = header()
    announced.blendshape_params.bs_weight_multipliers.update({"JawOpen": 0.5, "TongueRoll": 9.0})
    announced.blendshape_params.bs_weight_offsets["MouthClose"] = 0.1
    tuning = read_header(announced).tuning
    assert tuning.multipliers[INDEX["JawOpen"]] == 0.5
    assert tuning.multipliers.sum() == pytest.approx(51.5)
    assert tuning.offsets[INDEX["MouthClose"]] == pytest.approx(0.1)


def test_weights_are_clamped_unless_the_header_says_no() -> None:
    announced = header()
    assert read_header(announced).tuning.clamp
    announced.blendshape_params.enable_clamping_bs_weight = False
    assert not read_header(announced).tuning.clamp
