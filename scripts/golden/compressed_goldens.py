#!/usr/bin/env python3
"""Makes the folders of testdata/models that other programs' compressed-tensors look like, with transformers' logits.

  tiny-llama-w8a8    int-quantized, bfloat16, as llm-compressor writes W8A8: one scale a channel, "Linear", dynamic
                     activations; some weights are -128
  tiny-llama-mixed   mixed-precision: a scheme for each site (SCHEMES), float32
  tiny-llama-parts   a scheme for each linear (PARTS), so that those of a site differ; lm_head quantized, too; float32

The weights go through compressed-tensors' own compressors. transformers 5.23 fails to load packed zero points, so
for its logits these linears are stored unpacked, with the same integers and zero points. See make_golden.py for the rest.
Written with torch 2.13, transformers 5.23, compressed-tensors 0.20.
"""
import sys
import tempfile
from pathlib import Path

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from make_golden import (  # noqa: E402
    LINEARS, PROMPT, config_json, make_model, make_tokenizer, new_folder, observe_ranges, tensors_of, write_golden,
    write_json, write_text_files)

PACKED, INT, NAIVE = "pack-quantized", "int-quantized", "naive-quantized"
FLOAT, DYNAMIC, STATIC = None, "dynamic", "static"
# By layer and site: format, bits, symmetric, group size (-1: one scale a channel, 0: one a tensor), activations.
SCHEMES = {
    (0, "attn_in"): (PACKED, 4, False, 32, DYNAMIC),
    (0, "attn_out"): (PACKED, 4, True, -1, DYNAMIC),
    (0, "mlp_in"): (PACKED, 4, False, -1, STATIC),
    (0, "mlp_mid"): (INT, 8, True, -1, DYNAMIC),
    (1, "attn_in"): (NAIVE, 8, True, 0, STATIC),
    (1, "attn_out"): (PACKED, 4, False, 32, FLOAT),
    (1, "mlp_in"): (PACKED, 8, False, -1, FLOAT),
}  # the mlp_mid of layer 1 is float

# By linear, in both layers. k_proj is float.
PARTS = {
    "self_attn.q_proj": (PACKED, 4, True, 32, DYNAMIC),
    "self_attn.v_proj": (PACKED, 8, True, -1, STATIC),
    "self_attn.o_proj": (PACKED, 4, True, 32, DYNAMIC),
    "mlp.gate_proj": (PACKED, 4, True, -1, FLOAT),
    "mlp.up_proj": (INT, 8, True, -1, DYNAMIC),
    "mlp.down_proj": (PACKED, 4, True, 32, STATIC),
    "lm_head": (PACKED, 8, True, -1, DYNAMIC),
}


def weight_args(bits, symmetric, group):
    strategy = "group" if group > 0 else "channel" if group < 0 else "tensor"
    return QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy=strategy,
                            group_size=group if group > 0 else None)


def compress(weight, form, args):
    """The tensors of a module; scales by minimum and maximum."""
    n, k = weight.shape
    size = args.group_size or k
    groups = weight.reshape(1, -1) if args.strategy == "tensor" else weight.reshape(n, k // size, size)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero.to(torch.int8)}
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    return BaseCompressor.get_value_from_registry(form).compress(state, scheme)


def group_json(targets, form, args, activations):
    weights = args.model_dump()
    inputs = None if activations is FLOAT else QuantizationArgs(
        num_bits=8, symmetric=True, strategy="token" if activations is DYNAMIC else "tensor",
        dynamic=activations is DYNAMIC).model_dump()
    return {"targets": targets, "weights": weights, "input_activations": inputs, "output_activations": None,
            **({"format": form} if form else {})}


def write_folder(folder, model, tokenizer, dtype, tensors, form, groups, ignore):
    config = config_json(model, dtype)
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
        "config_groups": {f"group_{i}": group for i, group in enumerate(groups)}, "ignore": ignore,
        "kv_cache_scheme": None, "global_compression_ratio": None}
    write_json(folder / "config.json", config)
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    write_text_files(folder, tokenizer)


def modules(layer, site):
    return [f"model.layers.{layer}.{module}" for module in LINEARS[site]]


def write_w8a8(model, tokenizer):
    tensors = tensors_of(model, torch.bfloat16)
    args = weight_args(8, True, -1)
    for layer in range(model.config.num_hidden_layers):
        for site in LINEARS:
            for module in modules(layer, site):
                state = compress(tensors.pop(module + ".weight"), INT, args)
                tensors.update({f"{module}.{suffix}": tensor for suffix, tensor in state.items()})
    lowest = [int((t == -128).sum()) for t in tensors.values() if t.dtype == torch.int8]
    assert sum(lowest) > 10, lowest
    folder = new_folder("tiny-llama-w8a8")
    write_folder(folder, model, tokenizer, torch.bfloat16, tensors, INT,
                 [group_json(["Linear"], None, args, DYNAMIC)], ["lm_head"])
    write_golden(folder, tokenizer, folder)


def write_mixed(folder, model, tokenizer, packed_zeros):
    tensors = tensors_of(model, torch.float32)
    ranges = observe_ranges(model, tokenizer.encode(PROMPT).ids)
    groups = []
    for (layer, site), (form, bits, symmetric, size, activations) in SCHEMES.items():
        args = weight_args(bits, symmetric, size)
        form = form if symmetric or packed_zeros else NAIVE
        groups.append(group_json(modules(layer, site), form, args, activations))
        for module in modules(layer, site):
            state = compress(tensors.pop(module + ".weight"), form, args)
            tensors.update({f"{module}.{suffix}": tensor for suffix, tensor in state.items()})
            if activations is STATIC:
                tensors[module + ".input_scale"] = torch.tensor([ranges[module] / 127.5])
    write_folder(folder, model, tokenizer, torch.float32, tensors, "mixed-precision", groups,
                 ["lm_head"] + modules(1, "mlp_mid"))


def write_parts(model, tokenizer):
    tensors = tensors_of(model, torch.float32)
    ranges = observe_ranges(model, tokenizer.encode(PROMPT).ids)
    groups = []
    for name, (form, bits, symmetric, size, activations) in PARTS.items():
        args = weight_args(bits, symmetric, size)
        names = [name] if name == "lm_head" else [f"model.layers.{layer}.{name}" for layer in range(2)]
        groups.append(group_json(names, form, args, activations))
        for module in names:
            state = compress(tensors.pop(module + ".weight"), form, args)
            tensors.update({f"{module}.{suffix}": tensor for suffix, tensor in state.items()})
            if activations is STATIC:
                tensors[module + ".input_scale"] = torch.tensor([ranges[module] / 127.5])
    folder = new_folder("tiny-llama-parts")
    write_folder(folder, model, tokenizer, torch.float32, tensors, "mixed-precision", groups, ["re:.*k_proj$"])
    write_golden(folder, tokenizer, folder)


def main():
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    # Seeds with which no row's largest |x| lies, for some, on the other side of -127.5 scales: such a row tips by a
    # whole step, here 1 % of the logits, when float sums go in another order.
    write_w8a8(make_model(17, num_hidden_layers=2, num_key_value_heads=2, intermediate_size=96,
                          tie_word_embeddings=True), tokenizer)
    mixed = make_model(8, num_hidden_layers=2, num_key_value_heads=1, intermediate_size=96, tie_word_embeddings=True)
    folder = new_folder("tiny-llama-mixed")
    write_mixed(folder, mixed, tokenizer, packed_zeros=True)
    with tempfile.TemporaryDirectory() as unpacked:
        write_mixed(Path(unpacked), mixed, tokenizer, packed_zeros=False)
        write_golden(folder, tokenizer, unpacked)
    write_parts(make_model(12, num_hidden_layers=2, num_key_value_heads=2, intermediate_size=96,
                           tie_word_embeddings=False), tokenizer)


if __name__ == "__main__":
    main()
