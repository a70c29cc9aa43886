"""Rows of embeddings by the text of their tokens, on tokenizers that were trained here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.errors import ModelError
from ikyoku.merging import METHODS, merge_tensor
from ikyoku.merging.vocabulary import (
    MEAN,
    MISSING,
    align,
    aligned,
    alone,
    check_spellings,
    spelling,
    union,
    union_tokenizer,
    vocabulary_of,
    with_tokens,
)

TEXT = ["the lungs are clear", "no pleural effusion", "肺野に異常なし", "胸水を認めない", "心拡大はない"]


def _rows(*values: float) -> torch.Tensor:
    return torch.tensor([float(value) for value in values])[:, None].repeat(1, 3)


def _trained(kind: str, *, extra: Sequence[str] = (), texts: Sequence[str] = TEXT) -> dict[str, Any]:
    """A tokenizer.json as the tokenizers library writes it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram() if kind == "unigram" else models.BPE(byte_fallback=kind == "metaspace"))
    if kind == "bytes":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Replace("▁", " ")
    if kind == "unigram":
        trainer: Any = trainers.UnigramTrainer(vocab_size=60, show_progress=False, special_tokens=["<s>"])
    else:
        alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "bytes" else []
        trainer = trainers.BpeTrainer(
            vocab_size=320, show_progress=False, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"]
        )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([AddedToken(text, special=True, normalized=False) for text in extra])
    found: dict[str, Any] = json.loads(backend.to_str())
    return found


# rows


def test_rows_follow_the_text() -> None:
    parents = [{"a": 0, "b": 1, "c": 2}, {"c": 0, "a": 1, "b": 2}]
    found = align(parents, parents[0])
    second = aligned([_rows(1, 2, 3), _rows(30, 10, 20)], found, 1)
    assert second.equal(_rows(10, 20, 30))
    assert found.coverage(["x", "y"]) == "3 of 3 tokens in all parents"


def test_the_same_vocabulary_is_left_alone() -> None:
    vocabulary = {"a": 0, "b": 1}
    matrix = torch.randn(64, 3)  # 62 rows of padding
    found = align([vocabulary, vocabulary], vocabulary, rows=[64, 64], size=64)
    assert aligned([matrix, matrix + 1], found, 0) is matrix


def test_who_stands_in_for_a_missing_token() -> None:
    vocabularies = [{"a": 0}, {"a": 0, "b": 1, "c": 2, "d": 3}, {"a": 0, "b": 1, "c": 2}, {"c": 0}]
    target = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    matrices = [_rows(1), _rows(10, 20, 30, 40), _rows(100, 200, 400), _rows(3000)]
    without = align(vocabularies, target)
    assert list(without.donors) == [MEAN, MEAN, MEAN, 1, MISSING]
    # b: the mean of the two that have it; d: the only one; e, in nobody: the mean of the parent's own rows
    assert aligned(matrices, without, 0).equal(_rows(1, 110, (30 + 400 + 3000) / 3, 40, 1))
    with_base = align(vocabularies, target, base=2)
    assert list(with_base.donors) == [2, 2, 2, 1, MISSING]
    assert aligned(matrices, with_base, 0)[:4].equal(_rows(1, 200, 400, 40))
    assert with_base.coverage("wxyz") == "0 of 5 tokens in all parents; 1 kept from x, which alone has it"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("method", ["ties", "linear", "slerp", "task_arithmetic", "dare_ties"])
def test_a_row_of_one_parent_comes_out_as_it_is_there(method: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    words = {f"w{i}": i for i in range(50)}
    base, japanese = words, words | {"肺": 50, "胸水": 51}
    image = {"<image>": 0} | {word: at + 1 for word, at in words.items()}
    target = union([base, japanese, image])
    found = align([base, japanese, image], target, base=0)
    matrices = [torch.randn(len(v), 8).to(dtype) for v in (base, japanese, image)]
    rows = [aligned(matrices, found, parent) for parent in range(3)]
    count = 1 if method == "slerp" else 2
    # weights that float32 does not hold exactly, and that need normalising
    each = [{"weight": weight, "density": 0.5} for weight in (0.7, 0.6)][:count]
    shared = {"t": 0.3} if method == "slerp" else {}
    own = METHODS[method]
    parents = rows[1 : 1 + count] if own.needs_base else rows[1:]
    made = merge_tensor(
        own, rows[0] if own.needs_base else None, parents, shared=shared, each=each, keys=[1, 2][:count]
    )
    made = made.to(dtype)
    for row, (parent, source) in alone(found).items():
        made[row] = matrices[parent][source]
    assert made[50:52].equal(matrices[1][50:52])
    assert made[target["<image>"]].equal(matrices[2][0])
    assert not made[1:50].equal(matrices[1][1:50])


@pytest.mark.parametrize("method", ["ties", "linear", "task_arithmetic", "dare_ties", "jradievo"])
def test_such_a_row_needs_no_help_but_from_slerp(method: str) -> None:
    torch.manual_seed(0)
    base, image = {f"w{i}": i for i in range(50)}, {"<image>": 0} | {f"w{i}": i + 1 for i in range(50)}
    target = union([base, image])
    found = align([base, image], target, base=0)
    matrices = [torch.randn(len(v), 8).bfloat16() for v in (base, image)]
    rows = [aligned(matrices, found, parent) for parent in range(2)]
    own, each = METHODS[method], [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.9}]
    made = merge_tensor(own, rows[0] if own.needs_base else None, rows, shared={}, each=each, keys=[1, 2])
    assert made[target["<image>"]].bfloat16().equal(matrices[1][0])


def test_padding_is_told_from_tokens() -> None:
    first, second = {"a": 0, "b": 1}, {"a": 0, "b": 1, "c": 2}
    matrices = [_rows(1, 2, 7, 8), _rows(10, 20, 30, 70, 80, 90)]
    found = align([first, second], second, rows=[4, 6], size=6)
    # row 2 is a token in the second alone, so the padding of the first is not taken for it; row 3 is padding in both
    assert aligned(matrices, found, 0).equal(_rows(1, 2, 30, 8, 80, 90))
    assert aligned(matrices, found, 1) is matrices[1]
    shorter = align([first, second], second, rows=[4, 6])
    assert aligned(matrices, shorter, 1).equal(_rows(10, 20, 30))


def test_a_token_without_a_row_is_a_missing_one() -> None:
    grown = {"a": 0, "b": 1, "<image>": 2}  # added to the tokenizer, but the model was not resized
    found = align([grown, {"a": 0, "<image>": 1}], grown, rows=[2, 2])
    assert aligned([_rows(1, 2), _rows(10, 30)], found, 0).equal(_rows(1, 2, 30))
    assert union([grown, {"a": 0}], rows=[2, 1]) == {"a": 0, "b": 1}


def test_other_formats_are_widened() -> None:
    found = align([{"a": 0}, {"b": 0}], {"a": 0, "b": 1})
    matrices = [_rows(1).to(torch.bfloat16), _rows(1 + 2**-12)]
    assert aligned(matrices, found, 0).equal(_rows(1, 1 + 2**-12))
    assert aligned([matrices[0], matrices[1].to(torch.bfloat16)], found, 1).dtype == torch.bfloat16


def test_two_tokens_on_one_row_are_refused_where_they_differ() -> None:
    target = {"a": 0, "A": 0, "b": 1}
    assert list(align([{"a": 0, "A": 0, "b": 1}], target).index[0]) == [0, 1]
    with pytest.raises(ModelError, match="'a' and 'A' share row 0 of the output and are rows 0 and 1 of parent 1"):
        align([{"a": 0, "A": 1, "b": 2}], target)


def test_a_size_that_is_too_small_is_refused() -> None:
    with pytest.raises(ModelError, match="1 rows for tokens, and ids up to 1"):
        align([{"a": 0, "b": 1}], {"a": 0, "b": 1}, size=1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.permutations([f"w{i}" for i in range(6)]).map(lambda p: p[:4]), min_size=1, max_size=4))
def test_every_parent_ends_with_the_row_of_each_token_it_has(orders: list[list[str]]) -> None:
    vocabularies = [{word: at for at, word in enumerate(order)} for order in orders]
    value = {f"w{i}": float(i + 1) for i in range(6)}
    matrices = [_rows(*(value[word] * (parent + 1) for word in v)) for parent, v in enumerate(vocabularies)]
    target = union(vocabularies)
    assert sorted(target.values()) == list(range(len(target)))
    found = align(vocabularies, target, base=0)
    for parent, vocabulary in enumerate(vocabularies):
        result = aligned(matrices, found, parent)
        for word, at in target.items():
            holders = [p for p, v in enumerate(vocabularies) if word in v]
            if word in vocabulary:
                assert float(result[at, 0]) == value[word] * (parent + 1)
            elif len(holders) == 1:
                assert float(result[at, 0]) == value[word] * (holders[0] + 1)


# spellings


def test_spellings_are_told_apart() -> None:
    kinds = {kind: vocabulary_of(_trained(kind)) for kind in ("bytes", "metaspace", "unigram")}
    assert {kind: spelling(v) for kind, v in kinds.items()} == {
        "bytes": "byte-level",
        "metaspace": "SentencePiece",
        "unigram": "SentencePiece",
    }
    assert spelling({"lung": 0, "##s": 1}) == "WordPiece"
    assert spelling({"Ġorġ": 0, "▁the": 1, "▁a": 2}) == "SentencePiece"  # a Maltese letter among its pieces
    with pytest.raises(ModelError, match=r"different systems \(byte-level and SentencePiece\)"):
        align([kinds["bytes"], kinds["metaspace"]], kinds["bytes"])
    with pytest.raises(ModelError, match=r"different systems \(byte-level and plain\)"):
        union([kinds["bytes"], {"a": 0}])
    check_spellings([{}, kinds["bytes"]])


# the union's tokenizer


def test_a_union_tokenizer_knows_what_each_parent_added(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    language = _trained("bytes", extra=["<|user|>", "<|end|>"])
    vision = _trained("bytes", extra=["<|end|>", "<image>", "<row>"])
    before = json.dumps(language, sort_keys=True)
    made = union_tokenizer([language, vision])
    assert json.dumps(language, sort_keys=True) == before
    assert vocabulary_of(made) == union([vocabulary_of(language), vocabulary_of(vision)])
    (tmp_path / "tokenizer.json").write_text(json.dumps(made), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "<image><|user|>胸水を認めない<|end|>"
    ids = loaded(text)["input_ids"]
    assert ids[0] == vocabulary_of(made)["<image>"] == len(vocabulary_of(language))
    parents = [Tokenizer.from_str(json.dumps(tokenizer)) for tokenizer in (language, vision)]
    assert ids[1:] == parents[0].encode("<|user|>胸水を認めない<|end|>").ids
    assert loaded.decode(ids) == text


def test_a_parent_with_fewer_pieces_adds_nothing() -> None:
    base = _trained("bytes")
    fewer = json.loads(json.dumps(base))
    last = list(fewer["model"]["vocab"])[-1]
    del fewer["model"]["vocab"][last]
    fewer["model"]["merges"].pop()
    assert union_tokenizer([base, fewer]) == base


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_pieces_that_the_base_has_not_become_added_tokens(kind: str) -> None:
    from tokenizers import Tokenizer

    base, japanese = _trained(kind, texts=TEXT[:2]), _trained(kind, texts=[*TEXT[2:], "sign of edema"], extra=["<end>"])
    made = union_tokenizer([base, japanese])
    assert made["model"] == base["model"]
    loaded = Tokenizer.from_str(json.dumps(made))
    assert loaded.get_vocab() == union([vocabulary_of(base), vocabulary_of(japanese)])
    alone_in = {piece: at for piece, at in loaded.get_vocab().items() if piece not in vocabulary_of(base)}
    word = max((piece for piece in alone_in if piece.isascii() and piece.isalpha()), key=len)
    assert len(alone_in) > 10 and len(word) > 2 and "<end>" in alone_in
    assert loaded.encode(f"{word}<end>").ids[-2:] == [alone_in[word], alone_in["<end>"]]
    settings_of = {entry["content"]: entry["special"] for entry in made["added_tokens"]}
    assert settings_of["<end>"] and not settings_of[word]
    if kind == "bytes":  # spelled in letters of its own: not found in a text, but written and decoded
        piece = next(text for text in alone_in if "èĤº" in text)
        assert not set(loaded.encode(TEXT[2]).ids) & set(alone_in.values())
        assert "肺" in loaded.decode([alone_in[piece]])
    else:
        assert set(loaded.encode(TEXT[2]).ids) & set(alone_in.values())


def test_a_model_of_another_kind_is_added_piece_by_piece() -> None:
    base, other = _trained("metaspace"), _trained("unigram", texts=TEXT[2:])
    assert vocabulary_of(union_tokenizer([base, other])) == union([vocabulary_of(base), vocabulary_of(other)])
    with pytest.raises(ModelError, match="different systems"):
        union_tokenizer([base, _trained("bytes")])


def test_tokens_are_added_after_the_last(tmp_path: Path) -> None:
    base = _trained("bytes", extra=["<image>"])
    made = with_tokens(base, ["<|im_end|>", "<image>", "<|im_start|>", "<|im_end|>"])
    size = len(vocabulary_of(base))
    assert vocabulary_of(made) == vocabulary_of(base) | {"<|im_end|>": size, "<|im_start|>": size + 1}
