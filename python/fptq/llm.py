"""A model that runs: text, chat, scores."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fptq import _fptq
from fptq.errors import InputError

Prompt = str | Sequence[int]
Message = dict[str, Any]

__all__ = ["LLM"]

_POLL_SECONDS = 0.005


def _params(options: dict[str, Any]) -> _fptq.SamplingParams:
    params = _fptq.SamplingParams()
    for name, value in options.items():
        if not hasattr(params, name):
            known = ", ".join(n for n in dir(params) if not n.startswith("_"))
            raise InputError(f"sampling: expected one of {known}; found '{name}'")
        if name == "stop" and isinstance(value, str):
            value = [value]
        setattr(params, name, value)
    return params


class LLM:
    """A model, ready to run, with threads of its own.

    Requests of several threads run together, in one batch; each has the same bits as if it ran
    alone. Options of sampling, the same for all functions below, are: temperature (default 1; 0:
    greedy), top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, seed
    (default 0: equal calls give equal answers), max_tokens (default 256), stop (a text or several),
    stop_tokens, ignore_eos, log_probabilities (how many alternatives beside each token).

    Args:
      model: a folder that `fptq.quantize` or llm-compressor wrote, a Hugging Face folder with float
        weights, or a GGUF file.
      threads: 0: as many as this process may use cores.
      context: the most tokens of a sequence, prompt and answer; 0: what the model has, up to 8,192.
      max_sequences: how many run at a time; others wait.
      kv_memory: bytes for keys and values; 0: a part of what is free.
      prefix_cache: what prompts have in common is computed once; changes speed alone.
      int8_weights: holds a float model's weights in 8 bits, a quarter of the memory, and integer
        weights as they are where a model has float activations, which become int8.
      pre_tokenizer: how a GGUF file's tokenizer cuts text into words, if the file does not say.

    Raises:
      fptq.InputError, fptq.FileError, fptq.ResourceError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        threads: int = 0,
        context: int = 0,
        max_sequences: int = 64,
        kv_memory: int = 0,
        prefix_cache: bool = True,
        int8_weights: bool = False,
        pre_tokenizer: str = "",
    ) -> None:
        self._llm = _fptq.LLM(
            Path(model), threads, context, max_sequences, kv_memory, prefix_cache, int8_weights,
            pre_tokenizer,
        )  # fmt: skip

    @property
    def info(self) -> _fptq.ModelInfo:
        """Architecture, shapes, bytes, and `warnings`: what a user should know of the files."""
        return self._llm.info

    @property
    def context(self) -> int:
        """The most tokens of a sequence, prompt and answer together."""
        return self._llm.context

    def encode(self, text: str, *, special: bool = True, prefix: bool = True) -> list[int]:
        """Token ids of a text.

        Args:
          special: whether special tokens that stand in it are recognized.
          prefix: whether what the model expects before a text, e.g. BOS, is put there.
        """
        return self._llm.encode(text, special, prefix)

    def decode(self, tokens: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of tokens."""
        return self._llm.decode([int(token) for token in tokens], skip_special)

    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> list[int]:
        """The prompt of a conversation, as token ids, by the model's own template.

        What messages say can become no control token. `variables` are for the template, e.g.
        enable_thinking=False.
        """
        return self._llm.encode_chat(
            json.dumps(
                {
                    **variables,
                    "messages": list(messages),
                    "tools": tools,
                    "add_generation_prompt": add_generation_prompt,
                }
            )
        )

    def submit(self, prompt: Prompt, **sampling: Any) -> _fptq.Stream:
        """Starts a request; `next()`, `collect()`, `cancel()` of what it returns go on from there."""
        return self._submit(prompt, _params(sampling))

    def generate(
        self, prompts: Prompt | Sequence[Prompt], **sampling: Any
    ) -> _fptq.Completion | list[_fptq.Completion]:
        """Completes a prompt (a text, or token ids), or several that run together.

        Returns:
          A Completion, or a list of them: text, tokens, finish_reason, prompt_tokens,
          cached_tokens, scores (if log_probabilities were asked for).
        """
        params = _params(sampling)
        if isinstance(prompts, str) or (len(prompts) > 0 and isinstance(prompts[0], int)):
            return self._submit(prompts, params).collect()
        streams = [self._submit(prompt, params) for prompt in prompts]
        return [stream.collect() for stream in streams]

    def stream(self, prompt: Prompt, **sampling: Any) -> Iterator[str]:
        """Completes a prompt; gives text as it comes. Dropping the iterator cancels."""
        stream = self.submit(prompt, **sampling)
        while (chunk := stream.next()) is not None:
            if chunk.text:
                yield chunk.text

    async def astream(self, prompt: Prompt, **sampling: Any) -> AsyncIterator[str]:
        """The same for asyncio."""
        stream = self.submit(prompt, **sampling)
        while True:
            while not stream.ready():
                await asyncio.sleep(_POLL_SECONDS)
            chunk = stream.next()
            if chunk is None:
                return
            if chunk.text:
                yield chunk.text

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        **sampling: Any,
    ) -> _fptq.Completion:
        """The assistant's answer to a conversation."""
        prompt = self.apply_chat_template(messages, tools=tools, **(chat_template_kwargs or {}))
        sampling["stop_tokens"] = [*sampling.get("stop_tokens", ()), *self._llm.chat_stop_tokens]
        return self._submit(prompt, _params(sampling)).collect()

    def score(self, sequences: Prompt | Sequence[Prompt]) -> np.ndarray | list[np.ndarray]:
        """The log-probability of each token after those before it.

        Returns:
          float64 [tokens] of a sequence, NaN for the first token; or a list of them.
        """
        single = isinstance(sequences, str) or (
            len(sequences) > 0 and isinstance(sequences[0], (int, np.integer))
        )
        answers = self.generate(
            [sequences] if single else list(sequences),
            max_tokens=0,
            prompt_log_probabilities=True,
        )
        scores = [
            np.array([score.log_probability for score in answer.prompt_scores])
            for answer in answers
        ]
        return scores[0] if single else scores

    def _submit(self, prompt: Prompt, params: _fptq.SamplingParams) -> _fptq.Stream:
        tokens = self.encode(prompt) if isinstance(prompt, str) else [int(t) for t in prompt]
        return self._llm.submit(tokens, params)
