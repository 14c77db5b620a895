#!/usr/bin/env python3
"""Makes testdata/models/tiny-ARCH: a tiny seeded model of each architecture beside LLaMA, and what
transformers computes with it (golden.json and logits.f32, as scripts/make_golden.py).

  scripts/golden/architectures.py [NAME...]

Weights are stored in bfloat16, the biases and the weights of norms are far from 0 and 1, so that
one that is left out shows. tiny-bloom-gguf is tiny-bloom as llama.cpp converts it, and so are others.

Written with torch 2.13, transformers 5.23 (Falcon and GPT-2: 5.19), tokenizers 0.23, gguf 0.19.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import make_golden as base  # noqa: E402

TOKENS = 24
COMMON = dict(vocab_size=base.VOCAB, bos_token_id=1, eos_token_id=2)
LLAMA = dict(
    COMMON, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
    max_position_embeddings=256, tie_word_embeddings=True,
)

SMALL = {**LLAMA, "hidden_size": 32, "intermediate_size": 64}


def is_conv1d(name):
    """GPT-2's linears, whose weights are [inputs, outputs]."""
    return name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


def model_of(config, seed):
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or "ln_" in name:
                parameter.copy_(0.2 * noise + (0 if name.endswith("bias") else 1))
            elif name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "embed" in name or "wte" in name or "wpe" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise * parameter.shape[0 if is_conv1d(name) else -1] ** -0.5)
            parameter.copy_(parameter.bfloat16())
    return model


def norms_of(model, offset):
    """What multiplies, less `offset`: Gemma's norms multiply by 1 + weight."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_((parameter - offset).bfloat16())


EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe", "w1", "w3", "w2"),
    "qwen2_moe": ("mlp", "gate_proj", "up_proj", "down_proj"),
    "qwen3_moe": ("mlp", "gate_proj", "up_proj", "down_proj"),
}


def published_experts(tensors, model_type):
    """transformers 5 has all experts of a layer in two tensors; published files have one each."""
    if model_type not in EXPERT_NAMES:
        return tensors
    block, gate, up, down = EXPERT_NAMES[model_type]
    published = {}
    for name, tensor in tensors.items():
        name = name.replace(".mlp.", f".{block}.")
        module, _, last = name.rpartition(".")
        for i, expert in enumerate(tensor if module.endswith(".experts") else []):
            if last == "gate_up_proj":
                halves = expert.chunk(2)
                published[f"{module}.{i}.{gate}.weight"] = halves[0].contiguous()
                published[f"{module}.{i}.{up}.weight"] = halves[1].contiguous()
            else:
                published[f"{module}.{i}.{down}.weight"] = expert.clone()
        if not module.endswith(".experts"):
            published[name] = tensor
    return published


def write(name, config, published, seed, norm_offset=0):
    """`published`: config.json's fields as published models have them, where transformers 5 writes
    others."""
    model = model_of(config, seed)
    norms_of(model, norm_offset)
    folder = base.new_folder(name)
    fields = {
        "architectures": [type(model).__name__],
        "model_type": config.model_type,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": config.tie_word_embeddings,
    }
    base.write_json(folder / "config.json", {**fields, **COMMON, **published})
    tensors = published_experts(base.tensors_of(model, torch.bfloat16), config.model_type)
    if config.model_type == "gpt_neox":  # as published; transformers 5 renames it
        tensors["embed_out.weight"] = tensors.pop("lm_head.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = base.make_tokenizer()
    base.write_text_files(folder, tokenizer)
    write_golden(folder, tokenizer)
    return model


def write_golden(folder, tokenizer):
    ids = tokenizer.encode(base.PROMPT).ids[:TOKENS]
    config = transformers.AutoConfig.from_pretrained(folder)
    # "sdpa" leaves out the softcap of attention; Falcon's "eager" adds ALiBi twice.
    attention = "sdpa" if getattr(config, "alibi", False) else "eager"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float().numpy()
    assert logits.shape == (len(ids), base.VOCAB) and np.isfinite(logits).all()
    logits.astype("<f4").tofile(folder / "logits.f32")
    base.write_json(folder / "golden.json", {"token_ids": ids})
    print(f"{folder.name}: {len(ids)} tokens, largest |logit| {np.abs(logits).max():.2f}")


def qkv_in_turn(value, heads, kv_heads):
    """[KV head][its query heads, k, v][head_dim] to all query heads, all k, all v."""
    queries = heads // kv_heads
    groups = value.reshape(kv_heads, queries + 2, -1, *value.shape[1:])
    parts = [groups[:, :queries], groups[:, queries], groups[:, queries + 1]]
    return np.concatenate([part.reshape(-1, *value.shape[1:]) for part in parts])


def rotary_pairs(value, head_dim):
    """The rows of each head, first half and second half, to pairs."""
    return np.ascontiguousarray(
        value.reshape(-1, 2, head_dim // 2, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
    )


def split_experts(tensors):
    """GGUF files have gate and up of all experts of a layer in a tensor each."""
    split = {}
    for name, tensor in tensors.items():
        if name.endswith("experts.gate_up_proj"):
            gate, up = tensor.chunk(2, dim=1)
            split[name.replace("gate_up", "gate") + ".weight"] = gate.contiguous()
            split[name.replace("gate_up", "up") + ".weight"] = up.contiguous()
        elif name.endswith("experts.down_proj"):
            split[name + ".weight"] = tensor
        else:
            split[name] = tensor
    return split


def mixture_fields(config, width):
    def add_fields(writer):
        writer.add_context_length(config.max_position_embeddings)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_rope_freq_base(1e6)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if width:
            writer.add_expert_feed_forward_length(width)
            writer.add_key_length(config.head_dim)
            writer.add_value_length(config.head_dim)
    return add_fields


def write_gguf(name, model, arch, add_fields, norm_offset=0):
    folder = base.new_folder(name + "-gguf")
    config = model.config
    writer = gguf.GGUFWriter(folder / "model.gguf", gguf.MODEL_ARCH_NAMES[arch])
    writer.add_name(name)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    add_fields(writer)
    tokenizer = base.make_tokenizer()
    bpe = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    kinds = [
        gguf.TokenType.CONTROL if t in base.SPECIAL else gguf.TokenType.NORMAL for t in tokens
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for hf_name, tensor in split_experts(base.tensors_of(model, torch.float32)).items():
        value = tensor.numpy()
        if arch == gguf.MODEL_ARCH.LLAMA and ("q_proj" in hf_name or "k_proj" in hf_name):
            value = rotary_pairs(value, config.hidden_size // config.num_attention_heads)
        if "query_key_value" in hf_name:
            heads = config.num_attention_heads
            value = qkv_in_turn(value, heads, getattr(config, "num_kv_heads", heads))
        if is_conv1d(hf_name):
            value = np.ascontiguousarray(value.T)
        if "norm" in hf_name:
            value = value + norm_offset
        # bfloat16 values fit float16 here but for the smallest
        value = value.astype(np.float32 if value.ndim == 1 else np.float16)
        found = [names.get_name(name, (".weight", ".bias"))
                 for name in (hf_name, hf_name.removeprefix("transformer."))]
        writer.add_tensor(found[0] or found[1], value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def bloom():
    fields = dict(hidden_size=64, n_layer=2, n_head=4, layer_norm_epsilon=1e-5)
    published = {**fields, "seq_length": 256, "apply_residual_connection_post_layernorm": False}
    model = write("tiny-bloom", transformers.BloomConfig(**COMMON, **fields), published, 11)

    def add_fields(writer):
        writer.add_context_length(256)
        writer.add_feed_forward_length(4 * model.config.hidden_size)
        writer.add_layer_norm_eps(1e-5)

    write_gguf("tiny-bloom", model, gguf.MODEL_ARCH.BLOOM, add_fields)


def llama3():
    scaling = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    config = transformers.LlamaConfig(
        **LLAMA, num_key_value_heads=2, rope_parameters={**scaling, "rope_theta": 10000.0}
    )
    published = {**LLAMA, "num_key_value_heads": 2, "rope_theta": 10000.0, "rope_scaling": scaling,
                 "hidden_act": "silu", "rms_norm_eps": config.rms_norm_eps}
    write("tiny-llama3", config, published, 12)


def linear_rope():
    scaling = {"rope_type": "linear", "factor": 4.0}
    dims = {**LLAMA, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(
        **dims, num_key_value_heads=2, attention_bias=True, mlp_bias=True,
        rope_parameters={**scaling, "rope_theta": 10000.0},
    )
    published = {**dims, "num_key_value_heads": 2, "rope_theta": 10000.0, "hidden_act": "silu",
                 "attention_bias": True, "mlp_bias": True,
                 "rope_scaling": {"type": "linear", "factor": 4.0},
                 "rms_norm_eps": config.rms_norm_eps}
    write("tiny-llama-linear-rope", config, published, 13)


def mistral():
    fields = {**LLAMA, "num_key_value_heads": 2, "sliding_window": 12}
    config = transformers.MistralConfig(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}
    )
    published = {**fields, "rope_theta": 10000.0, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu"}
    write("tiny-mistral", config, published, 14)


def qwen2():
    fields = {**LLAMA, "num_key_value_heads": 2,
              "use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
    config = transformers.Qwen2Config(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    published = {**fields, "rope_theta": 1e6, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu"}
    write("tiny-qwen2", config, published, 15)


def qwen3():
    fields = {**LLAMA, "num_key_value_heads": 2, "head_dim": 32}
    config = transformers.Qwen3Config(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    published = {**fields, "rope_theta": 1e6, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "use_sliding_window": False, "attention_bias": False}
    write("tiny-qwen3", config, published, 16)


def gpt_neox():
    fields = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
                  max_position_embeddings=256, layer_norm_eps=1e-5, hidden_act="gelu")
    config = transformers.GPTNeoXConfig(
        **COMMON, **fields,
        rope_parameters={
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25
        },
    )
    published = {**fields, "rotary_pct": 0.25, "rotary_emb_base": 10000,
                 "use_parallel_residual": True}
    write("tiny-gpt-neox", config, published, 17)


def opt():
    fields = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=128,
                  max_position_embeddings=128, word_embed_proj_dim=64, do_layer_norm_before=True,
                  activation_function="relu", pad_token_id=0)
    config = transformers.OPTConfig(**COMMON, **fields)
    write("tiny-opt", config, fields, 18)


def gemma2():
    fields = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                  head_dim=16, intermediate_size=64, max_position_embeddings=256,
                  query_pre_attn_scalar=16, sliding_window=9, attn_logit_softcapping=2.0,
                  final_logit_softcapping=20.0, tie_word_embeddings=True)
    config = transformers.Gemma2Config(
        **COMMON, **fields, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}
    )
    published = {**fields, "rope_theta": 10000.0, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False}
    model = write("tiny-gemma2", config, published, 19, norm_offset=1)
    write_gguf("tiny-gemma2", model, gguf.MODEL_ARCH.GEMMA2, gemma_fields(config), norm_offset=1)


def gemma_fields(config):
    def add_fields(writer):
        writer.add_context_length(config.max_position_embeddings)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_sliding_window(config.sliding_window)
        if config.attn_logit_softcapping:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)
    return add_fields


def gemma3():
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    fields = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1,
                  head_dim=16, intermediate_size=64, max_position_embeddings=256,
                  query_pre_attn_scalar=24, sliding_window=9, layer_types=types,
                  tie_word_embeddings=True)
    scaling = {"rope_type": "linear", "factor": 8.0}
    config = transformers.Gemma3TextConfig(**COMMON, **fields, rope_parameters={
        "full_attention": {**scaling, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    })
    published = {**fields, "rope_theta": 1e6, "rope_local_base_freq": 10000.0,
                 "rope_scaling": scaling, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False,
                 "attn_logit_softcapping": None, "final_logit_softcapping": None}
    write("tiny-gemma3", config, published, 20, norm_offset=1)


def phi3():
    short = [1.0 + 0.1 * i for i in range(3)]
    long = [1.5 + 0.5 * i for i in range(3)]
    dims = dict(SMALL, num_key_value_heads=2, num_hidden_layers=2, original_max_position_embeddings=16,
                pad_token_id=0, partial_rotary_factor=0.75)
    scaling = {"short_factor": short, "long_factor": long}
    config = transformers.Phi3Config(**dims, rope_parameters={
        **scaling, "rope_type": "longrope", "rope_theta": 10000.0,
    })
    published = {**dims, "rope_theta": 10000.0, "rope_scaling": {**scaling, "type": "longrope"},
                 "rms_norm_eps": config.rms_norm_eps, "hidden_act": "silu",
                 "sliding_window": 300}
    write("tiny-phi3", config, published, 21)


def granite():
    fields = {**SMALL, "num_key_value_heads": 2, "embedding_multiplier": 3.0,
              "attention_multiplier": 0.1, "residual_multiplier": 0.3, "logits_scaling": 2.0}
    config = transformers.GraniteConfig(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}
    )
    published = {**fields, "rope_theta": 10000.0, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    write("tiny-granite", config, published, 22)


def olmo2():
    fields = {**SMALL, "num_key_value_heads": 2}
    config = transformers.Olmo2Config(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}
    )
    published = {**fields, "rope_theta": 500000.0, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "attention_bias": False}
    write("tiny-olmo2", config, published, 23)


def smollm3():
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    fields = {**SMALL, "num_key_value_heads": 2, "no_rope_layers": [1, 0], "pad_token_id": 0}
    config = transformers.SmolLM3Config(
        **fields, rope_parameters={**scaling, "rope_theta": 10000.0}
    )
    published = {**fields, "rope_theta": 10000.0, "rms_norm_eps": config.rms_norm_eps,
                 "rope_scaling": scaling,
                 "hidden_act": "silu", "attention_bias": False, "use_sliding_window": False}
    write("tiny-smollm3", config, published, 24)


def mixtral():
    fields = {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
              "sliding_window": None}
    config = transformers.MixtralConfig(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    published = {**fields, "rope_theta": 1e6, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "router_aux_loss_coef": 0.02}
    model = write("tiny-mixtral", config, published, 25)
    write_gguf("tiny-mixtral", model, gguf.MODEL_ARCH.LLAMA, mixture_fields(config, 0))


def qwen2_moe():
    fields = {**SMALL, "num_hidden_layers": 3, "num_key_value_heads": 2, "num_experts": 6,
              "num_experts_per_tok": 3, "moe_intermediate_size": 32,
              "shared_expert_intermediate_size": 64, "norm_topk_prob": False,
              "decoder_sparse_step": 1, "mlp_only_layers": [1]}
    config = transformers.Qwen2MoeConfig(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    published = {**fields, "rope_theta": 1e6, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "use_sliding_window": False, "sliding_window": 32768,
                 "max_window_layers": 21}
    write("tiny-qwen2-moe", config, published, 26)


def qwen3_moe():
    fields = {**SMALL, "num_key_value_heads": 2, "head_dim": 16, "num_experts": 8,
              "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True,
              "decoder_sparse_step": 1, "mlp_only_layers": []}
    config = transformers.Qwen3MoeConfig(
        **fields, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    published = {**fields, "rope_theta": 1e6, "rms_norm_eps": config.rms_norm_eps,
                 "hidden_act": "silu", "use_sliding_window": False, "sliding_window": None,
                 "max_window_layers": 48, "attention_bias": False}
    model = write("tiny-qwen3-moe", config, published, 27)
    write_gguf("tiny-qwen3-moe", model, gguf.MODEL_ARCH.QWEN3MOE, mixture_fields(config, 32))


def falcon(name, seed, **fields):
    dims = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_hidden_size=64,
                layer_norm_epsilon=1e-5)
    published = {**dims, "apply_residual_connection_post_layernorm": False, **fields}
    return write(name, transformers.FalconConfig(**COMMON, **dims, **fields), published, seed)


def falcon_7b():
    falcon("tiny-falcon", 28, alibi=False, bias=False, multi_query=True,
           new_decoder_architecture=False, parallel_attn=True)


def falcon_40b():
    model = falcon("tiny-falcon-grouped", 29, alibi=False, bias=False, num_kv_heads=2,
                   new_decoder_architecture=True)

    def add_fields(writer):
        writer.add_context_length(2048)
        writer.add_tensor_data_layout("jploski")
        writer.add_feed_forward_length(model.config.ffn_hidden_size)
        writer.add_head_count_kv(model.config.num_kv_heads)
        writer.add_layer_norm_eps(model.config.layer_norm_epsilon)

    write_gguf("tiny-falcon-grouped", model, gguf.MODEL_ARCH.FALCON, add_fields)


def falcon_rw():
    # transformers rounds slopes times positions to bfloat16: those of 4 heads and few positions fit.
    falcon("tiny-falcon-rw", 30, alibi=True, bias=True, multi_query=False,
           new_decoder_architecture=False, parallel_attn=False)


def gpt2():
    fields = dict(n_embd=32, n_layer=2, n_head=4, n_positions=384, n_inner=64,
                  activation_function="gelu_new", layer_norm_epsilon=1e-5)
    config = transformers.GPT2Config(**COMMON, **fields)
    model = write("tiny-gpt2", config, {**fields, "n_ctx": config.n_positions}, 31)

    def add_fields(writer):
        writer.add_context_length(config.n_positions)
        writer.add_feed_forward_length(config.n_inner)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)

    write_gguf("tiny-gpt2", model, gguf.MODEL_ARCH.GPT2, add_fields)


MAKERS = {"bloom": bloom, "llama3": llama3, "linear_rope": linear_rope, "mistral": mistral,
          "qwen2": qwen2, "qwen3": qwen3, "gpt_neox": gpt_neox, "opt": opt, "gemma2": gemma2,
          "gemma3": gemma3, "phi3": phi3, "granite": granite, "olmo2": olmo2, "smollm3": smollm3,
          "mixtral": mixtral, "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe,
          "falcon_7b": falcon_7b, "falcon_40b": falcon_40b, "falcon_rw": falcon_rw, "gpt2": gpt2}


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]()


if __name__ == "__main__":
    main()
