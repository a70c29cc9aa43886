"""BERTScore from a local folder: how alike two texts are by the contextual vectors of their tokens.

Optional: no score that drives a search needs it. It is no clinical metric: a negation changes it little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.models.checks import check_folder, check_loaded
from ikyoku.models.loading import context_of, home, load_tokenizer, quiet, readable

_BOUNDLESS = 1 << 30  # what `context_of` gives where nothing names a limit


@dataclass(frozen=True, slots=True)
class BertScore:
    """BERTScore of one pair: cosines, so at most 1; in practice in [0, 1]."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A text for the encoder: its tokens with markers, and the places of those that are compared."""

    ids: list[int]
    places: list[int]

    @property
    def compared(self) -> list[int]:
        return [self.ids[i] for i in self.places]


class BertScorer:
    """An encoder in this process that scores texts against references by greedy matching of token vectors."""

    def __init__(self, model: Any, tokenizer: Any, *, layer: int, batch_size: int = 32) -> None:
        """Takes a loaded encoder.

        Args:
            model: transformers' encoder.
            tokenizer: its tokenizer.
            layer: whose output is compared, 1 the first; which is best is known by trial (9 of 12 for BERT base).
            batch_size: texts at a time.

        Raises:
            ModelError: the encoder has no such layer.
        """
        layers = int(model.config.get_text_config().num_hidden_layers)
        if not 1 <= layer <= layers:
            raise ModelError(f"layer {layer}: the encoder has the layers 1 to {layers}.")
        self._model, self._tokenizer, self._together = model.eval(), tokenizer, batch_size
        self.layer = layer
        self._most = context_of(model.config, tokenizer)
        self._weights: Mapping[int, float] | None = None
        self._unseen = 1.0

    def weigh(self, references: Iterable[str]) -> None:
        """Takes each token's weight from how rare it is in these references, instead of 1: call it before `score`.

        Raises:
            ValueError: there are no references.

        Reference:
            Zhang et al. 2020, section 3, "Importance Weighting": -log of the share of references with the token, plus
            one smoothing.
        """
        texts = list(references)
        if not texts:
            raise ValueError("weights need at least one reference, there are none")
        seen = Counter(token for text in texts for token in {*self._read(text).compared})
        self._weights = {token: log((len(texts) + 1) / (n + 1)) for token, n in seen.items()}
        self._unseen = log(len(texts) + 1)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[BertScore]:
        """Returns the score of each (text, reference), in their order; a text without a token scores 0.

        A text longer than the encoder reads is cut at its end. Markers such as [CLS] are not compared.

        Raises:
            ValueError: a reference has no token.

        Reference:
            Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT", section 3: R, P and F of greedy
            matching, without baseline rescaling.
        """
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        read = {text: self._read(text) for text in texts}
        if not all(read[reference].compared for _, reference in pairs):
            raise ValueError("a reference has no token: there is nothing to measure against")
        vectors = self._vectors({text: tokens for text, tokens in read.items() if tokens.compared})
        found = []
        for text, reference in pairs:
            if not read[text].compared:
                found.append(BertScore(0.0, 0.0, 0.0))
                continue
            cosines = vectors[text] @ vectors[reference].T  # [tokens of the text, tokens of the reference]
            precision = self._mean(read[text].compared, cosines.max(dim=1).values.tolist())
            recall = self._mean(read[reference].compared, cosines.max(dim=0).values.tolist())
            total = precision + recall
            found.append(BertScore(precision, recall, 2 * precision * recall / total if total > 0 else 0.0))
        return found

    def _mean(self, ids: Sequence[int], best: Sequence[float]) -> float:
        """The weighted mean; where every token is in every reference, and weighs nothing, the plain one."""
        known = self._weights
        weights = [1.0 if known is None else known.get(token, self._unseen) for token in ids]
        if not sum(weights):
            weights = [1.0] * len(ids)
        return sum(w * x for w, x in zip(weights, best, strict=True)) / sum(weights)

    def _read(self, text: str) -> _Tokens:
        cut = {"truncation": True, "max_length": self._most} if self._most < _BOUNDLESS else {}
        read = self._tokenizer(text, return_special_tokens_mask=True, verbose=False, **cut)
        places = [i for i, marker in enumerate(read["special_tokens_mask"]) if not marker]
        return _Tokens(read["input_ids"], places)

    def _vectors(self, read: Mapping[str, _Tokens]) -> dict[str, Any]:
        """By text, the unit vectors of the tokens that are compared, shape [tokens, width]."""
        import torch

        found: dict[str, Any] = {}
        order = sorted(read, key=lambda text: len(read[text].ids))
        pad = self._tokenizer.pad_token_id or 0  # behind a mask
        for start in range(0, len(order), self._together):
            part = order[start : start + self._together]
            rows = [read[text].ids for text in part]
            width = max(map(len, rows))
            batch = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
            with torch.inference_mode():
                out = self._model(
                    input_ids=batch.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    output_hidden_states=True,
                )
            hidden = torch.nn.functional.normalize(out.hidden_states[self.layer].float(), dim=-1).cpu()
            found |= {text: hidden[i, read[text].places] for i, text in enumerate(part)}
        return found


def open_bertscore(path: str, *, layer: int | None = None, batch_size: int = 32) -> BertScorer:
    """Returns a scorer from a folder, or from the local cache; on the GPU where there is one.

    Args:
        path: an encoder such as a Japanese BERT, in Hugging Face's layout.
        layer: whose output is compared; see `BertScorer`. By default the one three quarters up, 9 of 12.
        batch_size: texts at a time.

    Raises:
        ModelError: the folder is missing or incomplete, or has no such layer.
    """
    import torch
    from transformers import AutoModel

    check_folder(path)
    with quiet(), readable(path):
        model, info = AutoModel.from_pretrained(
            home(path),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    # a masked language model is saved without the pooler, which is not used here
    needed = {key for key in info["missing_keys"] if not key.startswith("pooler.")}
    check_loaded(path, {**info, "missing_keys": needed})
    if torch.cuda.is_available():
        model = model.to("cuda")
    chosen = max(1, round(0.75 * model.config.get_text_config().num_hidden_layers)) if layer is None else layer
    return BertScorer(model, load_tokenizer(path), layer=chosen, batch_size=batch_size)
