#!/usr/bin/env python3
"""Makes the folders of testdata/models that AutoGPTQ, GPTQModel and AutoAWQ write, with transformers' logits of the
float weights that their integers stand for by the formats' own definitions (src/io/gptq_awq.h).

  tiny-llama-gptq   4 bits, zero points, groups of 32 in activation order, quantize_config.json
  tiny-llama-gptq8  gptq_v2, 8 bits, symmetric, one scale a channel
  tiny-llama-awq    4 bits, zero points, groups of 32; k_proj is not converted

Written with torch 2.13, transformers 5.19.
"""
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from make_golden import (  # noqa: E402
    LINEARS, config_json, make_model, make_tokenizer, new_folder, tensors_of, write_golden, write_json, write_text_files)

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # the output of each field of a word, the lowest first


def pack(fields, bits, dim):
    """Unsigned fields, those side by side along `dim` in an int32, the lowest first."""
    count = 32 // bits
    parts = fields.to(torch.int64).unflatten(dim, (-1, count))
    words = sum(part << bits * i for i, part in enumerate(parts.unbind(dim + 1)))
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def unpack(words, bits, dim):
    fields = [(words.to(torch.int64) >> bits * i) & (2**bits - 1) for i in range(32 // bits)]
    return torch.stack(fields, dim + 1).flatten(dim, dim + 1)


def quantize(weight, bits, group_size, symmetric, group_of):
    """Fields [N, K], scales [groups, N] in float16 and zero points [groups, N], by minimum and maximum."""
    n, k = weight.shape
    top, groups = 2**bits - 1, k // group_size
    fields, scales, zeros = torch.zeros(n, k, dtype=torch.int64), [], []
    for g in range(groups):
        part = weight[:, group_of == g]
        low, high = part.amin(1), part.amax(1)
        if symmetric:
            scale = (part.abs().amax(1) / (top // 2)).to(torch.float16)
            zero = torch.full((n,), (top + 1) // 2)
        else:
            scale = ((high - low) / top).to(torch.float16)
            zero = (-low / scale.float()).round().clamp(0, top).long()
        fields[:, group_of == g] = (part / scale.float()[:, None] + zero[:, None]).round().clamp(0, top).long()
        scales.append(scale)
        zeros.append(zero)
    return fields, torch.stack(scales), torch.stack(zeros)


def gptq(weight, bits, group_size, symmetric, version, group_of):
    fields, scales, zeros = quantize(weight, bits, group_size, symmetric, group_of)
    if version == 1:
        zeros = zeros.clamp(1)  # a zero point of 0 cannot be stored
    state = {"qweight": pack(fields.T, bits, 0), "scales": scales, "g_idx": group_of.to(torch.int32),
             "qzeros": pack(zeros - int(version == 1), bits, 1)}
    # Back, as the kernels of AutoGPTQ define it.
    q, z = unpack(state["qweight"], bits, 0), unpack(state["qzeros"], bits, 1) + int(version == 1)
    index = state["g_idx"].long()
    return state, (scales.float()[index] * (q - z[index])).T.contiguous()


def awq(weight, group_size):
    group_of = torch.arange(weight.shape[1]) // group_size
    fields, scales, zeros = quantize(weight, 4, group_size, False, group_of)

    def ordered(columns):  # [rows, N]
        return pack(columns.unflatten(1, (-1, 8))[:, :, AWQ_ORDER].flatten(1), 4, 1)

    def in_place(words):
        return unpack(words, 4, 1).unflatten(1, (-1, 8))[:, :, [AWQ_ORDER.index(i) for i in range(8)]].flatten(1)

    state = {"qweight": ordered(fields.T), "qzeros": ordered(zeros), "scales": scales}
    q, z = in_place(state["qweight"]), in_place(state["qzeros"])
    return state, (scales.float()[group_of] * (q - z[group_of])).T.contiguous()


def write(name, model, tokenizer, config, convert, config_file=None):
    """`convert(module, weight)`: the tensors of a linear and the floats that they stand for; None: it stays float."""
    folder = new_folder(name)
    tensors = tensors_of(model, torch.float32)
    floats = dict(tensors)
    for layer in range(model.config.num_hidden_layers):
        for module in (f"model.layers.{layer}.{linear}" for site in LINEARS.values() for linear in site):
            converted = convert(module, tensors[module + ".weight"])
            if converted is None:
                continue
            state, floats[module + ".weight"] = converted
            del tensors[module + ".weight"]
            tensors.update({f"{module}.{suffix}": tensor.contiguous() for suffix, tensor in state.items()})
    json = config_json(model, torch.float32)
    if config_file:
        write_json(folder / config_file, config)
    write_json(folder / "config.json", json if config_file else json | {"quantization_config": config})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_text_files(folder, tokenizer)
    with tempfile.TemporaryDirectory() as reference:
        write_json(Path(reference) / "config.json", json)
        save_file(floats, Path(reference) / "model.safetensors", metadata={"format": "pt"})
        write_golden(folder, tokenizer, reference)


def main():
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    generator = torch.Generator().manual_seed(0)
    dims = {"num_hidden_layers": 2, "num_key_value_heads": 2, "intermediate_size": 96, "tie_word_embeddings": True}

    def in_activation_order(module, weight):
        k = weight.shape[1]
        group_of = torch.arange(k)[torch.randperm(k, generator=generator)] // 32
        return gptq(weight, 4, 32, False, 1, group_of)

    write("tiny-llama-gptq", make_model(21, **dims), tokenizer,
          {"bits": 4, "group_size": 32, "desc_act": True, "sym": False, "true_sequential": True}, in_activation_order,
          "quantize_config.json")
    write("tiny-llama-gptq8", make_model(22, **dims), tokenizer,
          {"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": False, "sym": True, "lm_head": False,
           "checkpoint_format": "gptq_v2"},
          lambda _, weight: gptq(weight, 8, weight.shape[1], True, 2, torch.zeros(weight.shape[1], dtype=torch.int64)))
    write("tiny-llama-awq", make_model(23, **dims), tokenizer,
          {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
           "modules_to_not_convert": ["k_proj"]},
          lambda module, weight: None if module.endswith("k_proj") else awq(weight, 32))


if __name__ == "__main__":
    main()
