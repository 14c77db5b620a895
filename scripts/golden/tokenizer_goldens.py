#!/usr/bin/env python3
"""Makes testdata/tokenizer: small trained vocabularies in five styles, a stress text and its ids by `tokenizers`.

Usage: tokenizer_goldens.py OUTPUT_DIR [--text FILE ...] [--vocab-size 2000]
Trains on the given files (default: modules of Python's standard library).
"""
import argparse
import json
import pathlib
import pydoc

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_stress import stress_text

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST

BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


STYLES = {
    "gpt2": byte_level,
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()]),
    "qwen2": lambda: split_then_bytes(QWEN2),
    "llama3": lambda: split_then_bytes(LLAMA3),
    "bloom": lambda: split_then_bytes(BLOOM),
}

CHARACTERS = {"bloom": 8000}  # of the stress text that have goldens; all if it is not here


def train(style, texts, vocab_size):
    tokenizer = Tokenizer(models.BPE(ignore_merges=style == "llama3"))
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = STYLES[style]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if style != "qwen2" else []
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    if style == "qwen2":  # as there: the special tokens come after the vocabulary
        tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    # One of each kind of added token.
    tokenizer.add_tokens([AddedToken("<tool>", single_word=True, normalized=False),
                          AddedToken("<mask>", lstrip=True, rstrip=style != "gpt2", normalized=False),
                          AddedToken("caf\u00e9", normalized=True), AddedToken("   ", normalized=True),
                          AddedToken("word", single_word=True, normalized=True)])
    if style == "llama3":
        bos = "<|endoftext|>"
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                          special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, nargs="*", default=sorted(
        pathlib.Path(pydoc.__file__).parent.glob("[a-d]*.py")))
    parser.add_argument("--vocab-size", type=int, default=2000)
    args = parser.parse_args()
    texts = [path.read_text() for path in args.text] + [stress_text(1, 20000)]
    stress = stress_text(0, 20000)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "stress.txt").write_bytes(stress.encode())
    for style in STYLES:
        part = stress[:CHARACTERS.get(style, len(stress))]
        tokenizer = train(style, texts, args.vocab_size)
        folder = args.output / style
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        plain = tokenizer.encode(part).ids
        tokenizer.encode_special_tokens = True  # special tokens in the text are text
        no_special = tokenizer.encode(part, add_special_tokens=False).ids
        (folder / "ids.json").write_text(json.dumps(
            {**({"characters": len(part)} if style in CHARACTERS else {}), "ids": plain, "ids_special_as_text": no_special,
             "decoded_skipping_special": tokenizer.decode(plain[:2000], skip_special_tokens=True)},
            ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
