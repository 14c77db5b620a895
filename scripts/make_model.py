#!/usr/bin/env python3
"""Makes a randomly initialised model of any size, LLaMA or, with --experts, Qwen3-MoE, to test and time without a download.

  scripts/make_model.py OUT [--shape 135m] [--dtype f16] [--seed 0] [--tokenizer DIR] [--gguf FILE]

OUT becomes a Hugging Face folder, in shards above 5 GB; with --gguf-only it gets its config and
tokenizer alone. Tensors are written one by one, so memory stays at two copies of the largest.
Weights are normal with variance 1 / fan-in, so activations keep the size that
norms give them. Needs numpy; --gguf also the gguf package. Without --tokenizer the vocabulary is
the 256 bytes, one merge and a few special tokens, whatever the embedding's size.
"""

import argparse
import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np

SHAPES = {  # layers, hidden, heads, kv_heads, mlp, vocab, tied
    "tiny": (2, 64, 4, 2, 160, 512, True),
    "135m": (30, 576, 9, 3, 1536, 49152, True),
    "1.1b": (22, 2048, 32, 4, 5632, 32000, False),
    "7b": (32, 4096, 32, 32, 11008, 32000, False),
    "30b-a3b": (48, 2048, 32, 4, 6144, 151936, False),  # Qwen3-30B-A3B
}
EXPERTS = {"30b-a3b": (128, 8, 768, 128)}  # experts, of a token, their MLP, head_dim
DIMS = ["layers", "hidden", "heads", "kv_heads", "mlp", "vocab"]
DTYPES = {"f32": ("F32", 4, "float32"), "f16": ("F16", 2, "float16"), "bf16": ("BF16", 2, "bfloat16")}
SHARD_BYTES = 5 * 10**9
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    for dim in DIMS:
        parser.add_argument("--" + dim.replace("_", "-"), type=int)
    parser.add_argument("--head-dim", type=int, help="default: hidden / heads")
    parser.add_argument("--experts", type=int, help="of each layer; a Qwen3-MoE")
    parser.add_argument("--active", type=int, help="experts of a token")
    parser.add_argument("--expert-mlp", type=int, help="width of an expert's MLP")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, help="folder to copy tokenizer files from")
    parser.add_argument("--gguf", type=Path, help="write the same model as a GGUF file, too")
    parser.add_argument("--gguf-only", action="store_true", help="do not write safetensors")
    parser.add_argument(
        "--gguf-type", choices=["dtype", "q4_0"], default="dtype",
        help="of the matrices in the GGUF file: that of --dtype, or 4-bit blocks",
    )
    args = parser.parse_args()
    defaults = EXPERTS.get(args.shape, (0, 0, 0, None))
    for name, value in zip(["experts", "active", "expert_mlp", "head_dim"], defaults):
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.gguf_only and not args.gguf:
        parser.error("--gguf-only needs --gguf FILE")
    *dims, args.tied = SHAPES[args.shape]
    for dim, value in zip(DIMS, dims):
        if getattr(args, dim) is None:
            setattr(args, dim, value)
    if args.head_dim is None:
        args.head_dim = args.hidden // args.heads
    return args


def tensor_shapes(args):
    query, kv = args.heads * args.head_dim, args.kv_heads * args.head_dim
    shapes = {"model.embed_tokens.weight": (args.vocab, args.hidden)}
    for i in range(args.layers):
        layer = {
            "input_layernorm": (args.hidden,),
            "self_attn.q_proj": (query, args.hidden),
            "self_attn.k_proj": (kv, args.hidden),
            "self_attn.v_proj": (kv, args.hidden),
            "self_attn.o_proj": (args.hidden, query),
            "post_attention_layernorm": (args.hidden,),
        }
        if args.experts:
            layer["self_attn.q_norm"] = layer["self_attn.k_norm"] = (args.head_dim,)
            layer["mlp.gate"] = (args.experts, args.hidden)
        for module in [f"mlp.experts.{i}" for i in range(args.experts)] or ["mlp"]:
            mlp = args.expert_mlp or args.mlp
            layer[f"{module}.gate_proj"] = layer[f"{module}.up_proj"] = (mlp, args.hidden)
            layer[f"{module}.down_proj"] = (args.hidden, mlp)
        shapes.update({f"model.layers.{i}.{n}.weight": s for n, s in layer.items()})
    shapes["model.norm.weight"] = (args.hidden,)
    if not args.tied:
        shapes["lm_head.weight"] = (args.vocab, args.hidden)
    return shapes


def make_tensor(seed, index, name, shape):
    """Depends on the seed and the tensor's place alone, so it can be made again at any time."""
    noise = np.random.default_rng([seed, index]).standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        return 1 + np.float32(0.1) * noise
    return noise * np.float32(0.3 if "embed" in name else shape[1] ** -0.5)


def to_bytes(values, dtype):
    if dtype != "bf16":
        return values.astype("<f4" if dtype == "f32" else "<f2")
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")  # to nearest even


def write_shard(path, names, shapes, args):
    dtype, size, _ = DTYPES[args.dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        end = offset + int(np.prod(shapes[name])) * size
        header[name] = {"dtype": dtype, "shape": shapes[name], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    order = list(shapes)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            values = make_tensor(args.seed, order.index(name), name, shapes[name])
            to_bytes(values, args.dtype).tofile(file)


def write_safetensors(folder, shapes, args):
    size = DTYPES[args.dtype][1]
    shards, room = [[]], SHARD_BYTES
    for name, shape in shapes.items():
        n_bytes = int(np.prod(shape)) * size
        if n_bytes > room and shards[-1]:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= n_bytes
    if len(shards) == 1:
        return write_shard(folder / "model.safetensors", shards[0], shapes, args)
    weight_map = {}
    for i, names in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / file, names, shapes, args)
        weight_map.update(dict.fromkeys(names, file))
    total = sum(int(np.prod(s)) * size for s in shapes.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    table = {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [table[b] for b in range(256)]


def write_tokenizer(folder, args):
    if args.tokenizer:
        for file in args.tokenizer.iterdir():
            if file.name in {"special_tokens_map.json", "chat_template.jinja"} or (
                file.name.startswith("tokenizer") and file.suffix == ".json"
            ):
                shutil.copy(file, folder)
        return
    # One merge, since llama.cpp takes no vocabulary without any.
    tokens = SPECIAL + byte_alphabet() + ["Ġt"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "added_tokens": [
                {"id": i, "content": t, **flags, "special": True} for i, t in enumerate(SPECIAL)
            ],
            "normalizer": None,
            "pre_tokenizer": {**byte_level, "use_regex": True},
            "post_processor": None,
            "decoder": {**byte_level, "use_regex": True},
            "model": {
                "type": "BPE",
                "vocab": {t: i for i, t in enumerate(tokens)},
                "merges": ["Ġ t"],
            },
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {"bos_token": SPECIAL[1], "eos_token": SPECIAL[2], "chat_template": CHAT_TEMPLATE},
    )


def write_config(folder, args):
    kind = ["LlamaForCausalLM", "llama"]
    mixture = {}
    if args.experts:
        kind = ["Qwen3MoeForCausalLM", "qwen3_moe"]
        mixture = {"num_experts": args.experts, "num_experts_per_tok": args.active,
                   "moe_intermediate_size": args.expert_mlp, "norm_topk_prob": True,
                   "decoder_sparse_step": 1, "mlp_only_layers": []}
    write_json(
        folder / "config.json",
        {
            "architectures": [kind[0]],
            "model_type": kind[1],
            **mixture,
            "hidden_act": "silu",
            "hidden_size": args.hidden,
            "intermediate_size": args.mlp,
            "num_hidden_layers": args.layers,
            "num_attention_heads": args.heads,
            "num_key_value_heads": args.kv_heads,
            "head_dim": args.head_dim,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "tie_word_embeddings": args.tied,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "torch_dtype": DTYPES[args.dtype][2],
            "vocab_size": args.vocab,
        },
    )


def rotary_pairs(weight, heads):
    """Hugging Face's rows of a head (first half, second half) to GGUF's (pairs)."""
    rows, k = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, k).swapaxes(1, 2).reshape(rows, k)


def gguf_tokens(folder, vocab):
    """Tokens by id, padded to the embedding's rows, and the ids of special tokens."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    by_id = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    by_id.update({t["id"]: t["content"] for t in tokenizer["added_tokens"]})
    special = {t["id"] for t in tokenizer["added_tokens"]}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(vocab)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    return tokens, special, merges


def quantized(values, kind, rows=1024):
    """Some rows at a time, since it takes several times their memory."""
    import gguf

    parts = (values[i : i + rows] for i in range(0, len(values), rows))
    return np.concatenate([gguf.quants.quantize(p.astype(np.float32), kind) for p in parts])


def write_gguf(path, folder, shapes, args):
    import gguf

    writer = gguf.GGUFWriter(path, "qwen3moe" if args.experts else "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(args.hidden)
    writer.add_block_count(args.layers)
    writer.add_feed_forward_length(args.mlp)
    writer.add_head_count(args.heads)
    writer.add_head_count_kv(args.kv_heads)
    writer.add_key_length(args.head_dim)
    writer.add_value_length(args.head_dim)
    writer.add_rope_dimension_count(args.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(args.vocab)
    if args.experts:
        writer.add_expert_count(args.experts)
        writer.add_expert_used_count(args.active)
        writer.add_expert_feed_forward_length(args.expert_mlp)
    tokens, special, merges = gguf_tokens(folder, args.vocab)
    kinds = [
        gguf.TokenType.CONTROL if i in special
        else gguf.TokenType.UNUSED if t.startswith("[PAD")
        else gguf.TokenType.NORMAL
        for i, t in enumerate(tokens)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    types = gguf.GGMLQuantizationType
    raw_type = {"f32": types.F32, "f16": types.F16, "bf16": types.BF16}[args.dtype]
    size = DTYPES[args.dtype][1]
    block, block_size = 1, size
    if args.gguf_type == "q4_0":
        raw_type = types.Q4_0
        block, block_size = gguf.GGML_QUANT_SIZES[raw_type]
    arch = gguf.MODEL_ARCH.QWEN3MOE if args.experts else gguf.MODEL_ARCH.LLAMA
    names = gguf.get_tensor_name_map(arch, args.layers)
    # GGUF has the experts of a layer in one tensor.
    parts = {}
    for index, name in enumerate(shapes):
        parts.setdefault(re.sub(r"(experts)\.\d+", r"\1", name), []).append((index, name))
    for name, members in parts.items():
        shape = shapes[members[0][1]]
        norm = len(shape) == 1
        whole = (len(members), *shape) if ".experts." in name else shape
        writer.add_tensor_info(
            names.get_name(name, (".weight",)), whole, np.dtype(np.float32),
            int(np.prod(whole)) * 4 if norm else int(np.prod(whole)) // block * block_size,
            types.F32 if norm else raw_type,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()

    def data_of(i, name):
        shape = shapes[name]
        values = make_tensor(args.seed, i, name, shape)
        # The same values as in the folder, norms too, though GGUF keeps norms in f32.
        data = to_bytes(values, args.dtype)
        del values
        if not args.experts:  # Qwen3 rotates halves, as Hugging Face does
            if "q_proj" in name:
                data = rotary_pairs(data, args.heads)
            elif "k_proj" in name:
                data = rotary_pairs(data, args.kv_heads)
        if args.dtype == "bf16" and (len(shape) == 1 or block > 1):
            data = (data.astype(np.uint32) << 16).view(np.float32)
        if len(shape) == 1:
            return data.astype(np.float32)
        return quantized(data, raw_type) if block > 1 else np.ascontiguousarray(data)

    for members in parts.values():
        writer.write_tensor_data(np.concatenate([data_of(*member) for member in members]))
    writer.close()


def main():
    args = parse_args()
    shapes = tensor_shapes(args)
    args.out.mkdir(parents=True)
    write_config(args.out, args)
    write_tokenizer(args.out, args)
    if not args.gguf_only:
        write_safetensors(args.out, shapes, args)
    if args.gguf:
        write_gguf(args.gguf, args.out, shapes, args)
    parameters = sum(int(np.prod(s)) for s in shapes.values())
    print(f"{args.out}: {parameters / 1e6:.1f} million parameters, {args.dtype}")


if __name__ == "__main__":
    main()
