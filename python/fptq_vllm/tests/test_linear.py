"""The operator against its formula. Needs torch, not vLLM; scripts/check_vllm.py tests both together."""

import pytest

torch = pytest.importorskip("torch")

from fptq_vllm import ops  # noqa: E402

SHAPES = [(4, 48, 128, 32), (4, 1, 32, 32), (4, 1536, 576, 64), (8, 100, 256, 256)]  # bits, channels, inputs, group size


def linear_of(bits, channels, k, group_size):
    """Weights, [channels, k], and what tile_weights makes of them."""
    torch.manual_seed(channels)
    half, a_word = 1 << (bits - 1), 32 // bits
    q = torch.randint(-half, half, (channels, k))
    scales = torch.rand(channels, k // group_size) * 0.02 + 0.001
    words = (q + half).view(channels, -1, a_word)
    packed = sum(words[:, :, i] << (bits * i) for i in range(a_word))
    packed = torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)
    weights = (q.view(channels, -1, group_size) * scales[:, :, None]).view(channels, k)
    return weights.double(), ops.tile_weights(packed, scales, bits, k)


def quantized(x, static_scale):
    """What the linear sees of x."""
    scale = torch.tensor(static_scale) if static_scale else x.abs().amax(-1, keepdim=True) / 127.5
    return (x / scale).round().clamp(-128, 127).double() * scale.double()


@pytest.mark.parametrize("static_scale", [0.0, 0.03])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_formula(shape, dtype, static_scale):
    bits, channels, k, _ = shape
    weights, (tiles, scales, full_range) = linear_of(*shape)
    bias = torch.randn(channels)
    x = torch.randn(2, 300, k).to(dtype)
    found = ops.linear(x, tiles, scales, bias, bits, channels, full_range, static_scale)
    assert found.shape == (2, 300, channels) and found.dtype == dtype
    expected = quantized(x.float(), static_scale) @ weights.T + bias
    error = 2**-8 * expected.abs() if dtype == torch.bfloat16 else 1e-5 * expected.abs().max()
    assert ((found.double() - expected).abs() <= error + 1e-5).all()


def test_rows_and_threads_do_not_matter():
    bits, channels, k, _ = SHAPES[2]
    _, (tiles, scales, full_range) = linear_of(*SHAPES[2])
    x = torch.randn(700, k, dtype=torch.bfloat16)
    call = lambda rows: ops.linear(rows, tiles, scales, None, bits, channels, full_range, 0.0)
    whole, before = call(x), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(call(x), whole)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.cat([call(row[None]) for row in x[:20]]), whole[:20])
    assert call(x[:0]).shape == (0, channels)


def test_the_compiler_traces_it():
    bits, channels, k, _ = SHAPES[0]
    _, (tiles, scales, full_range) = linear_of(*SHAPES[0])
    torch.library.opcheck(ops.linear, (torch.randn(3, k), tiles, scales, None, bits, channels, full_range, 0.0))
