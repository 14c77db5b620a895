#!/usr/bin/env python3
"""Adds tokenizers of SentencePiece's kind to testdata/tokenizer, with ids of the stress text there.

  sentencepiece   tokenizer.model, trained with `sentencepiece`, and tokenizer_config.json; ids by LlamaTokenizer of
                  transformers (legacy: false), and by the library itself ("library_ids")
  llama2          tokenizer.json as LLaMA-2's: Prepend and Replace, byte fallback
  gemma           tokenizer.json as Gemma's: Replace, Split; no prefix, user-defined tokens

Usage: sentencepiece_goldens.py OUTPUT_DIR [--vocab-size 1000]
Written with sentencepiece 0.2, tokenizers 0.23, transformers 5.23.
"""
import argparse
import json
import pathlib
import pydoc
import tempfile

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaTokenizer

from tokenizer_stress import stress_text

CHARACTERS = 8000  # of the stress text
CONFIG = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
          "add_bos_token": True, "add_eos_token": False, "legacy": False,
          "added_tokens_decoder": {"1000": {"content": "<extra>", "special": True, "normalized": False}}}
SPACE = "\u2581"


def train(vocab_size):
    """The settings of LLaMA's model."""
    texts = [path.read_text() for path in sorted(pathlib.Path(pydoc.__file__).parent.glob("[a-d]*.py"))]
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder) / "text"
        text.write_text("\n".join(texts + [stress_text(1, 20000)]))
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=folder + "/m", vocab_size=vocab_size, model_type="bpe", byte_fallback=True,
            split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True, max_sentence_length=100000, character_coverage=0.995, num_threads=1,
            user_defined_symbols=["<tool>", "\n\n"], control_symbols=["<mask>"], minloglevel=2)
        return (pathlib.Path(folder) / "m.model").read_bytes()


def write_goldens(folder, ids, ids_special_as_text, decoded, **more):
    (folder / "ids.json").write_text(json.dumps(
        {"characters": CHARACTERS, "ids": ids, "ids_special_as_text": ids_special_as_text,
         "decoded_skipping_special": decoded, **more}, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_sentencepiece(folder, stress, vocab_size):
    folder.mkdir(exist_ok=True)
    model = folder / "tokenizer.model"
    model.write_bytes(train(vocab_size))
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    library = sentencepiece.SentencePieceProcessor(model_file=str(model))
    tokenizer = LlamaTokenizer.from_pretrained(folder)
    ids = tokenizer(stress).input_ids
    tokenizer._tokenizer.encode_special_tokens = True
    plain = tokenizer._tokenizer.encode(stress, add_special_tokens=False).ids
    write_goldens(folder, ids, plain, tokenizer.decode(ids[:2000], skip_special_tokens=True),
                  library_ids=library.encode(stress))
    return json.loads(tokenizer._tokenizer.to_str())["model"]


def llama2(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("word", normalized=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def gemma(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<mask>"])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("<tool>", "\n\n", SPACE * 3)])
    return tokenizer


def write_json(folder, tokenizer, stress):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(stress).ids
    tokenizer.encode_special_tokens = True
    plain = tokenizer.encode(stress, add_special_tokens=False).ids
    write_goldens(folder, ids, plain, tokenizer.decode(ids[:2000], skip_special_tokens=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--vocab-size", type=int, default=1000)
    args = parser.parse_args()
    stress = (args.output / "stress.txt").read_bytes().decode()[:CHARACTERS]
    bpe = write_sentencepiece(args.output / "sentencepiece", stress, args.vocab_size)
    merges = [tuple(merge) for merge in bpe["merges"]]
    for style in (llama2, gemma):
        model = models.BPE(bpe["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        write_json(args.output / style.__name__, style(model), stress)


if __name__ == "__main__":
    main()
