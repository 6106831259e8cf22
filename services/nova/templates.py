"""Chat templates: how a conversation becomes the text that a model was trained on.

The template travels with the model, as the `chat_template` parameter of its Triton configuration, in the
jinja2 dialect that Hugging Face's tokenizers use; `bos_token` and `eos_token` may stand beside it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.nova.contracts import Message
from services.nova.triton_client import PEER
from shared.errors import InputError, PeerProtocol

Render = Callable[[Sequence[Message]], str]


def plain(messages: Sequence[Message]) -> str:
    """For a model without a template: a lone question stays as it is, a conversation becomes a script."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    lines = [
        message.content if message.role == "system" else f"{message.role.capitalize()}: {message.content}"
        for message in messages
    ]
    return "\n".join((*lines, "Assistant:"))


def from_config(config: dict[str, Any]) -> Render:
    """The renderer that a model's Triton configuration (as JSON) asks for."""
    parameters = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    source = parameters.get("chat_template", "")
    if not source:
        return plain
    tokens = {name: parameters.get(name, "") for name in ("bos_token", "eos_token")}
    return compiled(source, tokens)


def compiled(source: str, tokens: dict[str, str]) -> Render:
    try:
        template = _ENVIRONMENT.from_string(source)
    except jinja2.TemplateError as error:
        raise PeerProtocol(PEER, f"the model's chat template is malformed ({error})") from None

    def render(messages: Sequence[Message]) -> str:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return template.render(messages=conversation, add_generation_prompt=True, **tokens)
        except _Refused as error:
            raise InputError(f"the model's chat template refuses these messages: {error}") from None
        except Exception as error:  # noqa: BLE001 - a template is a program and fails in any way
            raise PeerProtocol(PEER, f"the model's chat template fails ({type(error).__name__})") from None

    return render


class _Refused(Exception):
    """Raised by a template itself, e.g. because roles do not alternate."""


def _raise(message: str) -> NoReturn:
    raise _Refused(message)


def _to_json(value: object, indent: int | None = None) -> str:
    # jinja2's own filter escapes for HTML, which no model was trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _now(form: str) -> str:
    return datetime.datetime.now(datetime.UTC).strftime(form)


# The template is the operator's, the messages are anybody's: neither may reach out of the sandbox.
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], autoescape=False
)
_ENVIRONMENT.filters["tojson"] = _to_json
_ENVIRONMENT.globals |= {"raise_exception": _raise, "strftime_now": _now}
