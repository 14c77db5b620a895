"""From a float checkpoint to a W4A8 folder, and what it cost in quality."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fptq import _fptq
from fptq._arguments import Progress, StrPath, Tokens, callback, filled, token_array
from fptq.llm import Message, Tokenizer
from fptq.report import Quantized, Report, SiteReport

__all__ = [
    "LinearToRound",
    "SiteActivations",
    "activations",
    "compare",
    "linear_names",
    "perplexity",
    "plan",
    "quantize",
    "recipe_names",
    "weights",
]

recipe_names = _fptq.recipe_names

Calibration = str | os.PathLike[str] | Iterable[str | Tokens | Sequence[Message]]


@dataclass(frozen=True)
class LinearToRound:
    """A linear whose weights are about to be rounded, after equalization. Arrays are copies."""

    name: str
    """Hugging Face's, "model.layers.0.mlp.down_proj"."""
    layer: int
    site: str
    """attn_in, attn_out, mlp_in or mlp_mid; of experts mlp_mid.0, ..., mlp_mid.shared."""
    group_size: int
    """Inputs that share a scale; divides K."""
    bits: int
    symmetric: bool
    """The groups have no zero points."""
    weights: np.ndarray
    """float32 [N, K]."""
    mean_squares: np.ndarray
    """float32 [K], of the calibrated inputs X."""
    gram: np.ndarray
    """float32 [K, K], X^T X; [0, 0] if the recipe's method has no use for it."""


Rounding = Callable[
    [LinearToRound],
    tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, np.ndarray] | None,
]


@dataclass(frozen=True)
class SiteActivations:
    """The rows X that entered the linears of a site in calibration."""

    layer: int
    site: str
    """attn_in, attn_out, mlp_in or mlp_mid; of experts mlp_mid.0, ..., mlp_mid.shared."""
    rows: int
    absmax: np.ndarray
    """float32 [K], max |X_j|."""
    mean_squares: np.ndarray
    """float32 [K], mean X_j^2."""
    sample: np.ndarray
    """float32 [sample_rows, K]: rows at even distances."""


def _sequences(source: StrPath, calibration: Iterable, pre_tokenizer: str) -> list[list[int]]:
    tokenizer = Tokenizer(source, pre_tokenizer=pre_tokenizer)
    sequences = []
    for item in calibration:
        if isinstance(item, str):
            tokens = tokenizer.encode(item)
        elif len(item) > 0 and isinstance(item[0], Mapping):
            tokens = tokenizer.apply_chat_template(item, add_generation_prompt=False)
        else:
            tokens = token_array(item).tolist()
        sequences.append(tokens)
    return sequences


def _options(
    source: StrPath,
    calibration: Calibration | None,
    settings: dict[str, Any] | None,
    pre_tokenizer: str,
    **others: Any,
) -> _fptq.QuantizationOptions:
    fields, sequences = dict(settings or {}), []
    if isinstance(calibration, (str, os.PathLike)):
        fields["calibration"] = os.fspath(calibration)
    elif calibration is not None:
        sequences = _sequences(source, calibration, pre_tokenizer)
    values = others | {
        "settings": json.dumps(fields) if fields else "",
        "calibration": sequences,
        "pre_tokenizer": pre_tokenizer,
    }
    return filled(_fptq.QuantizationOptions(), "quantization", values)


def _rounding(rounding: Rounding | None) -> Callable | None:
    if rounding is None:
        return None

    def call(*fields: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        rounded = rounding(LinearToRound(*fields))
        if rounded is None:
            return None
        q, scales, *others = (np.asarray(array) for array in rounded)
        zeros = others[0] if others else np.empty((0, 0))
        for name, array in ("q [N, K]", q), ("zero points [N, K / group_size]", zeros):
            if array.min(initial=0) < -128 or array.max(initial=0) > 127 or array.ndim != 2:
                raise ValueError(
                    f"{fields[0]}: rounding: expected {name} from -128 to 127, found {array.shape} "
                    f"from {array.min()} to {array.max()}"
                )
        if scales.ndim != 2:
            raise ValueError(
                f"{fields[0]}: rounding: expected scales [N, K / group_size], found {scales.shape}"
            )
        return (
            np.ascontiguousarray(q, np.int8),
            np.ascontiguousarray(scales, np.float32),
            np.ascontiguousarray(zeros, np.int8),
        )

    return call


def quantize(
    source: StrPath,
    output: StrPath,
    *,
    recipe: str = "",
    calibration: Calibration | None = None,
    settings: dict[str, Any] | None = None,
    rounding: Rounding | None = None,
    threads: int = 0,
    replace: bool = False,
    restart: bool = False,
    ignore_limits: bool = False,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> Quantized:
    """Quantizes a float model to W4A8 by FPTQ and writes a Hugging Face folder.

    Args:
      source: a Hugging Face folder with float weights, or a GGUF file.
      output: the folder to write, whole or not at all.
      recipe: a name of `recipe_names()`, or a JSON file; empty: the default, "fptq".
      calibration: "self" (text that the model writes), "chat", "random", a text file, or a mix of
        them as `fptq quantize --calibration` takes it; or an iterable of texts, conversations (lists
        of messages) or token ids, each of them a sequence.
      settings: of the recipe, e.g. {"group_size": 64, "calibration_tokens": 8192}.
      rounding: called for each linear with a LinearToRound. Returns (q, scales) or, where that is not
        symmetric, (q, scales, zero_points): integers [N, K] from -2^(bits - 1) to 2^(bits - 1) - 1,
        scales [N, K / group_size] and zero points, integers of the same shape and range,
        w = (q - zero_point) * scale; or None, and the recipe's method rounds it. An interrupted run with such a function begins anew.
      threads: 0: as many as this process may use cores.
      replace: an output that exists, if fptq wrote it.
      restart: does not go on with what an interrupted run left.
      ignore_limits: begins though memory or disk are too small.
      pre_tokenizer: how a GGUF file's tokenizer cuts text into words, if the file does not say.
      progress: called as progress(stage, done, total); False cancels. True: a bar by tqdm, if that
        is installed.

    Raises:
      fptq.InputError, fptq.FileError, fptq.ResourceError, fptq.CancelledError. KeyboardInterrupt
      ends it too; the same call goes on later with what was finished.
    """
    options = _options(
        source, calibration, settings, pre_tokenizer, recipe=recipe, threads=threads,
        replace=replace, restart=restart, ignore_limits=ignore_limits,
    )  # fmt: skip
    done = _fptq.quantize(
        Path(source), Path(output), options, _rounding(rounding), callback(progress)
    )
    return Quantized(
        seconds=done.seconds,
        source_bytes=done.source_bytes,
        output_bytes=done.output_bytes,
        bits_per_weight=done.bits_per_weight,
        sites=done.sites,
        warnings=done.warnings,
        report=Report.from_json(done.report_json),
    )


def plan(
    source: StrPath,
    *,
    recipe: str = "",
    calibration: Calibration | None = None,
    settings: dict[str, Any] | None = None,
    threads: int = 0,
    ignore_limits: bool = False,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> list[SiteReport]:
    """What `quantize` would decide for each layer and site; writes nothing. Arguments as there."""
    options = _options(
        source, calibration, settings, pre_tokenizer, recipe=recipe, threads=threads,
        ignore_limits=ignore_limits,
    )  # fmt: skip
    sites = json.loads(_fptq.plan(Path(source), options, callback(progress)))
    return [SiteReport(**site) for site in sites]


def activations(
    source: StrPath,
    *,
    sample_rows: int = 0,
    recipe: str = "",
    calibration: Calibration | None = None,
    settings: dict[str, Any] | None = None,
    threads: int = 0,
    ignore_limits: bool = False,
    pre_tokenizer: str = "",
    progress: Progress | bool | None = None,
) -> list[SiteActivations]:
    """What enters the linears of a float model in calibration, by layer and site.

    Args:
      sample_rows: how many rows of each site are kept, or all if there are fewer.
      calibration, settings and the others: as of `quantize`.
    """
    options = _options(
        source, calibration, settings, pre_tokenizer, recipe=recipe, threads=threads,
        ignore_limits=ignore_limits,
    )  # fmt: skip
    sites: list[SiteActivations] = []

    def take(*fields: Any) -> None:
        sites.append(SiteActivations(*fields))

    _fptq.observe(Path(source), options, sample_rows, take, callback(progress))
    return sites


def linear_names(model: StrPath) -> list[str]:
    """Hugging Face's names of the linears of all layers: "model.layers.0.self_attn.q_proj", ..."""
    return _fptq.linear_names(Path(model))


def weights(model: StrPath, linear: str) -> np.ndarray:
    """The weights of a linear, float32 [N, K]; dequantized if they are stored as integers.

    Args:
      model: as of `fptq.LLM`.
      linear: one of `linear_names(model)`.
    """
    return _fptq.weights(Path(model), linear)


def perplexity(
    model: StrPath, text: str, *, progress: Progress | bool | None = None, **options: Any
) -> _fptq.Perplexity:
    """How well a model predicts a text, in windows that do not overlap.

    Args:
      model: as of `fptq.LLM`.
      progress: as of `quantize`.
      options: context (tokens of a window, default 1,024), tokens (of the text that are used; 0,
        the default: all), threads, pre_tokenizer.
    """
    filled_options = filled(_fptq.EvaluationOptions(), "perplexity", options)
    return _fptq.perplexity(Path(model), text, filled_options, callback(progress))


def compare(
    model: StrPath,
    reference: StrPath,
    text: str,
    *,
    progress: Progress | bool | None = None,
    **options: Any,
) -> _fptq.Divergence:
    """How far a model's predictions are from those of another one, usually the float model.

    Args:
      options: as of `perplexity`.

    Returns:
      `ratio` of the perplexities, `kl` (nats, mean over the tokens), `top1` (share of tokens that
      both find most likely), each with its standard error.
    """
    filled_options = filled(_fptq.EvaluationOptions(), "compare", options)
    return _fptq.compare(Path(model), Path(reference), text, filled_options, callback(progress))
