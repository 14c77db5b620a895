#!/usr/bin/env python3
"""Makes testdata/models: tiny seeded LLaMA models and what transformers computes with them.

  tiny-llama-f32    4 heads on 1 KV head, lm_head tied to the embedding
  tiny-llama-bf16   4 heads on 4 KV heads, own lm_head, two shards with an index, rope_theta 500000
  tiny-llama-f16    4 heads on 2 KV heads, head_dim 32 where hidden / heads is 16
  tiny-llama-gguf   the same model as tiny-llama-f16 as a GGUF file, q and k rows in GGUF's order
  tiny-llama-w4a8   tiny-llama-f32 quantized to compressed-tensors pack-quantized by plain rounding:
                    static sites in even layers, dynamic ones in odd layers

Each has golden.json ("prompt", "token_ids", "vocab") and logits.f32 ([tokens, vocab] little-endian
float32): transformers in float32 on one thread, for tiny-llama-w4a8 with compressed-tensors.

Written with torch 2.13, transformers 5.23, compressed-tensors 0.20, tokenizers 0.23, gguf 0.19.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parent.parent / "testdata" / "models"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCAB = 288
PROMPT = "The river runs through three towns to the sea.\nIn 1987: 4.25 m, déjà vu! 你好 🙂\n"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LINEARS = {
    "attn_in": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attn_out": ["self_attn.o_proj"],
    "mlp_in": ["mlp.gate_proj", "mlp.up_proj"],
    "mlp_mid": ["mlp.down_proj"],
}


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PROMPT] * 2, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


def write_text_files(folder, tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": SPECIAL[1],
            "eos_token": SPECIAL[2],
            "unk_token": SPECIAL[0],
            "chat_template": CHAT_TEMPLATE,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def new_folder(name):
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def make_model(seed, **dims):
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        **dims,
    )
    model = LlamaForCausalLM(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif "embed" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)
    return model


def config_json(model, dtype):
    """config.json as published models have it: rope_theta at the top, torch_dtype."""
    c = model.config
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": c.head_dim,
        "hidden_act": "silu",
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "max_position_embeddings": c.max_position_embeddings,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": c.num_attention_heads,
        "num_hidden_layers": c.num_hidden_layers,
        "num_key_value_heads": c.num_key_value_heads,
        "rms_norm_eps": c.rms_norm_eps,
        "rope_theta": c.rope_parameters["rope_theta"],
        "tie_word_embeddings": c.tie_word_embeddings,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "vocab_size": c.vocab_size,
    }


def tensors_of(model, dtype):
    tensors = {n: p.detach().to(dtype).contiguous() for n, p in model.named_parameters()}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    return tensors


def save_sharded(folder, tensors, shards):
    names = sorted(tensors)
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = names[i * len(names) // shards : (i + 1) * len(names) // shards]
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )


def write_golden(folder, tokenizer, logits_from):
    """Logits of the prompt by the model in folder `logits_from`, loaded as a user would."""
    ids = tokenizer.encode(PROMPT).ids
    model = AutoModelForCausalLM.from_pretrained(logits_from, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float().numpy()
    assert logits.shape == (len(ids), VOCAB) and np.isfinite(logits).all()
    logits.astype("<f4").tofile(folder / "logits.f32")
    write_json(folder / "golden.json", {"prompt": PROMPT, "token_ids": ids, "vocab": VOCAB})
    print(f"{folder.name}: {len(ids)} tokens, largest |logit| {np.abs(logits).max():.2f}")


def write_hf(name, model, tokenizer, dtype, shards=1):
    folder = new_folder(name)
    write_json(folder / "config.json", config_json(model, dtype))
    tensors = tensors_of(model, dtype)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        save_sharded(folder, tensors, shards)
    write_text_files(folder, tokenizer)
    write_golden(folder, tokenizer, folder)


def rotary_pairs(weight, heads):
    """Hugging Face's rows of a head (first half, second half) to GGUF's (pairs)."""
    rows, k = weight.shape
    half = rows // heads // 2
    return weight.reshape(heads, 2, half, k).transpose(0, 2, 1, 3).reshape(rows, k)


def write_gguf(name, model, tokenizer, golden):
    folder = new_folder(name)
    c = model.config
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_name(name)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_vocab_size(c.vocab_size)
    bpe = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    kinds = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, c.num_hidden_layers)
    for hf_name, tensor in tensors_of(model, torch.float16).items():
        value = tensor.numpy()
        if "q_proj" in hf_name:
            value = rotary_pairs(value, c.num_attention_heads)
        if "k_proj" in hf_name:
            value = rotary_pairs(value, c.num_key_value_heads)
        if value.ndim == 1:
            value = value.astype(np.float32)
        writer.add_tensor(names.get_name(hf_name, (".weight",)), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_golden(folder, tokenizer, golden)


def packed(weight, group):
    """Symmetric 4-bit rounding as compressed-tensors stores it; scales of either sign: the largest
    weight of a group becomes -8."""
    n, k = weight.shape
    groups = weight.reshape(n, k // group, group)
    scale = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))[..., 0] / -8
    q = torch.round(groups / scale[..., None]).clamp(-8, 7).to(torch.int64).reshape(n, k // 8, 8)
    words = ((q + 8) << torch.arange(0, 32, 4)).sum(-1)
    return {
        "weight_packed": torch.where(words >= 2**31, words - 2**32, words).to(torch.int32),
        "weight_scale": scale,
        "weight_shape": torch.tensor([n, k]),
    }


def observe_ranges(model, ids):
    """max|x| of what enters each linear."""
    ranges = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, name=name: ranges.__setitem__(name, args[0].abs().max().item())
        )
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    ]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return ranges


def quantization_config(targets):
    """`targets`: {(dynamic, group size): module names}."""
    groups = {}
    for i, ((dynamic, group), modules) in enumerate(sorted(targets.items())):
        groups[f"group_{i}"] = {
            "targets": modules,
            "format": "pack-quantized",
            "weights": {
                "num_bits": 4,
                "type": "int",
                "symmetric": True,
                "strategy": "group",
                "group_size": group,
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token" if dynamic else "tensor",
                "dynamic": dynamic,
            },
            "output_activations": None,
        }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }


def write_w4a8(name, model, tokenizer):
    folder = new_folder(name)
    tensors = tensors_of(model, torch.float32)
    ranges = observe_ranges(model, tokenizer.encode(PROMPT).ids)
    targets = {}
    for layer in range(model.config.num_hidden_layers):
        for modules in LINEARS.values():
            for module in [f"model.layers.{layer}.{m}" for m in modules]:
                weight = tensors.pop(module + ".weight")
                group = next(g for g in (128, 64, 32) if weight.shape[1] % g == 0)
                dynamic = layer % 2 == 1
                targets.setdefault((dynamic, group), []).append(module)
                for suffix, tensor in packed(weight, group).items():
                    tensors[f"{module}.{suffix}"] = tensor
                if not dynamic:
                    tensors[module + ".input_scale"] = torch.tensor([ranges[module] / 127.5])
    config = config_json(model, torch.float32)
    config["quantization_config"] = quantization_config(targets)
    write_json(folder / "config.json", config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_text_files(folder, tokenizer)
    write_golden(folder, tokenizer, folder)


def main():
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    f32 = make_model(
        1, num_hidden_layers=2, num_key_value_heads=1, intermediate_size=96,
        tie_word_embeddings=True,
    )
    bf16 = make_model(
        2, num_hidden_layers=3, num_key_value_heads=4, intermediate_size=160,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )
    f16 = make_model(
        3, num_hidden_layers=2, num_key_value_heads=2, head_dim=32, intermediate_size=96,
        tie_word_embeddings=True,
    )
    write_hf("tiny-llama-f32", f32, tokenizer, torch.float32)
    write_hf("tiny-llama-bf16", bf16, tokenizer, torch.bfloat16, shards=2)
    write_hf("tiny-llama-f16", f16, tokenizer, torch.float16)
    write_gguf("tiny-llama-gguf", f16, tokenizer, ROOT / "tiny-llama-f16")
    write_w4a8("tiny-llama-w4a8", f32, tokenizer)


if __name__ == "__main__":
    main()
