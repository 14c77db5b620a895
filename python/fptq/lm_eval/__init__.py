"""Model `fptq` for lm-eval-harness, in this process:

    python -m fptq.lm_eval --model fptq --model_args pretrained=DIR --tasks hellaswag

takes what the `lm_eval` command takes. Documents are scored side by side, and what their prompts
have in common is computed once.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from fptq.errors import InputError
from fptq.llm import LLM

_GENERATION = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "seed": "seed",
}


@register_model("fptq")
class FptqLM(TemplateLM):
    """Scores and generates with an `fptq.LLM`; `pretrained` and its other arguments go there."""

    def __init__(
        self, pretrained: str, batch_size: Any = None, device: Any = None, **options: Any
    ) -> None:
        super().__init__()
        self.llm = LLM(pretrained, **options)

    @property
    def eot_token_id(self) -> int:
        return self.llm.info.eos_tokens[0] if self.llm.info.eos_tokens else self.prefix_token_id

    @property
    def prefix_token_id(self) -> int:
        if self.llm.info.start_token < 0:
            raise InputError("expected a model with a BOS or EOS token, to score texts from their start")
        return self.llm.info.start_token

    @property
    def max_length(self) -> int:
        return self.llm.context

    @property
    def tokenizer_name(self) -> str:
        return "fptq"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        return self.llm.encode(string, special=False, prefix=add_special_tokens is not False)

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
        tokens = self.llm.apply_chat_template(
            chat_history, add_generation_prompt=add_generation_prompt
        )
        return self.llm.decode(tokens, skip_special=False)

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        streams = [self._score(context, continuation) for _, context, continuation in requests]
        results = []
        for stream in streams:
            scores = stream.collect().prompt_scores
            results.append(
                (
                    sum(score.log_probability for score in scores),
                    all(score.top[0].token == score.token for score in scores),
                )
            )
        return results

    def _score(self, context: list[int], continuation: list[int]):
        # Of what is too long the end is kept, as the harness does.
        tokens = (context + continuation)[-self.max_length :]
        first = len(tokens) - len(continuation)
        if first < 1:
            raise InputError(
                f"expected continuations of less than {self.max_length} tokens, "
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
        sums = []
        for (text,) in (request.args for request in requests):
            tokens = self.tok_encode(text, add_special_tokens=False)
            size = self.max_length - 1
            windows = [tokens[begin : begin + size] for begin in range(0, len(tokens), size)]
            scored = self._loglikelihood_tokens(
                [(("", ""), [self.prefix_token_id], window) for window in windows]
            )
            sums.append(sum(score for score, _ in scored))
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        streams = [self._generate(*request.args) for request in requests]
        return [stream.collect().text for stream in streams]

    def _generate(self, context: str, settings: dict[str, Any]):
        settings = dict(settings)
        stop = settings.pop("until", [])
        max_tokens = settings.pop("max_gen_toks", 256)
        sampling = {new: settings[old] for old, new in _GENERATION.items() if old in settings}
        if not settings.get("do_sample", sampling.get("temperature", 0) > 0):
            sampling["temperature"] = 0
        prompt = self.tok_encode(context)[-(self.max_length - max_tokens) :]
        return self.llm.submit(
            prompt,
            stop=[stop] if isinstance(stop, str) else list(stop),
            max_tokens=max_tokens,
            **sampling,
        )
