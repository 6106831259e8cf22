from __future__ import annotations

import contextlib
import json
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sampling = import_module("models.nova.1.sampling")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_nothing_said_means_vllms_defaults() -> None:
    assert sampling.parse("{}") == sampling.Sampling(n=1, max_tokens=16, temperature=1.0, top_p=1.0, top_k=0)


def test_null_means_the_default() -> None:
    assert sampling.parse('{"max_tokens": null, "stop": null}') == sampling.Sampling()


def test_every_parameter_is_read() -> None:
    given_: dict[str, Any] = {
        "n": 2,
        "max_tokens": 100,
        "min_tokens": 3,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
        "repetition_penalty": 1.1,
        "seed": 7,
        "stop": ["\n", "User:"],
        "stop_token_ids": [5],
        "include_stop_str_in_output": True,
        "ignore_eos": True,
        "logprobs": 1,
    }
    read = sampling.parse(json.dumps(given_))
    assert read == sampling.Sampling(**given_ | {"stop": ("\n", "User:"), "stop_token_ids": (5,)})
    assert set(given_) == set(read.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"stop": "."}', "stop", (".",)),
        ('{"max_tokens": "12"}', "max_tokens", 12),
        ('{"temperature": "0.5"}', "temperature", 0.5),
        ('{"top_k": -1}', "top_k", -1),
        ('{"seed": -1}', "seed", None),
        ('{"seed": 9007199254740993}', "seed", 9007199254740993),
    ],
)
def test_other_ways_to_say_it(text: str, field: str, value: object) -> None:
    assert getattr(sampling.parse(text), field) == value


@pytest.mark.parametrize(("temperature", "greedy"), [(0, True), (1e-6, True), (0.01, False)])
def test_a_temperature_of_almost_nothing_is_greedy(temperature: float, greedy: bool) -> None:
    assert sampling.Sampling(temperature=temperature).greedy is greedy


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"max_token": 5}', "unexpected parameter 'max_token'"),
        ('{"logit_bias": {"1": 2}}', "'logit_bias' is not supported by this engine"),
        ('{"max_tokens": 0}', "max_tokens must be a whole number from 1, not 0"),
        ('{"max_tokens": 1.5}', "max_tokens must be a whole number"),
        ('{"max_tokens": true}', "max_tokens must be a number"),
        ('{"n": 17}', "n must be a whole number from 1 to 16"),
        ('{"temperature": -0.1}', "temperature must be a number from 0"),
        ('{"temperature": NaN}', "temperature must be a number"),
        ('{"top_p": 0}', "top_p must be a number above 0 and up to 1"),
        ('{"presence_penalty": 3}', "presence_penalty must be a number from -2 to 2"),
        ('{"repetition_penalty": 0}', "repetition_penalty must be a number above 0"),
        ('{"stop": ""}', "stop must be a non-empty string"),
        ('{"stop": [1]}', "stop must be a non-empty string"),
        ('{"stop_token_ids": [-1]}', "stop_token_ids must be a list of token ids"),
        ('{"seed": 1.5}', "seed must be a whole number"),
        ('{"ignore_eos": "yes"}', "ignore_eos must be true or false"),
        ('{"logprobs": 5}', "logprobs must be a whole number from 0 to 1"),
        ('{"min_tokens": 20, "max_tokens": 10}', "min_tokens 20 exceeds max_tokens 10"),
        ('{"n": 2, "temperature": 0}', "n must be 1 where the temperature is 0"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(sampling.BadRequest, match=complaint):
        sampling.parse(text)


@given(st.dictionaries(st.sampled_from([*sampling.Sampling.__dataclass_fields__, "other"]), json_values))
def test_any_json_is_read_or_refused(values: dict[str, object]) -> None:
    try:
        read = sampling.parse(json.dumps(values))
    except sampling.BadRequest:
        return
    assert 1 <= read.n <= sampling.MAX_N
    assert read.max_tokens >= max(1, read.min_tokens)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(sampling.BadRequest):
        sampling.parse(text)


def test_a_refusal_does_not_repeat_all_that_was_sent() -> None:
    with pytest.raises(sampling.BadRequest) as refusal:
        sampling.parse(json.dumps({"temperature": "what somebody said " * 100}))
    assert len(str(refusal.value)) < 120
