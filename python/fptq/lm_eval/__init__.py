"""Model `fptq` for lm-eval-harness, in this process:

    python -m fptq.lm_eval --model fptq --model_args pretrained=DIR --tasks hellaswag

takes what the `lm_eval` command takes, which itself knows no models but its own. Documents are scored
side by side, and what their prompts have in common is computed once. Log-likelihoods are those of
`fptq eval`, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from fptq import _fptq
from fptq.errors import InputError
from fptq.llm import LLM

_GENERATION = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
_MAX_TOKENS = 256


@register_model("fptq")
class FptqLM(TemplateLM):
    """Scores and generates with an `fptq.LLM`.

    Args:
      pretrained: the model, and `options` are those of `fptq.LLM`; `context` is by default all
        positions of the model, as of `fptq eval`.
      batch_size, device: of no effect, as the harness gives them to all models.
    """

    def __init__(
        self, pretrained: str, batch_size: Any = None, device: Any = None, **options: Any
    ) -> None:
        super().__init__()
        self.llm = LLM(pretrained, **({"context": -1} | options))
        self._has_template = False  # texts have been through the chat template

    @property
    def eot_token_id(self) -> int:
        return self.llm.info.eos_tokens[0] if self.llm.info.eos_tokens else self.prefix_token_id

    @property
    def prefix_token_id(self) -> int:
        if self.llm.info.start_token < 0:
            raise InputError(
                "expected a model with a BOS or EOS token, to score texts from their start"
            )
        return self.llm.info.start_token

    @property
    def max_length(self) -> int:
        """Tokens that the model can read."""
        return self.llm.context - 1

    @property
    def max_gen_toks(self) -> int:
        return _MAX_TOKENS

    @property
    def tokenizer_name(self) -> str:
        return "fptq"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        prefix = add_special_tokens is not False and not self._has_template
        return self.llm.encode(string, special=self._has_template, prefix=prefix)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As `fptq eval`: together, but apart where a token spans the border."""
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        tokens = self.tok_encode(stripped)
        whole = self.tok_encode(stripped + continuation)
        if whole[: len(tokens)] == tokens:
            return tokens, whole[len(tokens) :]
        return tokens, self.tok_encode(continuation, add_special_tokens=False)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        self._has_template = True
        tokens = self.llm.apply_chat_template(
            chat_history, add_generation_prompt=add_generation_prompt
        )
        return self.llm.decode(tokens, skip_special=False)

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        streams = [self._score(context, continuation) for _, context, continuation in requests]
        results = []
        for (texts, _, _), stream in zip(requests, _shown(streams, "Scoring", disable_tqdm)):
            answer = stream.collect()
            greedy = all(score.top[0].token == score.token for score in answer.prompt_scores)
            # One after the other, as `fptq eval` adds them.
            result = float(np.cumsum(answer.prompt_log_probabilities)[-1]), greedy
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
            results.append(result)
        return results

    def _score(self, context: list[int], continuation: list[int]) -> _fptq.Stream:
        # Of what is too long the end is kept, as the harness does.
        tokens = (context + continuation)[-(self.max_length + 1) :]
        first = len(tokens) - len(continuation)
        if first < 1:
            raise InputError(
                f"expected continuations of at most {self.max_length} tokens, "
                f"found {len(continuation)}"
            )
        return self.llm.submit(
            tokens,
            max_tokens=0,
            log_probabilities=1,
            prompt_log_probabilities=True,
            prompt_log_probabilities_begin=first,
        )

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        windows, counts = [], []
        for (text,) in (request.args for request in requests):
            parts = get_rolling_token_windows(
                token_list=self.tok_encode(text, add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            before = len(windows)
            windows += [(None, *make_disjoint_window(part)) for part in parts]
            counts.append(len(windows) - before)
        scores = iter(self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm))
        sums = [sum(next(scores)[0] for _ in range(count)) for count in counts]
        for request, result in zip(requests, sums):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, result)
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        streams = [self._generate(*request.args) for request in requests]
        texts = []
        for request, stream in zip(requests, _shown(streams, "Generating", disable_tqdm)):
            texts.append(stream.collect().text)
            self.cache_hook.add_partial("generate_until", request.args, texts[-1])
        return texts

    def _generate(self, context: str, settings: dict[str, Any]) -> _fptq.Stream:
        stop = settings.get("until") or []
        max_tokens = settings.get("max_gen_toks", self.max_gen_toks)
        sampling = {name: settings[name] for name in _GENERATION if name in settings}
        if not settings.get("do_sample", sampling.get("temperature", 0) > 0):
            sampling["temperature"] = 0
        prompt = self.tok_encode(context)[-(self.max_length - max_tokens) :]
        return self.llm.submit(
            prompt,
            stop=[stop] if isinstance(stop, str) else [text for text in stop if text],
            max_tokens=max_tokens,
            **sampling,
        )


def _shown(streams: list[_fptq.Stream], what: str, disabled: bool) -> Iterable[_fptq.Stream]:
    return tqdm(streams, desc=what, disable=disabled)
