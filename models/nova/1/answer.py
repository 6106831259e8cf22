"""One answer as it grows: what the engine generated, and what of it may be told."""

from __future__ import annotations

from collections.abc import Sequence

from .messages import Finish, Gain, TokenLogprob
from .sampling import Sampling
from .text import Detokenizer, Stopper


class Answer:
    """Answer `index` of the request `id`. `table` is text.token_bytes of the model's vocabulary."""

    def __init__(self, id: int, index: int, table: Sequence[bytes], sampling: Sampling) -> None:  # noqa: A002
        self.finish: Finish | None = None
        self._id, self._index = id, index
        self._table = table
        self._min_tokens = sampling.min_tokens
        self._detokenizer = Detokenizer(table)
        self._stopper = Stopper(sampling.stop, include=sampling.include_stop_str_in_output)
        self._count = 0
        self._cumulative = 0.0
        self._text = ""
        self._tokens = 0
        self._logprobs: list[TokenLogprob] = []

    def absorb(self, tokens: Sequence[int], logprobs: Sequence[float], finish: Finish | None) -> None:
        """`logprobs` may be empty; `finish` is the pipeline's reason to end, a stop string is ours."""
        text = self._detokenizer.feed(tokens, last=finish is not None)
        self._count += len(tokens)
        self._tokens += len(tokens)
        if self._count >= self._min_tokens:  # vLLM does not look for stop strings before that
            text = self._stopper.feed(text, last=finish is not None)
        self._text += text
        self.finish = "stop" if self._stopper.stopped else finish
        for token, logprob in zip(tokens, logprobs):  # noqa: B905 - none are there where none were asked for
            self._cumulative += logprob
            decoded = self._table[token].decode(errors="replace") if token < len(self._table) else ""
            self._logprobs.append(TokenLogprob(token, logprob, decoded))

    def take(self) -> Gain | None:
        """What is new since the last call; None while there is neither text nor an end to tell."""
        if not self._text and not self.finish:
            return None
        gain = Gain(
            self._id, self._index, self._text, self._tokens, self._cumulative, self._logprobs, self.finish
        )
        self._text, self._tokens, self._logprobs = "", 0, []
        return gain
