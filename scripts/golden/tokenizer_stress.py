"""The Unicode stress text that tokenizers are compared on."""
import random
import unicodedata

from tokenizers import normalizers

LOOK_ALIKES = [
    "<|im_start|>", "<|im_end|>", "<|im_start", "im_end|>", "<|endoftext|>", "<|endoftext |>", "<|im_start|>system\n",
    "<<|im_end|>>", "<|im_<|im_end|>end|>", "<s>", "</s>", "[INST]", "<|eot_id|>", "<tool>", " <tool> ", "<tool>s",
    "a<tool>", "<mask>", "  <mask>\n ", "word", "sword", "word word", "caf\u00e9", "cafe\u0301", "\u212b", "A\u030a",
]
SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 0x85, 0xa0, 0x1680, 0x180e, *range(0x2000, 0x2010),
                           0x2028, 0x2029, 0x202f, 0x205f, 0x2060, 0x3000, 0xfeff)]
EMOJI = ["\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f3f3\ufe0f\u200d\U0001f308",
         "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3", "\u2764\ufe0f", "\U0001f9d1\u200d\U0001f680"]


def is_ordered_alike(c):
    """The tables of `tokenizers`' NFC are of about Unicode 9: it leaves later combining marks where they stand."""
    return unicodedata.combining(c) <= 1 or (
        normalizers.NFC().normalize_str(c + "\u0334") == unicodedata.normalize("NFC", c + "\u0334"))


def assigned_characters():
    """Of Unicode 14, which PCRE2 10.42 knows, if this Python knows no later one."""
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000
            and unicodedata.category(chr(c)) != "Cn" and is_ordered_alike(chr(c))]


def stress_text(seed, size):
    """About `size` characters."""
    rng = random.Random(seed)
    characters = assigned_characters()
    small = [c for c in characters if ord(c) < 0x3000]
    marks = [c for c in characters if unicodedata.combining(c)]
    numbers = [c for c in characters if unicodedata.category(c)[0] == "N"]
    controls = [chr(c) for c in (*range(32), *range(127, 160), 0x200b, 0x200d, 0x202e, 0xfffd, 0xfffe, 0x10ffff)]

    def some(alphabet, longest):
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, longest)))

    makers = [
        lambda: some(characters, 8), lambda: some(small, 12), lambda: some(SPACES, 9), lambda: some(controls, 5),
        lambda: some(numbers, 20), lambda: some("0123456789", 40), lambda: some(EMOJI, 4),
        lambda: rng.choice("aeiouAEIOU\u00e9\uac00\u1100") + some(marks, 6), lambda: some([" ", "\n", "\r\n", "\t", "\r"], 8),
        lambda: rng.choice(LOOK_ALIKES), lambda: some(["'s", "'T", "'re", "'VE", "'\u017f", "'ll", "x", " ", "\u2019s"], 6),
        lambda: some("abcdefghijklmnopqrstuvwxyz ", 30), lambda: some(".,;:!?()[]{}<>|/\\\"'`~@#$%^&*-_=+", 12),
        lambda: rng.choice("a \n=-") * rng.randint(1, 300), lambda: some(["\u1100", "\u1161", "\u11a8", "\uac00"], 6),
    ]
    pieces, length = [], 0
    while length < size:
        pieces.append(rng.choice(makers)())
        length += len(pieces[-1])
    return "".join(pieces)
