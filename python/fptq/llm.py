"""A model that runs: text, chat, scores, vectors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fptq import _fptq
from fptq._arguments import Progress, StrPath, Tokens, callback, filled, is_single, token_array
from fptq.errors import InputError

Prompt = str | Tokens
Message = dict[str, Any]

__all__ = ["LLM", "Server", "Tokenizer"]

_POLL_SECONDS = 0.005


def _params(options: dict[str, Any]) -> _fptq.SamplingParams:
    if isinstance(options.get("stop"), str):
        options = options | {"stop": [options["stop"]]}
    return filled(_fptq.SamplingParams(), "sampling", options)


async def _chunks(stream: _fptq.Stream) -> AsyncIterator[_fptq.Chunk]:
    import asyncio  # not with the module: it takes as long as all the rest

    while True:
        while not stream.ready():
            await asyncio.sleep(_POLL_SECONDS)
        chunk = stream.next()
        if chunk is None:
            return
        yield chunk


class Tokenizer:
    """From texts and conversations to tokens and back, without the weights of a model.

    Args:
      model, pre_tokenizer: as of `LLM`.
    """

    def __init__(self, model: StrPath, *, pre_tokenizer: str = "") -> None:
        self._tokenizer = _fptq.Tokenizer(Path(model), pre_tokenizer)

    @classmethod
    def _of(cls, llm: _fptq.LLM) -> Tokenizer:
        tokenizer = cls.__new__(cls)
        tokenizer._tokenizer = llm.tokenizer
        return tokenizer

    def encode(self, text: str, *, special: bool = True, prefix: bool = True) -> list[int]:
        """Token ids of a text.

        Args:
          special: whether special tokens that stand in it are recognized.
          prefix: whether what the model expects before a text, e.g. BOS, is put there.
        """
        return self._tokenizer.encode(text, special, prefix)

    def decode(self, tokens: Tokens, *, skip_special: bool = True) -> str:
        """The text of tokens."""
        return self._tokenizer.decode(token_array(tokens), skip_special)

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
        return self._tokenizer.encode_chat(
            json.dumps(
                {
                    **variables,
                    "messages": list(messages),
                    "tools": tools,
                    "add_generation_prompt": add_generation_prompt,
                }
            )
        )

    @property
    def chat_stop_tokens(self) -> list[int]:
        """Tokens at which an answer in a chat ends."""
        return self._tokenizer.chat_stop_tokens


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
      context: the most tokens of a sequence, prompt and answer; 0: what the model has, up to 8,192;
        -1: all that it has.
      max_sequences: how many run at a time; others wait.
      kv_memory: bytes for keys and values; 0: a part of what is free.
      prefix_cache: what prompts have in common is computed once; changes speed alone.
      int8_weights: holds a float model's weights in 8 bits, a quarter of the memory, and integer
        weights as they are where a model has float activations, which become int8.
      pre_tokenizer: how a GGUF file's tokenizer cuts text into words, if the file does not say.

    Raises:
      fptq.InputError, fptq.FileError, fptq.ResourceError.
    """

    def __init__(self, model: StrPath, **options: Any) -> None:
        self._llm = _fptq.LLM(Path(model), filled(_fptq.LlmOptions(), "LLM", options))
        self.tokenizer = Tokenizer._of(self._llm)

    @property
    def info(self) -> _fptq.ModelInfo:
        """Architecture, shapes, bytes, and `warnings`: what a user should know of the files."""
        return self._llm.info

    @property
    def context(self) -> int:
        """The most tokens of a sequence, prompt and answer together."""
        return self._llm.context

    def encode(self, text: str, *, special: bool = True, prefix: bool = True) -> list[int]:
        """As `Tokenizer.encode`."""
        return self.tokenizer.encode(text, special=special, prefix=prefix)

    def decode(self, tokens: Tokens, *, skip_special: bool = True) -> str:
        """As `Tokenizer.decode`."""
        return self.tokenizer.decode(tokens, skip_special=skip_special)

    def apply_chat_template(self, messages: Sequence[Message], **options: Any) -> list[int]:
        """As `Tokenizer.apply_chat_template`."""
        return self.tokenizer.apply_chat_template(messages, **options)

    def submit(self, prompt: Prompt, **sampling: Any) -> _fptq.Stream:
        """Starts a request; `next()`, `collect()`, `cancel()` of what it returns go on from there."""
        return self._submit(prompt, _params(sampling))

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        progress: Progress | bool | None = None,
        **sampling: Any,
    ) -> _fptq.Completion | list[_fptq.Completion]:
        """Completes a prompt (a text, or token ids), or several that run together.

        Args:
          progress: called as progress("generating", done, total) when one more of several is done;
            True: a bar by tqdm, if that is installed.

        Returns:
          A Completion, or a list of them: text, tokens, finish_reason, prompt_tokens,
          cached_tokens, scores (if log_probabilities were asked for).
        """
        params = _params(sampling)
        if is_single(prompts):
            return self._submit(prompts, params).collect()
        streams = [self._submit(prompt, params) for prompt in prompts]
        report = callback(progress)
        answers = []
        for stream in streams:
            answers.append(stream.collect())
            if report is not None:
                report("generating", len(answers), len(streams))
        return answers

    async def agenerate(self, prompt: Prompt, **sampling: Any) -> _fptq.Completion:
        """Completes a prompt, for asyncio."""
        stream = self.submit(prompt, **sampling)
        async for _ in _chunks(stream):
            pass
        return stream.collect()

    def stream(self, prompt: Prompt, **sampling: Any) -> Iterator[str]:
        """Completes a prompt; gives text as it comes. Dropping the iterator cancels."""
        stream = self.submit(prompt, **sampling)
        while (chunk := stream.next()) is not None:
            if chunk.text:
                yield chunk.text

    async def astream(self, prompt: Prompt, **sampling: Any) -> AsyncIterator[str]:
        """The same for asyncio."""
        async for chunk in _chunks(self.submit(prompt, **sampling)):
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
        sampling["stop_tokens"] = [*sampling.get("stop_tokens", ()), *self.tokenizer.chat_stop_tokens]
        return self._submit(prompt, _params(sampling)).collect()

    def score(self, sequences: Prompt | Sequence[Prompt]) -> np.ndarray | list[np.ndarray]:
        """The log-probability of each token after those before it.

        Returns:
          float64 [tokens] of a sequence, NaN for the first token; or a list of them.
        """
        single = is_single(sequences)
        answers = self.generate(
            [sequences] if single else sequences, max_tokens=0, prompt_log_probabilities=True
        )
        scores = [answer.prompt_log_probabilities for answer in answers]
        return scores[0] if single else scores

    def embed(
        self,
        sequences: Prompt | Sequence[Prompt],
        *,
        pooling: str = "mean",
        progress: Progress | bool | None = None,
    ) -> np.ndarray:
        """What the model makes of each sequence: its hidden state after the last norm.

        Args:
          pooling: "mean" over the tokens, or "last", that of the last token.

        Returns:
          float32 [hidden] of a sequence, or [sequences, hidden] of several.
        """
        if pooling not in ("mean", "last"):
            raise InputError(f"pooling: expected mean or last, found {pooling!r}")
        single = is_single(sequences)
        tokens = [self._tokens(sequence) for sequence in ([sequences] if single else sequences)]
        vectors = self._llm.embed(tokens, pooling == "mean", callback(progress))
        return vectors[0] if single else vectors

    def _tokens(self, prompt: Prompt) -> np.ndarray:
        return token_array(self.encode(prompt) if isinstance(prompt, str) else prompt)

    def _submit(self, prompt: Prompt, params: _fptq.SamplingParams) -> _fptq.Stream:
        return self._llm.submit(self._tokens(prompt), params)


class Server:
    """A model behind OpenAI's API over HTTP, on threads of its own, as `fptq serve` has it.

        with fptq.Server("DIR", port=0) as server:
            print(server.url)

    Args:
      model: as of `LLM`.
      host: the address to listen on; by default this machine alone may ask.
      port: 0: a free one.
      model_names, api_keys, cors_origins: lists of texts, as `fptq serve` takes them.
      queue: answers that wait; beyond it 429 is answered.
      request_seconds: after which an answer ends; 0: never.
      llm: the options of `LLM`.
    """

    def __init__(
        self, model: StrPath, *, llm: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self._server = _fptq.ModelServer(
            Path(model),
            filled(_fptq.LlmOptions(), "llm", llm or {}),
            filled(_fptq.ServeOptions(), "Server", options),
        )

    @property
    def url(self) -> str:
        """Where it listens: "http://127.0.0.1:8000"."""
        return self._server.url

    def drain(self) -> None:
        """Takes no new requests; those that are there are answered."""
        self._server.drain()

    def wait(self) -> None:
        """Returns when all has been answered after drain(), or raises KeyboardInterrupt."""
        self._server.wait()

    def close(self) -> None:
        """Breaks all connections off."""
        self._server = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
