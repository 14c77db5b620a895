#!/usr/bin/env python3
"""Texts and their ids by the `tokenizers` package, for the test TokenizerParityTest.

Usage: tokenizer_parity.py OUTPUT_DIR --text FILE ... [--tokenizer NAME=tokenizer.json ...]
Writes OUTPUT_DIR/texts and OUTPUT_DIR/NAME/{tokenizer.json,TEXT.ids}. Besides the given tokenizers it trains one
in each style of tokenizer_goldens.py and unigram_goldens.py on the texts; besides the given texts it makes a Unicode stress text.
Then: FPTQ_TOKENIZER_PARITY=OUTPUT_DIR text_test --gtest_filter='TokenizerParityTest.*'
"""
import argparse
import pathlib
import shutil

import numpy as np
from tokenizers import Tokenizer

from tokenizer_goldens import STYLES, train
from tokenizer_stress import stress_text
from unigram_goldens import IDENTITY, known_to_nfkc, pieces_and_table, train as train_unigram, unigram, unigram_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--vocab-size", type=int, default=16000)
    parser.add_argument("--stress-size", type=int, default=1_000_000)
    args = parser.parse_args()

    texts = args.output / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    for path in args.text:
        shutil.copyfile(path, texts / path.name)
    stress = filter(known_to_nfkc, stress_text(2, args.stress_size))
    (texts / "unicode_stress.txt").write_bytes("".join(stress).encode())
    contents = {path.name: path.read_bytes().decode() for path in sorted(texts.iterdir())}

    files = dict(argument.split("=", 1) for argument in args.tokenizer)
    for style in STYLES:
        (args.output / style).mkdir(exist_ok=True)
        files[style] = str(args.output / style / "tokenizer.json")
        train(style, list(contents.values()), args.vocab_size).save(files[style])
    for make, rules in ((unigram, {"normalization_rule_name": "nmt_nfkc"}), (unigram_bytes, IDENTITY)):
        model = train_unigram(list(contents.values()), args.vocab_size, make is unigram_bytes, **rules)
        (args.output / make.__name__).mkdir(exist_ok=True)
        files[make.__name__] = str(args.output / make.__name__ / "tokenizer.json")
        make(*pieces_and_table(model)).save(files[make.__name__])
    for name, file in files.items():
        tokenizer = Tokenizer.from_file(file)
        folder = args.output / name
        folder.mkdir(exist_ok=True)
        if not (folder / "tokenizer.json").exists():
            shutil.copyfile(file, folder / "tokenizer.json")
        for text, content in contents.items():
            np.array(tokenizer.encode(content).ids, np.int32).tofile(folder / f"{text}.ids")
        print(name, sum(len(content.encode()) for content in contents.values()), "bytes", flush=True)


if __name__ == "__main__":
    main()
