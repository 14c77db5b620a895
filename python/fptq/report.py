"""What fptq.json says of a quantization."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fptq._arguments import StrPath

__all__ = ["LinearReport", "Quantized", "Report", "SiteReport"]


@dataclass(frozen=True)
class SiteReport:
    """What was decided for the activations that enter the linears of a site, and why."""

    layer: int
    site: str
    """attn_in, attn_out, mlp_in or mlp_mid; of experts mlp_mid.0, ..., mlp_mid.shared."""
    range: float
    """max |X| in calibration."""
    scheme: str
    """static, dynamic, lae_static, ..., or float."""
    reason: str
    channel_maxima: list[float]
    """Deciles of max |X_j|: the least, what 10 % do not exceed, ..., the largest."""
    equalized_range: float | None = None
    """The same after equalization; None if there is none."""
    equalized_channel_maxima: list[float] | None = None
    scale: float | None = None
    """Of a static scheme."""
    group_size: int | None = None
    """Inputs that share a weight scale; None: the weights stay float."""
    symmetric: bool = True
    """4-bit weights have no zero points."""
    weight_exponent: float = 0.0
    notes: list[str] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    """Relative error of the site's output by scheme, of those that were measured."""


@dataclass(frozen=True)
class LinearReport:
    """How well the weights of a linear were rounded."""

    name: str
    bits: int
    group_size: int
    weight_error: float
    """sqrt(sum d (w - q)^2 / sum d w^2), d the mean square of the input channel."""


@dataclass(frozen=True)
class Report:
    """All of fptq.json."""

    format_version: int
    recipe: dict[str, Any]
    calibration_tokens: int
    bits_per_weight: float
    """Of the linears, scales included."""
    sites: list[SiteReport]
    linears: list[LinearReport]

    @classmethod
    def from_json(cls, text: str) -> Report:
        fields = json.loads(text)
        fields["sites"] = [SiteReport(**site) for site in fields["sites"]]
        fields["linears"] = [LinearReport(**linear) for linear in fields["linears"]]
        return cls(**fields)

    @classmethod
    def read(cls, folder: StrPath) -> Report:
        """That of a folder that fptq wrote."""
        return cls.from_json((Path(folder) / "fptq.json").read_text())


@dataclass(frozen=True)
class Quantized:
    """What `fptq.quantize` did."""

    seconds: float
    source_bytes: int
    """Of the tensors, as are `output_bytes`."""
    output_bytes: int
    bits_per_weight: float
    """Of the linears, scales included."""
    sites: dict[str, int]
    """How many were given which scheme."""
    warnings: list[str]
    report: Report
