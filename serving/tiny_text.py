"""Vocabularies of the tiny checkpoints: real tokenizers, in which common words are one token. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

END = "<|endoftext|>"
START = "<|startoftext|>"
_COMMON = (
    "the of and to in is that it for was on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so "
    "these would other into has more her two like him see time could no make than first been its who now people "
    "my made over did down only way find use may water long little very after words called just where most know "
    "describe image photo picture edge word server small large light city street tree house sky river stone"
)
WORDS = tuple(_COMMON.split())
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


def byte_symbols() -> dict[int, str]:
    """The printable stand-in of each byte, as byte-level BPE writes it (GPT-2's published table)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def gpt2_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level vocabulary and merges: END, 256 bytes, then each word of WORDS with its space, built from the
    left one letter at a time."""
    symbols = byte_symbols()
    tokens = [END, *(symbols[b] for b in range(256))]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left = symbols[ord(" ")]
        for letter in word:
            if left + letter not in tokens:
                tokens.append(left + letter)
                merges.append((left, letter))
            left += letter
    return {token: i for i, token in enumerate(tokens)}, merges


def invisible_ids(vocabulary: dict[str, int]) -> list[int]:
    """Ids whose text is not one visible ASCII word or letter: control characters, halves of a code point, END."""
    space = byte_symbols()[ord(" ")]
    return sorted(i for token, i in vocabulary.items() if token == END or not _visible(token.removeprefix(space)))


def _visible(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def bert_vocabulary() -> dict[str, int]:
    """WordPiece vocabulary: specials, printable ASCII letters (alone and as continuations), then WORDS."""
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1) if not chr(c).isupper()]
    tokens = [*BERT_SPECIAL, *letters, *(f"##{c}" for c in letters), *(w for w in WORDS if len(w) > 1)]
    return {token: i for i, token in enumerate(tokens)}


def clip_vocabulary() -> dict[str, int]:
    """Byte-level vocabulary in CLIP's manner: bytes inside a word, bytes that end one, start, end; no merges."""
    symbols = [byte_symbols()[b] for b in range(256)]
    tokens = [*symbols, *(f"{s}</w>" for s in symbols), START, END]
    return {token: i for i, token in enumerate(tokens)}


def write_gpt2(folder: Path) -> None:
    vocabulary, merges = gpt2_vocabulary()
    _write_bpe(folder, vocabulary, [f"{a} {b}" for a, b in merges])


def write_clip(folder: Path) -> None:
    _write_bpe(folder, clip_vocabulary(), [])


def write_bert(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()) + "\n", encoding="utf-8")


def _write_bpe(folder: Path, vocabulary: dict[str, int], merges: list[str]) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
