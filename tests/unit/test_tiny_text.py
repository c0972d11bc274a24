from __future__ import annotations

from serving import tiny_text


def test_every_word_is_one_token_and_every_byte_has_one() -> None:
    vocabulary, merges = tiny_text.gpt2_vocabulary()
    space = tiny_text.byte_symbols()[ord(" ")]
    assert all(space + word in vocabulary for word in tiny_text.WORDS)
    assert all(symbol in vocabulary for symbol in tiny_text.byte_symbols().values())
    assert all(left + right in vocabulary for left, right in merges)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_what_is_left_to_say_is_visible() -> None:
    vocabulary, _ = tiny_text.gpt2_vocabulary()
    silent = set(tiny_text.invisible_ids(vocabulary))
    space = tiny_text.byte_symbols()[ord(" ")]
    said = [token for token, i in vocabulary.items() if i not in silent]
    assert said
    assert all(token.removeprefix(space).strip().isprintable() and token != space for token in said)
    assert vocabulary[tiny_text.END] in silent


def test_bert_and_clip_vocabularies_have_no_doubles() -> None:
    assert len(tiny_text.bert_vocabulary()) == len(set(tiny_text.bert_vocabulary().values()))
    assert len(tiny_text.clip_vocabulary()) == 2 * 256 + 2
