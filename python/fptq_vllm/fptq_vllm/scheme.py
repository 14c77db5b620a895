"""A linear layer of vLLM whose arithmetic is fptq's: int8 activations and integer weights."""

import torch
from vllm.distributed import tensor_model_parallel_all_gather
from vllm.model_executor.layers.quantization.compressed_tensors.schemes import CompressedTensorsScheme
from vllm.model_executor.parameter import BasevLLMParameter, GroupQuantScaleParameter, PackedvLLMParameter

from . import ops

TYPES = (torch.float32, torch.bfloat16)
GROUP_STEP = 32  # group sizes are multiples of it
ZERO_POINTS_TOGETHER = 8  # of so many output channels are a word


class FptqScheme(CompressedTensorsScheme):
    """Of one linear: `bits` a weight, groups of `group_size` (None: a row is one) without zero points if `symmetric`, and
    whether the scale of the activations is in the file or each row has its own.

    Tensor parallel, a process has some output channels of each linear, also of those (o, down) of which vLLM gives it some
    inputs: sums of parts of the inputs would round differently, and so would parts of a token with scales of their own. Such a
    linear gathers its inputs, and gives zeros for the other channels, which vLLM's sum over the processes fills in. So the
    number of processes changes no bit of what linears give, and a group may lie across the parts of the inputs.
    """

    def __init__(self, bits, group_size, symmetric, static):
        self.bits, self.group_size, self.symmetric, self.static = bits, group_size, symmetric, static

    @classmethod
    def of(cls, weights, inputs, outputs, format):
        """The scheme for a group of a quantization_config, or None if it is none of ours."""
        if format != "pack-quantized" or weights is None or inputs is None or outputs is not None:
            return None
        ours = (weights.type == "int" and weights.num_bits in ((4, 8) if weights.symmetric else (4,)) and not weights.dynamic
                and weights.strategy in ("group", "channel") and (weights.group_size or GROUP_STEP) % GROUP_STEP == 0
                and weights.actorder in (None, "weight", "static"))
        ours = ours and inputs.type == "int" and inputs.num_bits == 8 and inputs.symmetric
        if not ours or (inputs.strategy, bool(inputs.dynamic)) not in (("token", True), ("tensor", False)):
            return None
        return cls(weights.num_bits, weights.group_size if weights.strategy == "group" else None, weights.symmetric,
                   not inputs.dynamic)

    @classmethod
    def get_min_capability(cls):
        return -1

    def create_weights(self, layer, output_partition_sizes, input_size_per_partition, params_dtype, weight_loader, input_size,
                       **_):
        """Parameters as they are in the file, of this process's part of the linear."""
        k, channels = input_size, sum(output_partition_sizes)
        if params_dtype not in TYPES:
            raise ValueError(f"fptq_vllm: expected dtype float32 or bfloat16, found {params_dtype}")
        if k % GROUP_STEP:
            raise ValueError(f"fptq_vllm: expected inputs of a linear in multiples of {GROUP_STEP}, found {k}")
        layer.fptq_gathers = input_size_per_partition < input_size
        if layer.fptq_gathers:
            if channels % layer.tp_size:
                raise ValueError(f"fptq_vllm: expected output channels that {layer.tp_size} processes can share, found {channels}")
            channels //= layer.tp_size
        # What vLLM takes for the inputs' dimension is that which it cuts in linears that get a part of them.
        dims = {"output_dim": 0, "input_dim": 0 if layer.fptq_gathers else 1, "weight_loader": weight_loader}
        layer.register_parameter("weight_packed", PackedvLLMParameter(
            packed_dim=1, packed_factor=32 // self.bits, **dims,
            data=torch.empty(channels, k * self.bits // 32, dtype=torch.int32)))
        groups = 1 if self.group_size is None else k // self.group_size
        layer.register_parameter("weight_scale", GroupQuantScaleParameter(
            **dims, data=torch.empty(channels, groups, dtype=torch.float32)))
        if not self.symmetric:
            parts = [channels] if layer.fptq_gathers else output_partition_sizes  # of this process
            if any(part % ZERO_POINTS_TOGETHER for part in parts):
                raise ValueError(f"fptq_vllm: expected output channels in multiples of {ZERO_POINTS_TOGETHER}, as the weights have "
                                 f"zero points, found {parts}")
            layer.register_parameter("weight_zero_point", PackedvLLMParameter(
                packed_dim=0, packed_factor=ZERO_POINTS_TOGETHER, **dims,
                data=torch.empty(channels // ZERO_POINTS_TOGETHER, groups, dtype=torch.int32)))
        layer.register_parameter("weight_shape", BasevLLMParameter(
            data=torch.empty(2, dtype=torch.int64), weight_loader=weight_loader))
        if self.static:
            layer.register_parameter("input_scale", BasevLLMParameter(
                data=torch.empty(1, dtype=torch.float32), weight_loader=weight_loader))

    def process_weights_after_loading(self, layer):
        k = layer.weight_packed.shape[1] * 32 // self.bits
        stored = ["weight_packed", "weight_scale", "weight_shape"]
        stored += [] if self.symmetric else ["weight_zero_point"]
        stored += ["input_scale"] if self.static else []
        tiles, scales, zero_points, layer.fptq_full_range = ops.tile_weights(
            layer.weight_packed, layer.weight_scale, self.bits, k, None if self.symmetric else layer.weight_zero_point)
        layer.fptq_channels = layer.weight_scale.shape[0]
        layer.fptq_static_scale = float(layer.input_scale) if self.static else 0.0
        for name in stored:
            delattr(layer, name)
        layer.register_buffer("fptq_tiles", tiles, persistent=False)
        layer.register_buffer("fptq_scales", scales, persistent=False)
        layer.register_buffer("fptq_zero_points", zero_points, persistent=False)

    def apply_weights(self, layer, x, bias=None):
        if not layer.fptq_gathers:
            return self._linear(layer, x, bias)
        own = slice(layer.tp_rank * layer.fptq_channels, (layer.tp_rank + 1) * layer.fptq_channels)
        bias = None if layer.bias is None or layer.skip_bias_add else layer.bias[own]  # vLLM gives it to the first process alone
        out = x.new_zeros(*x.shape[:-1], layer.output_size)
        out[..., own] = self._linear(layer, tensor_model_parallel_all_gather(x), bias)
        return out

    def _linear(self, layer, x, bias):
        bias = None if bias is None else bias.to(torch.float32)
        return ops.linear(x, layer.fptq_tiles, layer.fptq_scales, layer.fptq_zero_points, bias, self.bits, layer.fptq_channels,
                          layer.fptq_full_range, layer.fptq_static_scale)
