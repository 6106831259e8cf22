from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import grpc
import grpc.aio
import numpy as np
import pytest
import soundfile
from riva.client import ASRService, Auth, EndpointingConfig, RecognitionConfig
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from shared.audio import duration_s, read_wav
from shared.channels import Endpoint, open_channel
from tests.embedded.speech.conftest import SAMPLES, SILENCE, Recogniser, cut, said, sample
from tests.fixtures.speech import RivaServer

DEADLINE_S = 60.0
PCM_CONFIG = RecognitionConfig(encoding=1, sample_rate_hertz=16000, language_code="en-US")


def wav(pcm: bytes, rate: int, channels: int, subtype: str = "PCM_16") -> bytes:
    mono = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    resampled = np.interp(np.arange(0, len(mono) / 16000, 1 / rate), np.arange(len(mono)) / 16000, mono)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.column_stack([resampled] * channels), rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def test_the_recorded_question_is_heard_word_for_word(recogniser: Recogniser) -> None:
    assert recogniser.stream_pcm(sample("question")).texts == [said("question")]


@pytest.mark.parametrize("name", ["count", "interrupt"])
def test_the_other_samples_are_heard_word_for_word(recogniser: Recogniser, name: str) -> None:
    assert recogniser.stream_pcm(sample(name)).texts == [said(name)]


def test_partials_come_while_the_speaker_speaks(recogniser: Recogniser) -> None:
    heard_so_far = Event()
    spoken_at = 2 * 16000 * 3 // 2  # bytes: a second and a half, in the middle of the question

    def microphone() -> Iterator[bytes]:
        yield from cut(sample("question")[:spoken_at])
        assert heard_so_far.wait(DEADLINE_S), "the speaker waits in vain for a partial"
        yield from cut(sample("question")[spoken_at:])

    partials = []
    for result in recogniser.results(microphone(), sample_rate_hertz=16000):
        if not result.is_final:
            partials.append(result)
            heard_so_far.set()
    assert partials[0].alternatives[0].transcript.strip()
    assert all(0 <= partial.stability <= 1 and partial.channel_tag == 1 for partial in partials)


def test_partials_come_only_if_asked_for(recogniser: Recogniser) -> None:
    heard = recogniser.stream(
        cut(sample("question")), interim=False, encoding=1, sample_rate_hertz=16000, language_code="en-US"
    )
    assert heard.partials == []
    assert heard.texts == [said("question")]


def test_a_final_has_word_times_and_confidence(recogniser: Recogniser) -> None:
    (final,) = recogniser.stream_pcm(sample("question"), enable_word_time_offsets=True).finals
    best = final.alternatives[0]
    assert [word.word for word in best.words] == said("question").split()
    times = [time for word in best.words for time in (word.start_time, word.end_time)]
    assert times == sorted(times)
    assert 200 <= times[0] <= 600  # it begins after 300 ms of silence
    assert times[-1] <= 1000 * duration_s(sample("question"))
    assert all(0 < word.confidence <= 1 for word in best.words)
    assert 0 < best.confidence <= 1
    assert final.audio_processed <= duration_s(sample("question"))


def test_word_times_come_only_if_asked_for(recogniser: Recogniser) -> None:
    (final,) = recogniser.stream_pcm(sample("question")).finals
    assert not final.alternatives[0].words


def test_alternatives_are_other_readings_and_no_more_than_asked_for(recogniser: Recogniser) -> None:
    (final,) = recogniser.stream_pcm(sample("question"), max_alternatives=3).finals
    texts = [alternative.transcript for alternative in final.alternatives]
    assert 1 <= len(texts) <= 3
    assert len(set(texts)) == len(texts)


def test_what_nvidias_scripts_send_is_understood(recogniser: Recogniser) -> None:
    """No encoding, no rate, no language: a WAV file in pieces, its header in the first one."""
    file = (SAMPLES / "question.wav").read_bytes()
    heard = recogniser.stream(
        cut(file, 1600),
        max_alternatives=1,
        enable_automatic_punctuation=True,
        verbatim_transcripts=True,
        speech_contexts=[pb.SpeechContext(phrases=["France"], boost=10)],
        diarization_config=pb.SpeakerDiarizationConfig(enable_speaker_diarization=False),
    )
    assert heard.texts == [said("question")]


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"), [(8000, 1, "PCM_16"), (44100, 2, "PCM_24"), (48000, 1, "FLOAT")]
)
def test_other_rates_channels_and_widths_are_converted(
    recogniser: Recogniser, rate: int, channels: int, subtype: str
) -> None:
    file = wav(sample("question"), rate, channels, subtype)
    (text,) = recogniser.stream(cut(file, 4001)).texts
    assert text.startswith("what is the capital of")  # 8 kHz lacks what makes an s


def test_odd_pieces_lose_no_byte(recogniser: Recogniser) -> None:
    heard = recogniser.stream(cut(sample("question"), 1001), sample_rate_hertz=16000)
    assert heard.texts == [said("question")]


def test_silence_and_noise_are_no_speech(recogniser: Recogniser) -> None:
    noise = (np.random.default_rng(1).normal(0, 300, 32000)).astype("<i2").tobytes()
    heard = recogniser.stream_pcm(SILENCE + noise + SILENCE)
    assert heard.finals == []
    assert heard.partials == []


def test_a_pause_ends_an_utterance_and_the_stream_goes_on(recogniser: Recogniser) -> None:
    pcm = sample("question") + SILENCE + sample("count") + SILENCE
    heard = recogniser.stream_pcm(pcm, enable_word_time_offsets=True)
    assert heard.texts == [said("question"), said("count")]
    first, second = (final.alternatives[0].words for final in heard.finals)
    begins_ms = 1000 * duration_s(sample("question") + SILENCE)
    assert first[-1].end_time < begins_ms < second[0].start_time


def test_the_end_of_the_stream_ends_the_utterance(recogniser: Recogniser) -> None:
    spoken = sample("question")[: -2 * 16000 * 6 // 10]  # cut before its silence has lasted
    assert recogniser.stream_pcm(spoken).texts == [said("question")]


def test_the_client_may_force_the_end_of_an_utterance(riva: RivaServer) -> None:
    never_ending = RecognitionConfig(
        sample_rate_hertz=16000, endpointing_config=EndpointingConfig(stop_history=60_000)
    )

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(
            streaming_config=pb.StreamingRecognitionConfig(config=never_ending)
        )
        yield pb.StreamingRecognizeRequest(audio_content=sample("question"))
        yield pb.StreamingRecognizeRequest(runtime_config={"force_eou": "true"})
        yield pb.StreamingRecognizeRequest(audio_content=sample("count"))

    responses = ASRService(riva.auth()).stub.StreamingRecognize(requests())
    finals = [result for response in responses for result in response.results if result.is_final]
    assert [final.alternatives[0].transcript.strip() for final in finals] == [said("question"), said("count")]


def test_a_longer_stop_history_joins_what_a_pause_parts(recogniser: Recogniser) -> None:
    pcm = sample("question") + sample("count")  # a second of silence lies between
    endpointing = EndpointingConfig(stop_history=2000)
    assert len(recogniser.stream_pcm(pcm, endpointing_config=endpointing).finals) == 1
    assert len(recogniser.stream_pcm(pcm).finals) == 2


def test_the_two_pass_end_of_utterance_announces_the_final(recogniser: Recogniser) -> None:
    """stop_history_eou: a stable partial after a short silence, the final after the long one."""
    endpointing = EndpointingConfig(stop_history=800, stop_history_eou=240)
    heard = recogniser.stream_pcm(sample("question") + SILENCE, endpointing_config=endpointing)
    assert heard.partials[-1].stability == 1.0
    assert heard.partials[-1].alternatives[0].transcript == heard.finals[0].alternatives[0].transcript


def test_a_recording_is_recognised_offline(recogniser: Recogniser) -> None:
    raw = recogniser.service.offline_recognize(sample("question"), PCM_CONFIG)
    assert raw.results[0].alternatives[0].transcript.strip() == said("question")
    assert raw.results[0].channel_tag == 1


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_file_is_recognised_offline_by_its_own_header(recogniser: Recogniser, kind: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(sample("question"), "<i2"), 16000, format=kind)
    response = recogniser.service.offline_recognize(file.getvalue(), RecognitionConfig())
    assert response.results[0].alternatives[0].transcript.strip() == said("question")


def test_a_recording_with_pauses_gives_several_results(recogniser: Recogniser) -> None:
    pcm = sample("question") + SILENCE + sample("count")
    response = recogniser.service.offline_recognize(pcm, PCM_CONFIG)
    texts = [result.alternatives[0].transcript.strip() for result in response.results]
    assert texts == [said("question"), said("count")]


def test_four_streams_at_once_do_not_mix(recogniser: Recogniser) -> None:
    names = ["question", "count", "interrupt", "question"]
    with ThreadPoolExecutor(len(names)) as threads:
        heard = list(threads.map(lambda name: recogniser.stream_pcm(sample(name)), names))
    assert [stream.texts for stream in heard] == [[said(name)] for name in names]


async def test_many_quiet_streams_need_no_worker(riva: RivaServer) -> None:
    endpoint = Endpoint("riva", riva.uri, use_tls=True, ca=riva.ca)
    asked = pb.StreamingRecognitionConfig(config=PCM_CONFIG)
    async with open_channel(endpoint) as channel, asyncio.timeout(DEADLINE_S):
        stub = RivaSpeechRecognitionStub(channel)
        calls = [stub.StreamingRecognize() for _ in range(20)]
        for call in calls:
            await call.write(pb.StreamingRecognizeRequest(streaming_config=asked))
            await call.write(pb.StreamingRecognizeRequest(audio_content=SILENCE))
        await calls[7].write(pb.StreamingRecognizeRequest(audio_content=sample("question") + SILENCE))
        final = await calls[7].read()
        assert final.results[0].alternatives[0].transcript.strip() == said("question")
        for call in calls:
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF


def test_the_same_sound_gives_the_same_result_whatever_came_before(recogniser: Recogniser) -> None:
    def result(pcm: bytes) -> str:
        (final,) = recogniser.stream_pcm(pcm, enable_word_time_offsets=True).finals
        return str(final)

    fresh = result(sample("question"))
    loud = (np.frombuffer(sample("count"), "<i2") * 1.9).clip(-32768, 32767).astype("<i2").tobytes()
    for _ in range(3):
        recogniser.stream_pcm(loud)
    assert result(sample("question")) == fresh


def test_a_human_voice_is_understood_beyond_the_domain(recogniser: Recogniser, clips: Path) -> None:
    heard = recogniser.stream_pcm(read_wav(clips / "goforward.wav") + SILENCE)
    assert heard.texts == ["go forward ten meters"]


@pytest.mark.parametrize("kind", ["online", "offline"])
def test_german_is_refused_in_rivas_words(recogniser: Recogniser, kind: str) -> None:
    config = RecognitionConfig(encoding=1, sample_rate_hertz=16000, language_code="de-DE")
    calls = {
        "online": lambda: recogniser.stream_pcm(sample("question"), language_code="de-DE"),
        "offline": lambda: recogniser.service.offline_recognize(sample("question"), config),
    }
    with pytest.raises(grpc.RpcError) as refused:
        calls[kind]()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == (
        "Error: Unavailable model requested given these parameters: "
        f"language_code=de-DE; sample_rate=16000; type={kind};"
    )


def test_an_unknown_model_is_refused(recogniser: Recogniser) -> None:
    with pytest.raises(grpc.RpcError, match="model=parakeet"):
        recogniser.stream_pcm(sample("question"), model="parakeet")
    assert recogniser.stream_pcm(sample("question"), model="sphinx-en-us").texts == [said("question")]


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([pb.StreamingRecognizeRequest(audio_content=b"\0\0")], "first message"),
        (
            [pb.StreamingRecognizeRequest(streaming_config=pb.StreamingRecognitionConfig(config=PCM_CONFIG))]
            * 2,
            "only be sent once",
        ),
    ],
)
def test_a_stream_begins_with_exactly_one_configuration(
    riva: RivaServer, requests: list[pb.StreamingRecognizeRequest], message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as refused:
        list(ASRService(riva.auth()).stub.StreamingRecognize(iter(requests)))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_sound_of_an_unknown_rate_is_refused(recogniser: Recogniser) -> None:
    with pytest.raises(grpc.RpcError, match="sample_rate_hertz must be set") as refused:
        recogniser.stream(cut(sample("question")))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_credentials_that_come_twice_are_tolerated(riva: RivaServer) -> None:
    """NVIDIA's client sends its metadata once with the channel and once with the call."""
    auth = Auth(
        ssl_root_cert=riva.ca,
        use_ssl=True,
        uri=riva.uri,
        metadata_args=[["authorization", "Bearer none"], ["function-id", "f"]],
    )
    response = ASRService(auth).offline_recognize(sample("question"), PCM_CONFIG)
    assert response.results[0].alternatives[0].transcript.strip() == said("question")


def test_the_models_are_listed(recogniser: Recogniser) -> None:
    response = recogniser.service.stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest())
    listed = {
        (config.model_name, config.parameters["type"], config.parameters["language_code"])
        for config in response.model_config
    }
    assert listed == {("sphinx-en-us", "online", "en-US"), ("sphinx-en-us", "offline", "en-US")}
