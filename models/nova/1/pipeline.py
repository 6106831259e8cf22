"""OpenVINO GenAI's continuous batching behind the engine's interface, and the model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import openvino_genai as genai

from .engine import Output, Refused, Starved
from .messages import Finish
from .options import Options
from .sampling import Sampling
from .text import token_bytes
from .weights import BadModel

BLOCK_TOKENS = 32
"""Tokens in a block of the CPU plugin's key-value cache."""

BATCHED_TOKENS = 512
"""Of one step. A longer prompt is read in several, so that it does not hold up those who generate."""

COMPILED_KEPT = 64
"""Kernels that the CPU plugin keeps, each for one shape of a step. Its default of 5000, and oneDNN's (see
child.py), are a quarter of a gigabyte after some thousands of requests, and no faster."""

_PRECISION: dict[str, dict[str, str]] = {
    "exact": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f16"},
    "fast": {},
}
"""With bfloat16, or an 8-bit cache, rounding depends on who else is in the batch, and sometimes so does the
next token."""

PROBE = "Grüße, 你好! 1 + 2 = 3 🙂"
"""Must survive tokenizer and table, or the tokenizer is of a kind that we do not read."""

_FINISH: dict[object, Finish | None] = {
    genai.GenerationFinishReason.NONE: None,
    genai.GenerationFinishReason.STOP: "stop",
    genai.GenerationFinishReason.LENGTH: "length",
}


class OpenVinoGeneration:
    def __init__(self, handle: genai.GenerationHandle, *, with_logprobs: bool) -> None:
        self._handle = handle
        self._with_logprobs = with_logprobs

    def read(self) -> Output | None:
        if not self._handle.can_read():
            if self._handle.get_status() == genai.GenerationStatus.IGNORED:
                raise Starved
            return None
        tokens: list[int] = []
        logprobs: list[float] = []
        finish: Finish | None = None
        while self._handle.can_read():
            for output in self._handle.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs if self._with_logprobs else ()
                finish = _FINISH[output.finish_reason]
        return Output(tokens, logprobs, finish)

    def cancel(self) -> None:
        self._handle.cancel()


class OpenVinoPipeline:
    def __init__(self, model: Path, tokenizer: genai.Tokenizer, options: Options) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = -(-options.cache_tokens // BLOCK_TOKENS)
        scheduler.cache_size = 0  # GB; the blocks say it better for models of every size
        scheduler.max_num_seqs = options.max_running
        scheduler.max_num_batched_tokens = BATCHED_TOKENS
        scheduler.enable_prefix_caching = True  # a conversation's next turn begins with all of the last
        self._pipeline = genai.ContinuousBatchingPipeline(
            model,
            tokenizer,
            scheduler,
            "CPU",
            INFERENCE_NUM_THREADS=options.threads,
            CPU_RUNTIME_CACHE_CAPACITY=COMPILED_KEPT,
            **_PRECISION[options.precision],
        )
        self._defaults = self._pipeline.get_config()
        self._next_id = 0

    def add(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> OpenVinoGeneration:
        self._next_id += 1
        ids = openvino.Tensor(np.array([prompt], np.int64))
        try:
            handle = self._pipeline.add_request(self._next_id, ids, self._config(sampling, seed))
        except (RuntimeError, ValueError, TypeError) as error:
            raise Refused(f"OpenVINO: {error}") from None
        return OpenVinoGeneration(handle, with_logprobs=sampling.logprobs is not None)

    def step(self) -> None:
        self._pipeline.step()

    def requests(self) -> int:
        return int(self._pipeline.get_metrics().requests)

    def _config(self, sampling: Sampling, seed: int) -> genai.GenerationConfig:
        config = genai.GenerationConfig()
        config.set_eos_token_id(self._defaults.eos_token_id)
        config.stop_token_ids = set(sampling.stop_token_ids) | (
            set() if sampling.ignore_eos else self._defaults.stop_token_ids
        )
        config.ignore_eos = sampling.ignore_eos
        config.max_new_tokens = sampling.max_tokens
        config.min_new_tokens = sampling.min_tokens
        config.presence_penalty = sampling.presence_penalty
        config.frequency_penalty = sampling.frequency_penalty
        config.repetition_penalty = sampling.repetition_penalty
        config.logprobs = 0 if sampling.logprobs is None else 1  # vLLM's 0 means the chosen token alone
        config.do_sample = not sampling.greedy
        if config.do_sample:
            config.rng_seed = seed % 2**64
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            config.min_p = sampling.min_p
            if sampling.top_k > 0:
                config.top_k = sampling.top_k
        return config


class Tokens:
    """The model's tokenizer: text to ids by OpenVINO, ids to text by a table of ours."""

    def __init__(self, model: Path) -> None:
        self.tokenizer = genai.Tokenizer(model)
        vocabulary: dict[bytes, int] = self.tokenizer.get_vocab()
        ids = [[index] for index in sorted(vocabulary.values())]
        shown = self.tokenizer.decode(ids, skip_special_tokens=False)
        kept = self.tokenizer.decode(ids, skip_special_tokens=True)
        special = (index for (index,), all_, some in zip(ids, shown, kept, strict=True) if all_ != some)
        self.table = token_bytes(vocabulary, special)
        if PROBE not in b"".join(self.table[index] for index in self.encode(PROBE)).decode(errors="replace"):
            raise BadModel("its tokenizer is neither byte-level BPE nor SentencePiece")

    def encode(self, text: str) -> list[int]:
        return [int(index) for index in self.tokenizer.encode(text).input_ids.data[0]]
