#!/usr/bin/env python3
"""Writes testdata/gguf/types.gguf, a tensor of each type that we read, made of random blocks, and types.f32, the
values that the `gguf` package gives for them (float32, tensor after tensor in the order of the file)."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

SHAPE = (2, 512)
# Type -> offsets of the float16 scales in a block, which must be finite.
SCALES = {
    T.F32: None, T.F16: [0], T.BF16: None, T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
    T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.Q2_K: [80, 82], T.Q3_K: [108], T.IQ4_NL: [0],
    T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: None,
}


def random_blocks(rng, qtype):
    """Random bytes, [rows, bytes of a row], with every float finite."""
    elements, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = rng.integers(0, 256, (SHAPE[0] * SHAPE[1] // elements, size), dtype=np.uint8)
    if qtype == T.F32:
        bits = blocks.view(np.uint32)
        bits[(bits >> 23 & 255) == 255] ^= 1 << 23
    elif qtype == T.BF16:
        bits = blocks.view(np.uint16)
        bits[(bits >> 7 & 255) == 255] ^= 1 << 7
    elif qtype == T.MXFP4:  # every exponent that keeps 6 times the scale finite, or nearly
        blocks[:, 0] = np.linspace(0, 252, len(blocks))
        blocks[1, 0] = 1
    for offset in SCALES[qtype] or []:
        scale = np.ascontiguousarray(blocks[:, offset:offset + 2]).view(np.uint16)
        scale[(scale >> 10 & 31) == 31] ^= 1 << 10
        blocks[:, offset:offset + 2] = scale.view(np.uint8)
    return blocks.reshape(SHAPE[0], -1)


def main():
    folder = Path(__file__).resolve().parents[2] / "testdata" / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(folder / "types.gguf", "llama")
    writer.add_uint32("test.u32", 7)
    writer.add_int32("test.i32", -7)
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_float32("test.f32", 0.5)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "h\u00e9llo")
    writer.add_array("test.strings", ["a", "b", ""])
    writer.add_array("test.ints", [1, -2, 3])
    expected = []
    for qtype in SCALES:
        blocks = random_blocks(rng, qtype)
        if qtype == T.F32:
            writer.add_tensor(qtype.name, blocks.view(np.float32))
        else:
            writer.add_tensor(qtype.name, blocks, raw_dtype=qtype)
        values = blocks.view(np.float32) if qtype == T.F32 else gguf.quants.dequantize(blocks, qtype)
        if qtype == T.F16:
            values = blocks.view(np.float16).astype(np.float32)
        assert values.shape == SHAPE and np.isfinite(values).all()
        expected.append(values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.stack(expected).astype("<f4").tofile(folder / "types.f32")


if __name__ == "__main__":
    main()
