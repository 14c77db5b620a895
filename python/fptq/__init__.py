"""fptq: W4A8 post-training quantization of language models by FPTQ, and running them on CPUs.

    import fptq

    fptq.quantize("models/SmolLM2", "models/SmolLM2-w4a8")
    llm = fptq.LLM("models/SmolLM2-w4a8")
    print(llm.chat([{"role": "user", "content": "What is a CPU?"}]).text)

Quantize: quantize, plan, recipe_names; Report.read for what a folder's fptq.json says.
Run: LLM (generate, stream, chat, score, embed), Tokenizer, Server.
Measure: perplexity, compare; fptq.lm_eval for the lm-eval harness.
Look inside: activations, weights, linear_names; quantize(rounding=...) for a rounding of your own.
"""

from fptq._fptq import (
    Completion,
    Divergence,
    Measured,
    ModelInfo,
    Perplexity,
    Stream,
    TokenScore,
    kernel_name,
    version,
)
from fptq.errors import (
    CancelledError,
    Error,
    FileError,
    InputError,
    InternalError,
    ResourceError,
)
from fptq.llm import LLM, Server, Tokenizer
from fptq.quantization import (
    LinearToRound,
    SiteActivations,
    activations,
    compare,
    linear_names,
    perplexity,
    plan,
    quantize,
    recipe_names,
    weights,
)
from fptq.report import LinearReport, Quantized, Report, SiteReport

__version__ = version().split(" ")[0]

__all__ = [
    "LLM",
    "CancelledError",
    "Completion",
    "Divergence",
    "Error",
    "FileError",
    "InputError",
    "InternalError",
    "LinearReport",
    "LinearToRound",
    "Measured",
    "ModelInfo",
    "Perplexity",
    "Quantized",
    "Report",
    "ResourceError",
    "Server",
    "SiteActivations",
    "SiteReport",
    "Stream",
    "TokenScore",
    "Tokenizer",
    "activations",
    "compare",
    "kernel_name",
    "linear_names",
    "perplexity",
    "plan",
    "quantize",
    "recipe_names",
    "version",
    "weights",
]
