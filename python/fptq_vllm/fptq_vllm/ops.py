"""The linear as a torch operator, which torch.compile traces."""

import ctypes
from pathlib import Path

import torch

_kernels = ctypes.CDLL(str(next(Path(__file__).parent.glob("_kernels*.so"))))
TILE_CHANNELS = 16


class _Linear(ctypes.Structure):  # FptqLinear of linear.cc
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("bits", "channels", "k", "group_size")),
        ("tiles", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("zero_points", ctypes.c_void_p),
        ("full_range", ctypes.c_int64),
        ("bias", ctypes.c_void_p),
        ("static_scale", ctypes.c_float),
        *((name, ctypes.c_int64) for name in ("rows", "bf16")),
        ("x", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
    ]


_kernels.fptq_tile_bytes.argtypes = [ctypes.c_int64] * 3
_kernels.fptq_tile_bytes.restype = ctypes.c_int64
_kernels.fptq_tile_weights.argtypes = [ctypes.c_int64] * 4 + [ctypes.c_void_p] * 6
_kernels.fptq_tile_weights.restype = ctypes.c_int64
_kernels.fptq_linear.argtypes = [ctypes.POINTER(_Linear)]
_kernels.fptq_linear.restype = None


def _address(tensor):
    return None if tensor is None else tensor.data_ptr()


def tile_weights(packed, scales, bits, k, zero_points=None):
    """Lays weights out for the kernels.

    packed: int32, [channels, k * bits / 32], as compressed-tensors packs them. scales: float32, [channels, groups]. zero_points,
    of 4 bits: int32, [channels / 8 rounded up, groups], packed along the channels.
    Returns tiles (uint8), scales (float32, [tiles, groups, 16]), zero points (int8, the same shape, or None) and whether a
    weight is the least of its bits.
    """
    channels, groups = scales.shape
    packed, scales = packed.contiguous(), scales.to(torch.float32).contiguous()
    zero_points = None if zero_points is None else zero_points.contiguous()
    tiles = torch.empty(_kernels.fptq_tile_bytes(bits, channels, k), dtype=torch.uint8)
    tile_scales = torch.empty(-(-channels // TILE_CHANNELS), groups, TILE_CHANNELS, dtype=torch.float32)
    tile_zero_points = None if zero_points is None else torch.empty(tile_scales.shape, dtype=torch.int8)
    full_range = _kernels.fptq_tile_weights(bits, channels, k, k // groups, *map(_address, (
        packed, scales, zero_points, tiles, tile_scales, tile_zero_points)))
    return tiles, tile_scales, tile_zero_points, bool(full_range)


def _linear(x, tiles, scales, zero_points, bias, bits, channels, full_range, static_scale):
    k = x.shape[-1]
    x = x.contiguous()
    out = x.new_empty(*x.shape[:-1], channels)
    if out.numel() > 0:
        _kernels.fptq_linear(_Linear(
            bits=bits, channels=channels, k=k, group_size=k // scales.shape[1], tiles=tiles.data_ptr(), scales=scales.data_ptr(),
            zero_points=_address(zero_points), full_range=full_range, bias=_address(bias), static_scale=static_scale,
            rows=x.numel() // k, bf16=x.dtype == torch.bfloat16, x=x.data_ptr(), out=out.data_ptr()))
    return out


def _fake(x, tiles, scales, zero_points, bias, bits, channels, full_range, static_scale):
    return x.new_empty(*x.shape[:-1], channels)


# As long as the module lives, as torch says of libraries.
_library = torch.library.Library("fptq", "DEF")
_library.define("linear(Tensor x, Tensor tiles, Tensor scales, Tensor? zero_points, Tensor? bias, int bits, int channels, "
                "bool full_range, float static_scale) -> Tensor")
_library.impl("linear", _linear, "CPU")
torch.library.register_fake("fptq::linear", _fake, lib=_library)

# x: [..., k] of float32 or bfloat16, tiles, scales and zero_points of tile_weights, bias float32 or none, static_scale of the
# activations or 0 for a scale per row and group of the weights. Returns [..., channels] of x's type.
linear = torch.ops.fptq.linear
