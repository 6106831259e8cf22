"""Riva's streaming services over one shared channel, by the raw aio stubs.

nvidia-riva-client's own wrappers iterate synchronously, a thread for each stream; only its
generated stubs are used here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import grpc
import grpc.aio
from riva.client.proto import riva_asr_pb2 as asr
from riva.client.proto import riva_asr_pb2_grpc as asr_grpc
from riva.client.proto import riva_audio_pb2 as audio
from riva.client.proto import riva_tts_pb2 as tts
from riva.client.proto import riva_tts_pb2_grpc as tts_grpc

from services.sophia.phones import PhoneTimes
from services.sophia.playback import SpokenWord
from shared.audio import RATE
from shared.channels import Endpoint, explain, open_channel
from shared.errors import PeerTimeout
from shared.phones import TOLD, Phone, said


@dataclass(frozen=True, slots=True)
class Listening:
    """How a session is heard. Endpointing in ms; 0 leaves Riva's own default."""

    language: str = "en-US"
    start_history_ms: int = 0
    stop_history_ms: int = 0
    early_history_ms: int = 0
    """The silence after which Riva says, as a stable interim, what the final will be if it lasts."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of synthesised audio, and the times that came with it, from the start of the clause."""

    pcm: bytes
    words: tuple[SpokenWord, ...]
    phones: tuple[Phone, ...] = ()
    """Those of this audio and some that follow, of a Riva that knows them."""


_SYNTHESIZE = "/nvidia.riva.tts.RivaSpeechSynthesis/SynthesizeOnline"
"""Takes a stream of requests. Called with the one it is sent: the same on the wire, and cheaper."""

MIN_SPEED, MAX_SPEED = 0.25, 2.5
"""Riva's own bounds of an SSML rate."""

RecognizeCall = grpc.aio.StreamStreamCall[Any, Any]


class Riva:
    def __init__(self, endpoint: Endpoint, speech_deadline_s: float, pronunciations: str = "") -> None:
        """`pronunciations` is Riva's custom dictionary: `word  phonemes,word  phonemes`."""
        self._endpoint = endpoint
        self._pronunciations = pronunciations
        self._deadline_s = speech_deadline_s
        self._channel = open_channel(endpoint)
        self._asr = asr_grpc.RivaSpeechRecognitionStub(self._channel)
        self._tts = tts_grpc.RivaSpeechSynthesisStub(self._channel)
        self._speak: Any = self._channel.unary_stream(
            _SYNTHESIZE,
            request_serializer=tts.SynthesizeSpeechRequest.SerializeToString,
            response_deserializer=tts.SynthesizeSpeechResponse.FromString,
        )

    async def close(self) -> None:
        await self._channel.close()

    async def probe(self) -> None:
        """Ask for both lists of models: proves TLS, credentials and both services."""
        metadata, timeout = self._endpoint.metadata, self._deadline_s
        try:
            await asyncio.gather(
                self._asr.GetRivaSpeechRecognitionConfig(
                    asr.RivaSpeechRecognitionConfigRequest(), timeout=timeout, metadata=metadata
                ),
                self._tts.GetRivaSynthesisConfig(
                    tts.RivaSynthesisConfigRequest(), timeout=timeout, metadata=metadata
                ),
            )
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, error) from None

    def recognize(self) -> RecognizeCall:
        """Open a recognition stream; its first write must be `configure`'s."""
        call: RecognizeCall = self._asr.StreamingRecognize(metadata=self._endpoint.metadata)
        return call

    @staticmethod
    def configure(listening: Listening) -> asr.StreamingRecognizeRequest:
        config = asr.RecognitionConfig(
            encoding=audio.LINEAR_PCM,
            sample_rate_hertz=RATE,
            language_code=listening.language,
            max_alternatives=1,
            audio_channel_count=1,
            enable_word_time_offsets=True,
            enable_automatic_punctuation=True,
        )
        if listening.start_history_ms:
            config.endpointing_config.start_history = listening.start_history_ms
        if listening.stop_history_ms:
            config.endpointing_config.stop_history = listening.stop_history_ms
        if listening.early_history_ms:
            config.endpointing_config.stop_history_eou = listening.early_history_ms
        return asr.StreamingRecognizeRequest(
            streaming_config=asr.StreamingRecognitionConfig(config=config, interim_results=True)
        )

    async def fault(self, error: grpc.aio.AioRpcError) -> Exception:
        return await explain(self._endpoint, error)

    async def synthesize(
        self, text: str, language: str, voice: str, rate: int, speed: float = 1.0
    ) -> AsyncGenerator[Speech, None]:
        """Speak `text`, PCM16 mono at `rate` Hz. Raises PeerError; closing it stops the synthesis.

        Another `speed` than 1 is asked for by SSML, MIN_SPEED to MAX_SPEED.
        """
        request = tts.SynthesizeSpeechRequest(
            text=text if speed == 1 else at_speed(text, speed),
            language_code=language,
            voice_name=voice,
            encoding=audio.LINEAR_PCM,
            sample_rate_hz=rate,
            enable_word_time_offsets=True,
            custom_dictionary=self._pronunciations,
        )
        call = self._speak(request, metadata=self._endpoint.metadata)
        phones: PhoneTimes | None = None
        try:
            while True:
                async with asyncio.timeout(self._deadline_s):
                    response = await call.read()
                    if response is grpc.aio.EOF:
                        break
                    if phones is None:
                        phones = PhoneTimes(told=said(TOLD, await call.initial_metadata()))
                yield Speech(response.audio, _spoken_words(response.meta), phones.feed(response.meta))
        except grpc.aio.AioRpcError as error:
            raise await explain(self._endpoint, error) from None
        except TimeoutError:
            raise PeerTimeout("riva", f"no speech within {self._deadline_s:g} s") from None
        finally:
            call.cancel()


def at_speed(text: str, speed: float) -> str:
    """`text` in SSML, whatever signs it holds."""
    return f'<speak><prosody rate="{speed:.0%}">{escape(text)}</prosody></speak>'


def _spoken_words(meta: tts.SynthesizeSpeechResponseMetadata) -> tuple[SpokenWord, ...]:
    if not any(word.end_time > 0 for word in meta.words):
        return ()  # a voice that names its words but not their times
    return tuple(SpokenWord(word.word, word.start_time, word.end_time) for word in meta.words)
