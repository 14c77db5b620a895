#!/usr/bin/env python3
"""Adds Unigram tokenizers to testdata/tokenizer, with ids of the stress text there.

  unigram         tokenizer.json as those of T5 and XGLM: a table of characters, Strip, Replace, Metaspace; no bytes
  unigram_bytes   NFKC, byte fallback, Metaspace that does not split and stands at the start only
  unigram_model   the tokenizer.model of `unigram`, and ids of lines as transformers' SpmConverter has it read. The
                  library sums scores in float32, and so takes other ones of two ways that are equally good

Special tokens are text where none is recognized: there the ids are those of a model that has other texts in their place.

Usage: unigram_goldens.py OUTPUT_DIR [--vocab-size 1000]
Written with sentencepiece 0.2, tokenizers 0.23.
"""
import argparse
import itertools
import json
import pathlib
import pydoc
import tempfile
import unicodedata

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_model

from sentencepiece_goldens import CHARACTERS, SPACE, write_goldens
from tokenizer_stress import stress_text


IDENTITY = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}


def rules():
    """A small table in the manner of nmt_nfkc: sequences that compose, widths, ligatures, spaces, controls that go."""
    def line(source, target):
        return " ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target)

    sources = [chr(c) for c in (*range(0xC0, 0x180), *range(0xFF01, 0xFF60), *range(0xFB00, 0xFB07), *range(0x2460, 0x2470))]
    lines = {}
    for c in sources:
        normal = unicodedata.normalize("NFKC", c)
        if normal != c:
            lines[c] = normal
        parts = unicodedata.normalize("NFD", c)
        if parts != c:
            lines[parts] = normal
    for space in "\t\n\r\xa0\u2003\u3000":
        lines[space] = " "
    for control in "\u200b\x07\ufeff":
        lines[control] = ""
    lines["\xc4"] = "Ae"
    return "\n".join(line(*pair) for pair in lines.items())


def train(texts, vocab_size, byte_fallback, rule_text=None, **normalization):
    """`rule_text`: rules of the table; else `normalization` names them as SentencePiece does."""
    with tempfile.TemporaryDirectory() as folder:
        text, rule_file = pathlib.Path(folder) / "text", pathlib.Path(folder) / "rules.tsv"
        text.write_text("\n".join(texts))
        if rule_text:
            rule_file.write_text(rule_text + "\n")
            normalization["normalization_rule_tsv"] = str(rule_file)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=folder + "/m", vocab_size=vocab_size, model_type="unigram",
            byte_fallback=byte_fallback, max_sentence_length=100000, character_coverage=0.99, num_threads=1, minloglevel=2,
            control_symbols=["<mask>"], user_defined_symbols=["<tool>"], **normalization)
        return (pathlib.Path(folder) / "m.model").read_bytes()


def pieces_and_table(model):
    proto = sentencepiece_model.ModelProto()
    proto.ParseFromString(model)
    return [(piece.piece, piece.score) for piece in proto.pieces], proto.normalizer_spec.precompiled_charsmap


def unigram(pieces, table):
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(table), normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, "always", True)])
    tokenizer.decoder = decoders.Metaspace(SPACE, "always", True)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<mask>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("\xe9t\xe9", normalized=True)])
    return tokenizer


def unigram_bytes(pieces, _):
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "first", False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<mask>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def write_json(folder, make, model, stress):
    folder.mkdir(exist_ok=True)
    pieces, table = pieces_and_table(model)
    tokenizer = make(pieces, table)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode(stress).ids
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    without = make([(chr(0x10FF00 + i) if piece in special else piece, score) for i, (piece, score) in enumerate(pieces)],
                   table)
    without.encode_special_tokens = True
    plain = without.encode(stress, add_special_tokens=False).ids
    write_goldens(folder, ids, plain, tokenizer.decode(ids[:2000], skip_special_tokens=True), characters=len(stress))


def write_model(folder, model, stress):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False, "legacy": True}) + "\n")
    pieces, table = pieces_and_table(model)
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(table), normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), SPACE)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "always", True)
    lines = [line for line in stress.split("\n") if "<" not in line]  # without the control symbols
    (folder / "ids.json").write_text(json.dumps(
        {"lines": lines, "ids": [tokenizer.encode(line).ids for line in lines]},
        ensure_ascii=False, separators=(",", ":")) + "\n")
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    same = sum(tokenizer.encode(line).ids == library.encode(line) for line in lines)
    print("unigram_model:", len(lines), "lines,", same, "as sentencepiece has them")


def known_to_nfkc(c):
    """Whether the character is not one that `tokenizers`' tables, of about Unicode 9, leave as it is."""
    return normalizers.NFKC().normalize_str(c) == unicodedata.normalize("NFKC", c)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--vocab-size", type=int, default=1000)
    args = parser.parse_args()
    stress = (args.output / "stress.txt").read_bytes().decode()[:CHARACTERS]
    texts = [path.read_text() for path in sorted(pathlib.Path(pydoc.__file__).parent.glob("[a-d]*.py"))]
    texts.append(stress_text(1, 20000))
    model = train(texts, args.vocab_size, byte_fallback=False, rule_text=rules())
    write_json(args.output / "unigram", unigram, model, stress)
    write_model(args.output / "unigram_model", model, stress)
    known = "".join(itertools.takewhile(known_to_nfkc, stress))
    write_json(args.output / "unigram_bytes", unigram_bytes, train(texts, args.vocab_size, True, **IDENTITY), known)


if __name__ == "__main__":
    main()
