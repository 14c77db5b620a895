"""From a float checkpoint to a W4A8 folder, and what it cost in quality."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fptq import _fptq

Progress = Callable[[str, int, int], Any]
StrPath = str | os.PathLike[str]

__all__ = ["compare", "perplexity", "plan", "quantize", "recipe_names"]


def recipe_names() -> list[str]:
    """Names of the recipes that ship with fptq."""
    return _fptq.recipe_names()


def _bar() -> Progress | None:
    """A progress bar by tqdm, if that is installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = tqdm(total=total, desc=stage)
        bar = bars[stage]
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.refresh()

    return show


def _callback(progress: Progress | bool | None) -> Progress | None:
    if progress is True:
        return _bar()
    return progress or None


def quantize(
    source: StrPath,
    output: StrPath,
    *,
    recipe: str = "",
    calibration: StrPath | None = None,
    settings: dict[str, Any] | None = None,
    threads: int = 0,
    replace: bool = False,
    restart: bool = False,
    ignore_limits: bool = False,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> _fptq.QuantizationSummary:
    """Quantizes a float model to W4A8 by FPTQ and writes a Hugging Face folder.

    Args:
      source: a Hugging Face folder with float weights, or a GGUF file.
      output: the folder to write, whole or not at all.
      recipe: the name of a recipe (see `recipe_names`) or a JSON file; empty: the default.
      calibration: "self" (text that the model writes itself), "random", or a text file.
      settings: fields of a recipe, e.g. {"group_size": 64}, which go before the recipe's.
      threads: 0: as many as this process may use cores.
      replace: replace an output that exists, if fptq wrote it.
      restart: do not go on with what an interrupted run left.
      ignore_limits: begin though memory or disk are too small.
      pre_tokenizer: how a GGUF file's tokenizer cuts text into words, if the file does not say.
      progress: called with (stage, done, total), may return False to cancel; True: a bar by tqdm.

    Returns:
      Times, sizes in bytes, bits per weight, `sites` (how many were given which quantization) and
      `report_json` (each decision, its reason and errors).

    Raises:
      fptq.InputError, fptq.FileError, fptq.ResourceError, fptq.CancelledError. KeyboardInterrupt
      ends it too; the same call goes on later with what was finished.
    """
    fields = dict(settings or {})
    if calibration is not None:
        fields["calibration"] = os.fspath(calibration)
    return _fptq.quantize(
        Path(source), Path(output), recipe, json.dumps(fields) if fields else "", threads, replace,
        restart, ignore_limits, pre_tokenizer, _callback(progress),
    )  # fmt: skip


def plan(
    source: StrPath,
    *,
    recipe: str = "",
    settings: dict[str, Any] | None = None,
    threads: int = 0,
    ignore_limits: bool = False,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> list[dict[str, Any]]:
    """What `quantize` would decide for each layer and site; writes nothing.

    Returns:
      A dict for each site: layer, site, range (max |X|), choice, scale, group_size, reason, and
      alternatives, the relative error of the site's output by choice.
    """
    return json.loads(
        _fptq.plan(
            Path(source), recipe, json.dumps(settings) if settings else "", threads, ignore_limits,
            pre_tokenizer, _callback(progress),
        )  # fmt: skip
    )


def perplexity(
    model: StrPath,
    text: str,
    *,
    context: int = 1024,
    tokens: int = 0,
    threads: int = 0,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> _fptq.Perplexity:
    """How well a model predicts a text, in windows of `context` tokens that do not overlap.

    Args:
      tokens: how many tokens of the text are used; 0: all.
    """
    return _fptq.perplexity(
        Path(model), text, context, tokens, threads, pre_tokenizer, _callback(progress)
    )


def compare(
    model: StrPath,
    reference: StrPath,
    text: str,
    *,
    context: int = 1024,
    tokens: int = 0,
    threads: int = 0,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> _fptq.Divergence:
    """How far a model's predictions are from those of another one, usually the float model.

    Returns:
      `ratio` of the perplexities, `kl` (nats, mean over the tokens), `top1` (share of tokens that
      both find most likely), each with its standard error.
    """
    return _fptq.compare(
        Path(model), Path(reference), text, context, tokens, threads, pre_tokenizer,
        _callback(progress),
    )  # fmt: skip
