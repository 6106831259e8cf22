from __future__ import annotations

import io
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from riva.client import AudioEncoding, SpeechSynthesisService
from riva.client.proto import riva_common_pb2, riva_tts_pb2
from riva.client.proto.riva_tts_pb2_grpc import RivaSpeechSynthesisStub

from shared.audio import duration_s, is_silent, peak_dbfs
from shared.channels import Endpoint, open_channel
from shared.phones import TOLD, said
from tests.fixtures.speech import RivaServer

TEXT = "Hello there. I have turned off the kitchen lights."


@pytest.fixture(name="voice")
def service(riva: RivaServer) -> SpeechSynthesisService:
    return SpeechSynthesisService(riva.auth())


def alike(one: bytes, other: bytes) -> bool:
    """The same loudness over time: espeak-ng's voices flutter, so no two waves are the same."""
    first, second = (envelope(sound) for sound in (one, other))
    if abs(len(one) - len(other)) > 0.02 * len(one):
        return False
    length = min(len(first), len(second))
    return float(np.corrcoef(first[:length], second[:length])[0, 1]) > 0.95


def envelope(sound: bytes, block: int = 1000) -> NDArray[np.float64]:
    samples = np.frombuffer(sound, "<i2").astype(np.float64)
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    return np.asarray(np.sqrt((whole**2).mean(axis=1)))


def spoken_words(meta: riva_tts_pb2.SynthesizeSpeechResponseMetadata) -> list[str]:
    return [word.word for word in meta.words]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_a_text_is_spoken_at_any_rate(voice: SpeechSynthesisService, rate: int) -> None:
    response = voice.synthesize(TEXT, sample_rate_hz=rate)
    reference = duration_s(voice.synthesize(TEXT).audio, 22050)
    assert duration_s(response.audio, rate) == pytest.approx(reference, abs=0.05)
    assert peak_dbfs(response.audio, rate) > -20


def test_the_default_rate_is_22050_and_the_sound_has_no_header(voice: SpeechSynthesisService) -> None:
    request = riva_tts_pb2.SynthesizeSpeechRequest(text=TEXT)
    audio = voice.stub.Synthesize(request).audio
    assert alike(audio, voice.synthesize(TEXT, sample_rate_hz=22050).audio)
    assert audio[:4] != b"RIFF"


def test_streaming_gives_the_same_sound_in_pieces(voice: SpeechSynthesisService) -> None:
    parts = list(voice.synthesize_online(TEXT, sample_rate_hz=16000))
    assert len(parts) > 3
    whole = voice.synthesize(TEXT, sample_rate_hz=16000)
    assert alike(b"".join(part.audio for part in parts), whole.audio)


def test_several_texts_are_spoken_one_after_the_other(voice: SpeechSynthesisService) -> None:
    texts = ["The first one.", "And the second."]
    parts = list(voice.synthesize_online(texts, enable_word_time_offsets=True))
    said = {text: [part for part in parts if part.meta.text == text] for text in texts}
    assert parts == said[texts[0]] + said[texts[1]]
    for text, its_parts in said.items():
        words = [word for part in its_parts for word in spoken_words(part.meta)]
        assert words == text.removesuffix(".").split()


def test_word_times_are_those_of_the_sound(voice: SpeechSynthesisService) -> None:
    response = voice.synthesize("Hello there, I am 42 years old.", enable_word_time_offsets=True)
    assert spoken_words(response.meta) == ["Hello", "there", "I", "am", "42", "years", "old"]
    times = [time for word in response.meta.words for time in (word.start_time, word.end_time)]
    assert times == sorted(times)
    assert times[-1] <= 1000 * duration_s(response.audio, 22050)
    there, following = response.meta.words[1:3]
    pause = slice(22050 * there.end_time // 1000 * 2, 22050 * following.start_time // 1000 * 2)
    assert following.start_time - there.end_time > 50  # the comma
    assert peak_dbfs(response.audio[pause], 22050) < peak_dbfs(response.audio, 22050) - 30


def test_word_times_come_only_if_asked_for(voice: SpeechSynthesisService) -> None:
    assert not voice.synthesize(TEXT).meta.words


def test_phones_are_told_from_the_first_sample_to_the_last(voice: SpeechSynthesisService) -> None:
    response = voice.synthesize("My puppy hums.")
    phones = response.meta.processed_text.split()
    assert [phone.strip("ˈˌ") for phone in phones if phone != "_"] == "m aɪ p ʌ p i h ʌ m z".split()
    assert len(response.meta.predicted_durations) == len(phones)
    length_ms = 1e3 * duration_s(response.audio, 22050)
    assert sum(response.meta.predicted_durations) == pytest.approx(length_ms, abs=20)


def test_a_closure_is_told_where_the_sound_is_quieter(voice: SpeechSynthesisService) -> None:
    response = voice.synthesize("A puppy, a puppy, a puppy.")
    at_ms, closed, open_ = 0.0, list[float](), list[float]()
    for phone, duration_ms in zip(
        response.meta.processed_text.split(), response.meta.predicted_durations, strict=True
    ):
        part = response.audio[round(at_ms * 22.05) * 2 : round((at_ms + duration_ms) * 22.05) * 2]
        at_ms += duration_ms
        if phone == "p" or phone.endswith("ʌ"):
            level = float(np.abs(np.frombuffer(part, "<i2").astype(float)).mean())
            (closed if phone == "p" else open_).append(level)
    assert len(closed) == 2 * len(open_) == 6
    assert max(closed) < 0.5 * min(open_)


@pytest.mark.parametrize(
    "text", [TEXT, '<speak>One <break time="3s"/> <prosody rate="25%">moooo</prosody></speak>']
)
def test_phones_come_before_the_sound_that_they_are_in(voice: SpeechSynthesisService, text: str) -> None:
    told_ms = heard_ms = 0.0
    parts = list(voice.synthesize_online(text, sample_rate_hz=16000))
    assert len(parts) > 3
    for part in parts:
        told_ms += sum(part.meta.predicted_durations)
        heard_ms += 1e3 * duration_s(part.audio, 16000)
        assert told_ms >= heard_ms - 1
    whole = voice.synthesize(text).meta
    spoken = " ".join(filter(None, (part.meta.processed_text for part in parts)))
    assert spoken == whole.processed_text


async def test_a_client_is_told_that_these_are_phones(riva: RivaServer) -> None:
    endpoint = Endpoint("riva", riva.uri, use_tls=True, ca=riva.ca)
    async with open_channel(endpoint) as channel:
        stub = RivaSpeechSynthesisStub(channel)
        request = riva_tts_pb2.SynthesizeSpeechRequest(text=TEXT)
        for call in (stub.Synthesize(request), stub.SynthesizeOnline(iter([request]))):
            assert said(TOLD, await call.initial_metadata())


def test_german_is_spoken(voice: SpeechSynthesisService) -> None:
    text = "Schöne Grüße aus München"
    response = voice.synthesize(text, language_code="de-DE", enable_word_time_offsets=True)
    assert not is_silent(response.audio, 22050)
    assert spoken_words(response.meta) == text.split()
    assert not alike(response.audio, voice.synthesize(text, language_code="en-US").audio)


@pytest.mark.parametrize("name", ["espeak-de-DE", "espeak-de-DE.Default"])
def test_a_voice_is_named_with_or_without_its_subvoice(voice: SpeechSynthesisService, name: str) -> None:
    by_name = voice.synthesize("Guten Tag", voice_name=name, language_code="")
    assert alike(by_name.audio, voice.synthesize("Guten Tag", language_code="de-DE").audio)


def test_opus_decodes_to_the_same_length(voice: SpeechSynthesisService) -> None:
    """NVIDIA's talk.py may ask for OGGOPUS at 44.1 kHz, a rate that Opus does not have."""
    for response in (
        [voice.synthesize(TEXT, encoding=AudioEncoding.OGGOPUS, sample_rate_hz=44100)],
        voice.synthesize_online(TEXT, encoding=AudioEncoding.OGGOPUS, sample_rate_hz=44100),
    ):
        stream = io.BytesIO(b"".join(part.audio for part in response))
        samples, rate = soundfile.read(stream)
        assert rate == 48000
        assert len(samples) / rate == pytest.approx(duration_s(voice.synthesize(TEXT).audio, 22050), abs=0.1)
        assert np.abs(samples).max() > 0.1


def test_ssml_is_obeyed(voice: SpeechSynthesisService) -> None:
    def seconds(text: str) -> float:
        return duration_s(voice.synthesize(text).audio, 22050)

    plain = seconds("<speak>one two three</speak>")
    assert seconds('<speak><prosody rate="50%">one two three</prosody></speak>') > 1.3 * plain
    assert seconds('<speak>one <break time="2s"/> two three</speak>') > plain + 1.5
    said = seconds('<speak>one <phoneme alphabet="ipa" ph="bəˈnɑːnəbəˈnɑːnə">two</phoneme> three</speak>')
    assert said > plain + 0.3


def test_a_custom_dictionary_changes_the_sound(voice: SpeechSynthesisService) -> None:
    plain = voice.synthesize("I live in Reading")
    changed = voice.synthesize("I live in Reading", custom_dictionary={"Reading": "bəˈnɑːnəbəˈnɑːnə"})
    assert not alike(plain.audio, changed.audio)


def test_the_request_id_comes_back(voice: SpeechSynthesisService) -> None:
    request = riva_tts_pb2.SynthesizeSpeechRequest(text=TEXT, id=riva_common_pb2.RequestId(value="abc"))
    assert voice.stub.Synthesize(request).id.value == "abc"
    assert {part.id.value for part in voice.stub.SynthesizeOnline(iter([request]))} == {"abc"}


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": "x" * 401}, "Input text too long"),
        ({"sample_rate_hz": 100}, "100 Hz"),
        ({"encoding": AudioEncoding.FLAC}, "encoding"),
        (
            {"language_code": "fr-FR"},
            "Unavailable model requested given these parameters: language_code=fr-FR",
        ),
        ({"voice_name": "English-US.Female-1"}, "voice_name=English-US.Female-1"),
        ({"language_code": "en-US", "voice_name": "espeak-de-DE"}, "Unavailable model"),
        ({"zero_shot_data": riva_tts_pb2.ZeroShotData(quality=20)}, "zero_shot_data"),
    ],
)
def test_what_cannot_be_spoken_is_refused(
    voice: SpeechSynthesisService, request_fields: dict[str, Any], message: str
) -> None:
    request = riva_tts_pb2.SynthesizeSpeechRequest(**({"text": "Hello"} | request_fields))
    for call in (voice.stub.Synthesize, lambda one: list(voice.stub.SynthesizeOnline(iter([one])))):
        with pytest.raises(grpc.RpcError) as refused:
            call(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details().startswith("Error: ")
        assert message in refused.value.details()


def test_the_voices_are_listed(voice: SpeechSynthesisService) -> None:
    response = voice.stub.GetRivaSynthesisConfig(riva_tts_pb2.RivaSynthesisConfigRequest())
    listed = {
        (
            config.parameters["voice_name"],
            config.parameters["language_code"],
            config.parameters["subvoices"],
        )
        for config in response.model_config
    }
    assert listed == {
        ("espeak-en-US", "en-US", "Default:0"),
        ("espeak-de-DE", "de-DE", "Default:0"),
    }


async def test_a_cancelled_call_leaves_the_server_free(riva: RivaServer) -> None:
    endpoint = Endpoint("riva", riva.uri, use_tls=True, ca=riva.ca)
    async with open_channel(endpoint) as channel:
        stub = RivaSpeechSynthesisStub(channel)
        call = stub.SynthesizeOnline(iter([riva_tts_pb2.SynthesizeSpeechRequest(text=TEXT)] * 50))
        await anext(aiter(call))
        call.cancel()
        assert (await stub.Synthesize(riva_tts_pb2.SynthesizeSpeechRequest(text=TEXT))).audio
