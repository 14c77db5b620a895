"""The operator against its formula. Needs torch, not vLLM; scripts/check_vllm.py tests both together."""

import pytest

torch = pytest.importorskip("torch")

from fptq_vllm import ops  # noqa: E402

# bits, channels, inputs, group size, whether there are no zero points
SHAPES = [(4, 48, 128, 32, True), (4, 1, 32, 32, True), (4, 1536, 576, 64, True), (8, 100, 256, 256, True),
          (4, 48, 128, 32, False), (4, 21, 576, 64, False)]


def packed(q, bits):
    """Integers, those of a row in words of 32 bits."""
    words = (q + (1 << (bits - 1))).view(q.shape[0], -1, 32 // bits)
    packed = sum(words[:, :, i] << (bits * i) for i in range(32 // bits))
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)


def linear_of(bits, channels, k, group_size, symmetric):
    """Weights, [channels, k], and what tile_weights makes of them."""
    torch.manual_seed(channels)
    half = 1 << (bits - 1)
    q = torch.randint(-half, half, (channels, k))
    scales = torch.rand(channels, k // group_size) * 0.02 + 0.001
    zeros = torch.zeros(channels, k // group_size, dtype=torch.int64) if symmetric else torch.randint(-8, 8, scales.shape)
    weights = ((q.view(channels, -1, group_size) - zeros[:, :, None]) * scales[:, :, None]).view(channels, k)
    padded = torch.nn.functional.pad(zeros, (0, 0, 0, -channels % 8))  # a word holds those of 8 channels
    packed_zeros = None if symmetric else packed(padded.T.contiguous(), 4).T
    return weights.double(), ops.tile_weights(packed(q, bits), scales, bits, k, packed_zeros)


def quantized(x, group_size, static_scale):
    """What the linear sees of x: int8 with a scale for each row and group, or the static one."""
    groups = x.view(*x.shape[:-1], -1, group_size)
    scale = torch.tensor(static_scale) if static_scale else groups.abs().amax(-1, keepdim=True) / 127.5
    return ((groups / scale).round().clamp(-128, 127).double() * scale.double()).view(x.shape)


@pytest.mark.parametrize("static_scale", [0.0, 0.03])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_formula(shape, dtype, static_scale):
    bits, channels, k, group_size, _ = shape
    weights, (tiles, scales, zero_points, full_range) = linear_of(*shape)
    bias = torch.randn(channels)
    x = torch.randn(2, 300, k).to(dtype)
    found = ops.linear(x, tiles, scales, zero_points, bias, bits, channels, full_range, static_scale)
    assert found.shape == (2, 300, channels) and found.dtype == dtype
    expected = quantized(x.float(), group_size, static_scale) @ weights.T + bias
    error = 2**-8 * expected.abs() if dtype == torch.bfloat16 else 1e-5 * expected.abs().max()
    assert ((found.double() - expected).abs() <= error + 1e-5).all()


def test_rows_and_threads_do_not_matter():
    bits, channels, k, *_ = SHAPES[2]
    _, (tiles, scales, zero_points, full_range) = linear_of(*SHAPES[2])
    x = torch.randn(700, k, dtype=torch.bfloat16)
    call = lambda rows: ops.linear(rows, tiles, scales, zero_points, None, bits, channels, full_range, 0.0)
    whole, before = call(x), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(call(x), whole)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.cat([call(row[None]) for row in x[:20]]), whole[:20])
    assert call(x[:0]).shape == (0, channels)


def test_the_compiler_traces_it():
    for shape in (SHAPES[0], SHAPES[4]):
        bits, channels, k, *_ = shape
        _, (tiles, scales, zero_points, full_range) = linear_of(*shape)
        torch.library.opcheck(ops.linear, (torch.randn(3, k), tiles, scales, zero_points, None, bits, channels, full_range, 0.0))
