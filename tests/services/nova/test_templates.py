from __future__ import annotations

from typing import Any

import pytest

from services.nova.contracts import Message
from services.nova.templates import from_config, plain
from shared.errors import InputError, PeerProtocol

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello"),
    Message("user", "<b>?"),
)


def config(template: str, **tokens: str) -> dict[str, Any]:
    values = {"chat_template": template, **tokens}
    return {"parameters": {name: {"string_value": value} for name, value in values.items()}}


def test_the_models_template_makes_the_text_and_asks_for_an_answer() -> None:
    render = from_config(
        config(
            "{{ bos_token }}"
            "{% for m in messages %}<{{ m.role }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}<assistant>{% endif %}",
            bos_token="<s>",
            eos_token="</s>",
        )
    )
    assert render(TALK) == "<s><system>Be brief.</s><user>Hi</s><assistant>Hello</s><user><b>?</s><assistant>"


def test_the_dialect_of_published_templates_is_understood() -> None:
    render = from_config(
        config(
            "{%- for m in messages %}\n    {%- if m.role == 'system' %}{% continue %}{% endif %}\n"
            "    {{- m | tojson }}\n{%- endfor %}{{ strftime_now('%Y')[:1] }}"
        )
    )
    assert render(TALK[:2]) == '{"role": "user", "content": "Hi"}2'


def test_a_template_that_refuses_the_messages_blames_them() -> None:
    render = from_config(config("{{ raise_exception('roles must alternate') }}"))
    with pytest.raises(InputError, match="roles must alternate"):
        render(TALK)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages[0].role.nothing() }}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content | length }}",
    ],
)
def test_a_template_neither_leaves_its_sandbox_nor_fails_unnoticed(template: str) -> None:
    with pytest.raises(PeerProtocol, match="template fails"):
        from_config(config(template))(TALK)


def test_a_malformed_template_is_the_models_fault() -> None:
    with pytest.raises(PeerProtocol, match="malformed"):
        from_config(config("{% for %}"))


def test_without_a_template_a_question_stays_as_it_is_and_a_conversation_becomes_a_script() -> None:
    assert from_config({}) is plain
    assert plain((Message("user", "Once upon a time"),)) == "Once upon a time"
    assert plain(TALK) == "Be brief.\nUser: Hi\nAssistant: Hello\nUser: <b>?\nAssistant:"
