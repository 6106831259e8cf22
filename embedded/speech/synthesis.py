"""Riva's speech synthesis service (riva_tts.proto) over espeak-ng."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc.aio
from riva.client.proto import riva_audio_pb2
from riva.client.proto import riva_tts_pb2 as pb
from riva.client.proto import riva_tts_pb2_grpc as pb_grpc

from embedded.speech.encoding import OpusWriter, PcmWriter
from embedded.speech.espeak import Espeak, Mark
from embedded.speech.refusals import guarded
from embedded.speech.script import Script, parse_dictionary, write_script
from embedded.speech.timing import PhoneClock, WordClock
from embedded.speech.voices import SUBVOICE, VOICES, Voice, find_voice
from shared.audio import BYTES_PER_SAMPLE, check_rate
from shared.errors import InputError
from shared.outgoing import Outgoing
from shared.phones import TOLD

DEFAULT_RATE = 22050
FIRST_CHUNK_S, CHUNK_S = 0.1, 0.25
AHEAD_S = 0.4
"""Sound leaves when this much more of it is made, a quarter of a millisecond later: then the phones that it
holds are known to their ends, and those that a mouth already makes ready for."""
MAX_SOUND_S = 240
"""400 characters at Riva's slowest rate, with pauses. Whatever would be longer ends there."""

_WRITERS: dict[int, type[PcmWriter | OpusWriter]] = {
    riva_audio_pb2.ENCODING_UNSPECIFIED: PcmWriter,
    riva_audio_pb2.LINEAR_PCM: PcmWriter,
    riva_audio_pb2.OGGOPUS: OpusWriter,
}

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Order:
    """A request that was found good."""

    request: pb.SynthesizeSpeechRequest
    script: Script
    voice: Voice
    rate: int

    @classmethod
    def of(cls, request: pb.SynthesizeSpeechRequest) -> Order:
        rate = check_rate(request.sample_rate_hz or DEFAULT_RATE)
        if request.HasField("zero_shot_data"):
            raise InputError("zero_shot_data is not supported by these voices.")
        if request.encoding not in _WRITERS:
            raise InputError(f"encoding {request.encoding} is not supported; ask for LINEAR_PCM or OGGOPUS.")
        voice = find_voice(request.voice_name, request.language_code, rate)
        script = write_script(request.text, parse_dictionary(request.custom_dictionary))
        return cls(request, script, voice, rate)


class Synthesis(pb_grpc.RivaSpeechSynthesisServicer):  # type: ignore[misc]
    def __init__(self) -> None:
        self._espeak = Espeak()
        # One thread for all streams: the library is one global state, and 1700 times faster than speech.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="espeak")

    async def GetRivaSynthesisConfig(  # noqa: N802 - named by the protocol
        self, request: pb.RivaSynthesisConfigRequest, _: Context
    ) -> pb.RivaSynthesisConfigResponse:
        response = pb.RivaSynthesisConfigResponse()
        for voice in VOICES:
            if request.model_name in ("", voice.name):
                parameters = {
                    "language_code": voice.language,
                    "voice_name": voice.name,
                    "subvoices": f"{SUBVOICE}:0",
                    "sample_rate": str(self._espeak.rate),
                }
                response.model_config.add(model_name=voice.name, parameters=parameters)
        return response

    @guarded
    async def Synthesize(  # noqa: N802
        self, request: pb.SynthesizeSpeechRequest, outgoing: Outgoing[Any]
    ) -> pb.SynthesizeSpeechResponse:
        await outgoing.introduce(TOLD)
        whole = pb.SynthesizeSpeechResponse(id=request.id)
        audio: list[bytes] = []
        phones: list[str] = []
        async for part in self._speak(Order.of(request)):
            audio.append(part.audio)
            phones.append(part.meta.processed_text)
            whole.meta.MergeFrom(part.meta)
        whole.audio = b"".join(audio)
        whole.meta.processed_text = " ".join(filter(None, phones))
        return whole

    @guarded
    async def SynthesizeOnline(  # noqa: N802
        self, requests: AsyncIterator[pb.SynthesizeSpeechRequest], outgoing: Outgoing[Any]
    ) -> None:
        await outgoing.introduce(TOLD)
        async for request in requests:
            async for part in self._speak(Order.of(request)):
                await outgoing.write(part)

    async def _speak(self, order: Order) -> AsyncIterator[pb.SynthesizeSpeechResponse]:
        """The sound in pieces, each with the words that ended by then, in ms of this request's sound, and the
        phones up to its end at least."""
        request, writer = order.request, _WRITERS[order.request.encoding](self._espeak.rate, order.rate)
        words, phones = WordClock(order.script.spans), PhoneClock()
        pending, wanted_s, made_s, sent_s = b"", FIRST_CHUNK_S, 0.0, 0.0
        async for sound, marks in self._sound(order):
            words.add(marks)
            phones.add(marks)
            pending += sound
            made_s += len(sound) / (self._espeak.rate * BYTES_PER_SAMPLE)
            while made_s - sent_s >= wanted_s + AHEAD_S:
                size = round(wanted_s * self._espeak.rate) * BYTES_PER_SAMPLE
                sent_s += size / (self._espeak.rate * BYTES_PER_SAMPLE)
                phones.reach(1e3 * sent_s, 1e3 * made_s)
                yield _part(request, writer.feed(pending[:size]), words, phones)
                pending, wanted_s = pending[size:], CHUNK_S
        words.finish()
        phones.reach(1e3 * made_s, 1e3 * made_s)
        yield _part(request, writer.feed(pending) + writer.finish(), words, phones)

    async def _sound(self, order: Order) -> AsyncIterator[tuple[bytes, list[Mark]]]:
        """From espeak-ng's thread to the loop. Leaving the iterator stops the synthesis."""
        loop = asyncio.get_running_loop()
        # Never full: MAX_SOUND_S bounds what one request puts in.
        queue: asyncio.Queue[tuple[bytes, list[Mark]] | None] = asyncio.Queue()
        stopped = threading.Event()
        left = MAX_SOUND_S * self._espeak.rate * BYTES_PER_SAMPLE

        def sink(sound: bytes, marks: list[Mark]) -> bool:
            nonlocal left
            left -= len(sound)
            loop.call_soon_threadsafe(queue.put_nowait, (sound, marks))
            return left > 0 and not stopped.is_set()

        script = order.script
        speaking = loop.run_in_executor(
            self._thread, self._espeak.speak, script.text, order.voice, sink, script.ssml, script.phonemes
        )
        speaking.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (item := await queue.get()) is not None:
                yield item
            await speaking
        finally:
            stopped.set()


def _part(
    request: pb.SynthesizeSpeechRequest, audio: bytes, words: WordClock, phones: PhoneClock
) -> pb.SynthesizeSpeechResponse:
    response = pb.SynthesizeSpeechResponse(audio=audio, id=request.id)
    response.meta.text = request.text
    spoken = phones.take()
    response.meta.processed_text = " ".join(phone.ipa for phone in spoken)
    response.meta.predicted_durations.extend(phone.duration_ms for phone in spoken)
    ended = words.take()
    if request.enable_word_time_offsets:
        for word in ended:
            response.meta.words.add(word=word.text, start_time=word.start_ms, end_time=word.end_ms)
    return response
