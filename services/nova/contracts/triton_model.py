"""What the contracts that Triton speaks have in common: a template, tensors, and how refusals read."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from services.nova import templates
from services.nova.contracts import Prompt, Text, tensors
from services.nova.triton_client import Input, TritonClient
from shared.errors import InputError, PeerRefused, PeerUnavailable

_TOO_LONG = re.compile(
    r"(?i)prompt.*(longer than|exceeds|this model takes)|maximum (context|model) length|max_model_len"
)
"""A prompt beyond the context is told from other refusals by words alone."""


class TritonModel:
    """One model. Its chat template is read once, and again after Triton was away: it may be another then."""

    def __init__(self, client: TritonClient, name: str) -> None:
        self._client = client
        self._name = name
        self._render: templates.Render | None = None

    async def text_of(self, prompt: Prompt) -> str:
        if isinstance(prompt, Text):
            return prompt.text
        if self._render is None:
            self._render = templates.from_config(await self._client.model_config(self._name))
        return self._render(prompt.messages)

    async def responses(
        self, inputs: Sequence[Input], *, stream: bool
    ) -> AsyncGenerator[dict[str, bytes], None]:
        """The output tensors of each response, by name. Close it to stop the model."""
        try:
            async with aclosing(self._client.infer_stream(self._name, inputs, stream=stream)) as responses:
                async for response in responses:
                    yield tensors.outputs(response)
        except PeerUnavailable:
            self._render = None
            raise
        except PeerRefused as error:
            if _TOO_LONG.search(error.message):
                raise InputError("the prompt is longer than the model's context") from None
            raise

    async def close(self) -> None:
        await self._client.close()
