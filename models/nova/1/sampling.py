"""`sampling_parameters`: the JSON text by which a request says how to sample, with vLLM's names and defaults.

https://docs.vllm.ai/en/latest/api/vllm/sampling_params.html
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

GREEDY_BELOW = 1e-5
"""A temperature below this means greedy, as in vLLM."""

MAX_N = 16
MAX_STOPS = 16


class BadRequest(ValueError):
    """The request cannot be served as it is; the message says what is wrong with it."""


@dataclass(frozen=True)
class Sampling:
    """The parameters that this engine honours."""

    n: int = 1
    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW


NOT_HERE = frozenset({
    "allowed_token_ids", "bad_words", "detokenize", "extra_args", "flat_logprobs", "guided_decoding",
    "logit_bias", "logits_processors", "lora_name", "output_kind", "prompt_logprobs", "skip_special_tokens",
    "spaces_between_special_tokens", "structured_outputs", "truncate_prompt_tokens",
})  # fmt: skip
"""vLLM knows these, this engine does not: refused, because to ignore one would change the answer silently."""


def parse(text: str) -> Sampling:
    """Raises BadRequest that names the parameter."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"sampling_parameters is not JSON ({error})") from None
    if not isinstance(given, dict):
        raise BadRequest("sampling_parameters must be a JSON object")
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name in NOT_HERE:
            raise BadRequest(f"sampling_parameters: {name!r} is not supported by this engine")
        if name not in _READ:
            raise BadRequest(f"sampling_parameters: unexpected parameter {name!r}")
    sampling = Sampling(**{name: _READ[name](name, value) for name, value in given.items()})
    _check_together(sampling)
    return sampling


def _check_together(sampling: Sampling) -> None:
    if sampling.min_tokens > sampling.max_tokens:
        raise BadRequest(
            f"sampling_parameters: min_tokens {sampling.min_tokens} exceeds max_tokens {sampling.max_tokens}"
        )
    if sampling.greedy and sampling.n > 1:
        raise BadRequest("sampling_parameters: n must be 1 where the temperature is 0")


def _integer(low: int, high: float = math.inf) -> Callable[[str, object], int]:
    def read(name: str, value: object) -> int:
        number = _number(name, value)
        if not number.is_integer() or not low <= number <= high:
            bounds = _range(low, high)
            raise BadRequest(
                f"sampling_parameters: {name} must be a whole number {bounds}, not {reprlib.repr(value)}"
            )
        return int(value) if isinstance(value, int) else int(number)

    return read


def _real(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[str, object], float]:
    def read(name: str, value: object) -> float:
        number = _number(name, value)
        if not math.isfinite(number) or not low <= number <= high or (above and number == low):
            bounds = f"above {low:g} and up to {high:g}" if above else _range(low, high)
            raise BadRequest(
                f"sampling_parameters: {name} must be a number {bounds}, not {reprlib.repr(value)}"
            )
        return number

    return read


def _range(low: float, high: float) -> str:
    return f"from {low:g}" if high == math.inf else f"from {low:g} to {high:g}"


def _number(name: str, value: object) -> float:
    """Numbers also as text: a client without JSON types of its own may send them so."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise BadRequest(f"sampling_parameters: {name} must be a number, not {reprlib.repr(value)}")


def _seed(name: str, value: object) -> int | None:
    """vLLM takes -1 for none."""
    if type(value) is not int or not -(2**63) <= value < 2**64:
        raise BadRequest(f"sampling_parameters: {name} must be a whole number of at most 64 bits")
    return None if value == -1 else value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"sampling_parameters: {name} must be true or false, not {reprlib.repr(value)}")
    return value


def _strings(name: str, value: object) -> tuple[str, ...]:
    strings = [value] if isinstance(value, str) else value
    if (
        not isinstance(strings, list)
        or len(strings) > MAX_STOPS
        or not all(isinstance(s, str) and s for s in strings)
    ):
        raise BadRequest(
            f"sampling_parameters: {name} must be a non-empty string or up to {MAX_STOPS} of them"
        )
    return tuple(strings)


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
        raise BadRequest(f"sampling_parameters: {name} must be a list of token ids")
    return tuple(value)


_READ: dict[str, Callable[[str, object], Any]] = {
    "n": _integer(1, MAX_N),
    "max_tokens": _integer(1),
    "min_tokens": _integer(0),
    "temperature": _real(0.0),
    "top_p": _real(0.0, 1.0, above=True),
    "top_k": _integer(-1),
    "min_p": _real(0.0, 1.0),
    "presence_penalty": _real(-2.0, 2.0),
    "frequency_penalty": _real(-2.0, 2.0),
    "repetition_penalty": _real(0.0, above=True),
    "seed": _seed,
    "stop": _strings,
    "stop_token_ids": _integers,
    "include_stop_str_in_output": _boolean,
    "ignore_eos": _boolean,
    "logprobs": _integer(0, 1),
}
