"""fptq's kernels inside vLLM, on CPUs.

vLLM finds :func:`register` by its entry point ``vllm.general_plugins``; there is nothing to call or to set. From then on
the linears of folders that ``fptq quantize`` wrote, or llm-compressor in the same format (``pack-quantized``, weights
of 4 bits or symmetric ones of 8, in groups or a group a channel, int8 activations), run in integer arithmetic, as in fptq itself: with a
scale per token and group of weights, or with the static scale of the file, for which vLLM has no scheme of its own.
"""

__all__ = ["register"]


def register():
    """Puts the scheme before vLLM's own, on CPUs. Called by vLLM in each of its processes; a second call does nothing."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import CompressedTensorsConfig

    from .scheme import FptqScheme

    if hasattr(CompressedTensorsConfig._get_scheme_from_parts, "fptq"):
        return
    before = CompressedTensorsConfig._get_scheme_from_parts

    def get_scheme(self, weight_quant, input_quant, output_quant=None, format=None, layer_name=None):
        found = FptqScheme.of(weight_quant, input_quant, output_quant, format or self.quant_format)
        return found or before(self, weight_quant, input_quant, output_quant, format, layer_name)

    get_scheme.fptq = True
    CompressedTensorsConfig._get_scheme_from_parts = get_scheme
