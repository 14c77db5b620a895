"""fptq: W4A8 post-training quantization of language models by FPTQ, and running them on CPUs.

    import fptq

    fptq.quantize("models/SmolLM2", "models/SmolLM2-w4a8")
    llm = fptq.LLM("models/SmolLM2-w4a8")
    print(llm.chat([{"role": "user", "content": "What is a CPU?"}]).text)
"""

from fptq._fptq import (
    Completion,
    Divergence,
    Measured,
    ModelInfo,
    Perplexity,
    QuantizationSummary,
    TokenScore,
)
from fptq._fptq import kernel_name, version
from fptq.errors import (
    CancelledError,
    Error,
    FileError,
    InputError,
    InternalError,
    ResourceError,
)
from fptq.llm import LLM
from fptq.quantization import compare, perplexity, plan, quantize, recipe_names

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
    "Measured",
    "ModelInfo",
    "Perplexity",
    "QuantizationSummary",
    "ResourceError",
    "TokenScore",
    "compare",
    "kernel_name",
    "perplexity",
    "plan",
    "quantize",
    "recipe_names",
    "version",
]
