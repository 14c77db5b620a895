#!/usr/bin/env python3
"""Writes testdata/jinja/chat_ids.json: the ids that transformers' apply_chat_template gives for the tokenizers of
testdata/tokenizer. No message has the text of a special token; borders of messages stand within words, beside
spaces and combining marks.

Written with transformers 5.23, tokenizers 0.23.
"""

import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"
OUTPUT = TESTDATA / "jinja" / "chat_ids.json"
STYLES = {  # style: bos, eos
    "smollm": ("<|im_start|>", "<|im_end|>"),
    "qwen2": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|im_start|>", "<|im_end|>"),
    "llama2": ("<s>", "</s>"),
    "gemma": ("<s>", "</s>"),
}
TEMPLATES = [
    "{{ bos_token }}{% for m in messages %}{{ bos_token ~ m.role ~ '\n' ~ m.content ~ eos_token ~ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token ~ 'assistant\n' }}{% endif %}",
    "{% for m in messages %}{{ '[IN' ~ m.content ~ 'ST]' ~ (m.content | trim)[1:] ~ m.content | upper }}{% endfor %}",
    "{% for m in messages %}{{ m.content }}{% endfor %}{{ messages | tojson }}{{ eos_token }}",
]
CONVERSATIONS = [
    [{"role": "user", "content": "Hello there, how are you?"}],
    [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "word café 1234 \u0301combining\u0327, don't\n\n\nstop   "},
        {"role": "assistant", "content": "the   river's 你好 🙂\t"},
        {"role": "user", "content": "\u0338 e\u0301 <tool> and [x]"},
    ],
]


def main():
    result = []
    for style, (bos, eos) in STYLES.items():
        file = str(TESTDATA / "tokenizer" / style / "tokenizer.json")
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, bos_token=bos, eos_token=eos)
        for template in TEMPLATES:
            for messages in CONVERSATIONS:
                ids = tokenizer.apply_chat_template(
                    messages, chat_template=template, add_generation_prompt=True, return_dict=False
                )
                result.append({"style": style, "bos_token": bos, "eos_token": eos, "template": template,
                               "messages": messages, "ids": ids})
    lines = [json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in result]
    OUTPUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(result), "cases,", OUTPUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
