"""BERTScore of a tiny BERT made here, against the same sums written out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ikyoku.errors import ModelError
from ikyoku.models.bertscore import BertScore, BertScorer, open_bertscore

SIGNS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"右左胸水気結節影を認めるない。、"]
PAIRS = [
    ("右胸水を認める。", "右胸水を認める。"),
    ("右胸水を認めない。", "右胸水を認める。"),
    ("左気胸。", "右胸水を認める。"),
    ("結節影を認める。右胸水を認める。", "結節影。"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with masked-language head, saved as such models are: without a pooler."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("bert")
    sizes = {"vocab_size": len(SIGNS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    config = BertConfig(**sizes, num_attention_heads=4, max_position_embeddings=24, initializer_range=0.4)
    BertForMaskedLM(config).save_pretrained(made)
    cut = Tokenizer(models.WordLevel({sign: i for i, sign in enumerate(SIGNS)}, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    cut.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=cut, **names, mask_token="[MASK]").save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def scorer(folder: Path) -> BertScorer:
    return open_bertscore(str(folder), layer=2)


def vectors(folder: Path, text: str, layer: int = 2) -> Any:
    """Unit vectors of a text's signs, alone in a batch, without the markers."""
    import torch
    from transformers import BertForMaskedLM

    model = BertForMaskedLM.from_pretrained(folder).eval()
    ids = torch.tensor([[2, *(SIGNS.index(sign) for sign in text), 3]])
    with torch.inference_mode():
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[layer][0, 1:-1]
    return (hidden / hidden.norm(dim=-1, keepdim=True)).numpy()


def by_hand(folder: Path, text: str, reference: str, weight: Any = lambda sign: 1.0, layer: int = 2) -> BertScore:
    ours, theirs = vectors(folder, text, layer), vectors(folder, reference, layer)
    precision = sum(weight(s) * max(float(v @ w) for w in theirs) for s, v in zip(text, ours, strict=True))
    recall = sum(weight(s) * max(float(v @ w) for v in ours) for s, w in zip(reference, theirs, strict=True))
    precision, recall = precision / sum(map(weight, text)), recall / sum(map(weight, reference))
    return BertScore(precision, recall, 2 * precision * recall / (precision + recall))


def near(found: BertScore, wanted: BertScore) -> bool:
    return all(
        getattr(found, name) == pytest.approx(getattr(wanted, name), abs=1e-5) for name in ("precision", "recall", "f1")
    )


def test_it_is_the_sum_of_the_paper(folder: Path, scorer: BertScorer) -> None:
    found = scorer.score(PAIRS)
    assert all(near(one, by_hand(folder, *pair)) for one, pair in zip(found, PAIRS, strict=True))
    assert len({round(one.f1, 4) for one in found}) == len(PAIRS)
    assert found[3].precision != pytest.approx(found[3].recall, abs=1e-3)


def test_the_layer_matters(folder: Path) -> None:
    for layer in (1, 3):
        (found,) = open_bertscore(str(folder), layer=layer).score(PAIRS[1:2])
        assert near(found, by_hand(folder, *PAIRS[1], layer=layer))
        assert not near(found, by_hand(folder, *PAIRS[1]))


def test_identical_is_1_and_a_negation_is_hardly_seen(scorer: BertScorer) -> None:
    same, negated, other, _ = scorer.score(PAIRS)
    assert same.f1 == pytest.approx(1, abs=1e-5)
    assert other.f1 < negated.f1 < 1


def test_neighbours_in_a_batch_change_nothing(folder: Path, scorer: BertScorer) -> None:
    alone = [scorer.score([pair])[0] for pair in PAIRS]
    narrow = open_bertscore(str(folder), layer=2, batch_size=1).score(PAIRS)
    for together, one, other in zip(scorer.score(PAIRS), alone, narrow, strict=True):
        assert near(together, one) and near(together, other)


def test_rare_tokens_weigh_more_where_asked(folder: Path) -> None:
    scorer = open_bertscore(str(folder), layer=2)
    references = [reference for _, reference in PAIRS]
    scorer.weigh(references)

    def weight(sign: str) -> float:
        return math.log((len(references) + 1) / (sum(sign in text for text in references) + 1))

    assert weight("。") == 0 < weight("胸") < weight("左"), "in every reference, in some, in none"
    for found, pair in zip(scorer.score(PAIRS), PAIRS, strict=True):
        assert near(found, by_hand(folder, *pair, weight))
    (same,) = scorer.score([("。", "。")])
    assert same.f1 == pytest.approx(1, abs=1e-5), "where nothing weighs, all weigh the same"
    with pytest.raises(ValueError, match="there are none"):
        scorer.weigh([])


def test_a_text_is_cut_where_the_encoder_ends(folder: Path, scorer: BertScorer) -> None:
    long = "右胸水を認める。" * 5
    (found,) = scorer.score([(long, "右胸水。")])
    assert near(found, by_hand(folder, long[:22], "右胸水。")), "24 positions, two of them markers"


def test_of_nothing_there_is_no_score(scorer: BertScorer) -> None:
    assert scorer.score([]) == []
    assert scorer.score([("", "右胸水。")]) == [BertScore(0.0, 0.0, 0.0)]
    with pytest.raises(ValueError, match="no token"):
        scorer.score([("右胸水。", "")])


def test_what_cannot_be_loaded_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="layers 1 to 3"):
        open_bertscore(str(folder), layer=4)
    with pytest.raises(ModelError, match="no such model folder"):
        open_bertscore(str(tmp_path / "none"), layer=1)
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    from safetensors.torch import load_file, save_file

    tensors = load_file(broken / "model.safetensors")
    tensors.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        open_bertscore(str(broken), layer=1)
