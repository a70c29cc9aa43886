"""How likely a model is to continue a prompt in given ways. A prompt goes through the model once.

Its continuations branch from it as a prefix tree, and the tree is one row of a batch:

    context ─┬─ 胃 ─┬─ 潰瘍      tokens     context  胃  潰瘍  癌  肝
             │      └─ 癌        positions  0 … 9    10  11   11  10
             └─ 肝

Each token attends to its ancestors alone, by a 4-D mask. The last token of a continuation is predicted and never fed:
continuations of one token, such as letters, cost nothing beyond their context. Rows over the vocabulary are computed
where a token is predicted, not for the context.

A model without attention, with biases by distance (ALiBi) or with an attention that takes no such mask has every
continuation go through it with its prompt. Which way is right is read from the configuration where it can be, and
tried out in any case: the first prompt is scored both ways.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ikyoku.models.chat import chat_text, refuse_pictures
from ikyoku.types import Message, Prompt

Way = Literal["shared prefix", "one by one"]
"""A prompt goes through the model once for all its continuations, or once for each."""

TOLERANCE = 1e-3
"""Most that the two ways may differ for one continuation in float32."""
TOLERANCE_16_BIT = 0.3
"""The same in bfloat16 and float16, times √tokens: there a logit of 16 is rounded to a multiple of 1/8."""

_MOST_LOGITS = 2**28  # of a batch: 1 GiB in float32
_CHUNK = 2**24  # logits turned into float32 at a time


def continuation_ids(
    prompt: Prompt,
    continuations: Sequence[str],
    tokenizer: Any,
    *,
    lay_out: Callable[[Sequence[Message]], str] | None = None,
) -> tuple[list[int], list[list[int]]]:
    """Returns a prompt's token ids, and the ids that each continuation adds to them.

    A continuation is tokenised together with its prompt, and what stands behind the prompt's own ids is taken as its
    own. White space at the prompt's end counts as the continuation's, because many tokenizers join it to the next
    word. Both are the rule of lm-evaluation-harness, so that the same tokens are scored. Where nothing stands behind
    the prompt's ids, which that harness refuses, the continuation is tokenised by itself.

    Args:
        prompt: a text, which gets the tokenizer's special tokens unless it begins with one, or messages, whose chat
            template writes them.
        continuations: texts that follow the prompt directly.
        tokenizer: of transformers.
        lay_out: messages as text that ends where the model's answer begins; `chat_text` by default.

    Raises:
        ModelError: the prompt has pictures, or the chat template is missing or refuses the messages.
    """
    refuse_pictures(prompt, tokenizer)
    first = tokenizer.bos_token or tokenizer.eos_token
    chat = lay_out or (lambda turns: chat_text(turns, tokenizer, asked=True, where="the prompt"))
    text = chat(prompt.messages) if prompt.messages else prompt.text
    special = not prompt.messages and not text.startswith(first or "\0")
    texts = [text.rstrip(), *(text + each for each in continuations)]
    ids = [list(row) for row in tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]]
    for row in ids:
        while row and row[-1] == tokenizer.eos_token_id:  # set behind every text by some tokenizers
            row.pop()
    own = [row[len(ids[0]) :] for row in ids[1:]]
    for i, each in enumerate(continuations):
        if not own[i]:  # joined to the prompt's last word
            own[i] = list(tokenizer(each, add_special_tokens=False, verbose=False)["input_ids"])
    return ids[0] or [tokenizer.convert_tokens_to_ids(first)], own


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """A prompt and its continuations as they go through the model.

    `tokens` are those that are fed: the `context` first ones are the prompt, each other follows `parents[i - context]`.
    A parent stands before its children. `steps` are, per continuation, pairs (i, token): `token` is predicted at
    `tokens[i]`.
    """

    tokens: tuple[int, ...]
    context: int
    parents: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def branches(self) -> bool:
        """Whether any two tokens follow the same one; without, the tree is an ordinary sequence."""
        return any(parent != i - 1 for i, parent in enumerate(self.parents, self.context))

    @property
    def longest(self) -> int:
        """How many tokens precede the last one of the longest sequence: what the model's context must hold."""
        return max(self.positions()) + 1

    def continuations(self) -> list[tuple[int, ...]]:
        """Returns the token ids of each continuation."""
        return [tuple(token for _, token in path) for path in self.steps]

    def positions(self) -> list[int]:
        """Returns each token's distance from the first."""
        found = list(range(self.context))
        for parent in self.parents:
            found.append(found[parent] + 1)
        return found

    def ancestors(self) -> list[list[int]]:
        """Returns for each token behind the context those behind the context that it may attend to, itself included."""
        found: list[list[int]] = []
        for i, parent in enumerate(self.parents, self.context):
            found.append([*(found[parent - self.context] if parent >= self.context else ()), i])
        return found


def prefix_tree(context: Sequence[int], continuations: Sequence[Sequence[int]]) -> PrefixTree:
    """Returns the tree in which continuations that begin alike share their first tokens.

    Args:
        context: the prompt's token ids, at least one.
        continuations: the ids that each continuation adds.

    >>> tree = prefix_tree([5, 6], [[7, 8, 9], [7, 3], [4]])
    >>> tree.tokens, tree.parents
    ((5, 6, 7, 8), (1, 2))
    >>> tree.steps
    (((1, 7), (2, 8), (3, 9)), ((1, 7), (2, 3)), ((1, 4),))
    """
    tokens, parents = list(context), list[int]()
    places: dict[tuple[int, int], int] = {}  # (parent, token) -> index
    steps = []
    for continuation in continuations:
        at, path = len(context) - 1, []
        for n, token in enumerate(continuation, 1):
            path.append((at, token))
            if n == len(continuation):
                break
            if (at, token) not in places:
                places[at, token] = len(tokens)
                tokens.append(token)
                parents.append(at)
            at = places[at, token]
        steps.append(tuple(path))
    return PrefixTree(tuple(tokens), len(context), tuple(parents), tuple(steps))


class ContinuationScorer:
    """Scores continuations with one model, in batches that change no number beyond rounding.

    The trees of one call are sorted by length and put together up to `tokens_per_batch` tokens, padding included. Where
    that is more than the GPU holds the batch is halved, and later ones are no larger than what fitted.

    `way` says how prompts with several continuations are scored.

    Args:
        model: a causal language model of transformers in eval mode, with or without an adapter of PEFT.
        pad: any token id; no number depends on it.
        tokens_per_batch: most tokens that go through the model at once; a longer tree goes alone. On two cores 1,000 to
            4,000 were fastest; a GPU takes more.
    """

    def __init__(self, model: Any, pad: int, *, tokens_per_batch: int = 2048) -> None:
        self.tokens_per_batch = tokens_per_batch
        self._model, self._pad = model, pad
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._config = base.config.get_text_config()
        self._named = frozenset(inspect.signature(base.forward).parameters)
        self._kinds = _kinds_of_attention(self._config)
        self._window = getattr(self._config, "sliding_window", None) or 1 << 30
        able = bool(self._kinds) and "position_ids" in self._named
        self.way: Way = "shared prefix" if able else "one by one"
        self._tried: set[bool] = set()  # whether a prompt scored both ways was longer than the sliding window

    def score(self, trees: Sequence[PrefixTree]) -> list[list[float]]:
        """Returns for each tree Σ ln p over the tokens of each continuation; 0 for one without tokens.

        Raises:
            torch.cuda.OutOfMemoryError: one sequence alone is more than the GPU holds.
        """
        import torch

        with torch.inference_mode():
            for tree in sorted((t for t in trees if t.branches), key=lambda t: -len(t.tokens)):
                beyond = tree.longest > self._window
                if self.way == "shared prefix" and beyond not in self._tried:
                    self._tried.add(beyond)
                    self.way = "shared prefix" if self._agree(tree) else "one by one"
            return self._batched(trees) if self.way == "shared prefix" else self._one_by_one(trees)

    def _agree(self, tree: PrefixTree) -> bool:
        """Returns whether both ways come to the same numbers for two continuations that part in what is fed."""
        import torch

        longest = [part.continuations()[0] for _, part in _sequences(tree)][:2]
        pair = prefix_tree(tree.tokens[: tree.context], longest)
        (wanted,) = self._one_by_one([pair])
        try:
            (found,) = self._scores([pair])
        except Exception:  # the sequences have just gone through: it is the mask that this model refuses
            return False
        exact = self._model.dtype in (torch.float32, torch.float64)
        most = [TOLERANCE if exact else TOLERANCE_16_BIT * len(steps) ** 0.5 for steps in pair.steps]
        return all(abs(a - b) <= bound for a, b, bound in zip(found, wanted, most, strict=True))

    def _one_by_one(self, trees: Sequence[PrefixTree]) -> list[list[float]]:
        """Returns the scores with every continuation in a sequence of its own, or in a longer one that begins so."""
        parts = [(i, *part) for i, tree in enumerate(trees) for part in _sequences(tree)]
        found = [[0.0] * len(tree.steps) for tree in trees]
        for (i, places, _), scores in zip(parts, self._batched([part for *_, part in parts]), strict=True):
            for place, score in zip(places, scores, strict=True):
                found[i][place] = score
        return found

    def _batched(self, trees: Sequence[PrefixTree]) -> list[list[float]]:
        """Returns the scores, after halving batches as often as the GPU asks for it."""
        import torch

        found = [[0.0] * len(tree.steps) for tree in trees]
        left = [i for i, tree in enumerate(trees) if any(tree.steps)]
        left.sort(key=lambda i: (-len(trees[i].tokens), trees[i].tokens))
        while left:
            batch = left[: self._fitting([trees[i] for i in left])]
            alone = trees[batch[0]] if len(batch) == 1 else None
            scores = None
            try:
                scores = self._scores([trees[i] for i in batch])
            except torch.cuda.OutOfMemoryError:
                if alone and not alone.branches:
                    raise
            if scores is None:  # outside the handler, which holds on to the tensors that did not fit
                torch.cuda.empty_cache()
                if not alone:
                    self.tokens_per_batch = len(batch) // 2 * len(trees[left[0]].tokens)
                    continue
                scores = self._one_by_one([alone])
            for i, score in zip(batch, scores, strict=True):
                found[i] = score
            left = left[len(batch) :]
        return found

    def _fitting(self, trees: Sequence[PrefixTree]) -> int:
        """Returns how many of the trees, longest first, make one batch."""
        width = len(trees[0].tokens)
        most = max(1, self.tokens_per_batch // width)
        rows = width + 1 - min(tree.context for tree in trees[:most]) if "logits_to_keep" in self._named else width
        return max(1, min(most, _MOST_LOGITS // int(rows * self._config.vocab_size)))

    def _scores(self, trees: Sequence[PrefixTree]) -> list[list[float]]:
        """Returns the scores of one batch."""
        import torch

        width = max(len(tree.tokens) for tree in trees)
        branched = any(tree.branches for tree in trees)
        # Sequences are padded on the right and need no mask: no token attends to what follows it. Trees are padded on
        # the left, so that the columns that predict something are the last ones in all of them.
        shifts = [width - len(tree.tokens) if branched else 0 for tree in trees]
        inputs = self._branched(trees, width) if branched else self._plain(trees, width)
        needed = [(b, s + i, token) for b, s in enumerate(shifts) for path in trees[b].steps for i, token in path]
        columns = sorted({column for _, column, _ in needed})
        if "logits_to_keep" in self._named:
            inputs["logits_to_keep"] = torch.tensor(columns, device=self._model.device)
            kept = {column: n for n, column in enumerate(columns)}
            needed = [(b, kept[column], token) for b, column, token in needed]
        if "use_cache" in self._named:
            inputs["use_cache"] = False
        logits = self._model(**inputs).logits  # (B, columns that are kept, V)
        rows: dict[tuple[int, int], int] = {}
        steps = [(rows.setdefault((b, column), len(rows)), token) for b, column, token in needed]
        batch, column = torch.tensor(list(rows), device=logits.device).T
        row, token = torch.tensor(steps, device=logits.device).T
        size = max(1, _CHUNK // logits.shape[-1])
        parts = [logits[b, c].float().logsumexp(-1) for b, c in zip(batch.split(size), column.split(size), strict=True)]
        values = iter((logits[batch[row], column[row], token].float() - torch.cat(parts)[row]).tolist())
        return [[sum((next(values) for _ in path), 0.0) for path in tree.steps] for tree in trees]

    def _plain(self, trees: Sequence[PrefixTree], width: int) -> dict[str, Any]:
        """Returns what the model is called with for sequences: ids (B, W)."""
        import torch

        ids = [[*tree.tokens, *[self._pad] * (width - len(tree.tokens))] for tree in trees]
        return {"input_ids": torch.tensor(ids, device=self._model.device)}

    def _branched(self, trees: Sequence[PrefixTree], width: int) -> dict[str, Any]:
        """Returns what the model is called with for trees: ids and positions (B, W), masks (B, 1, W, W)."""
        import torch

        device = self._model.device
        pads = [width - len(tree.tokens) for tree in trees]
        ids = [[self._pad] * pad + [*tree.tokens] for pad, tree in zip(pads, trees, strict=True)]
        places = [[0] * pad + tree.positions() for pad, tree in zip(pads, trees, strict=True)]
        positions = torch.tensor(places, device=device)
        column = torch.arange(width, device=device)
        begin = torch.tensor(pads, device=device)[:, None, None]
        end = begin + torch.tensor([tree.context for tree in trees], device=device)[:, None, None]
        seen = (column >= begin) & (column < end) & (column <= column[:, None])  # (B, W, W): the context
        pairs = [
            (b, pad + i, pad + j)
            for b, (pad, tree) in enumerate(zip(pads, trees, strict=True))
            for i, before in enumerate(tree.ancestors(), tree.context)
            for j in before
        ]
        seen[torch.tensor(pairs, device=device).unbind(1)] = True
        masks = {}
        for kind in self._kinds:
            near = positions[:, :, None] - positions[:, None] < self._window if kind == "sliding_attention" else True
            masks[kind] = self._mask(seen & near)
        mask = masks if len(masks) > 1 else masks[self._kinds[0]]
        return {"input_ids": torch.tensor(ids, device=device), "position_ids": positions, "attention_mask": mask}

    def _mask(self, seen: Any) -> Any:
        """Returns (B, W, W) of bool as what is added to the attention's scores."""
        import torch

        seen = seen | torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)  # a row of nothing would be NaN
        none = torch.zeros((), dtype=self._model.dtype, device=seen.device)
        return torch.where(seen, none, torch.finfo(none.dtype).min)[:, None]


def _kinds_of_attention(config: Any) -> tuple[str, ...]:
    """Returns the kinds of attention in a model's layers; none where one of them takes no mask of ours."""
    if config._attn_implementation not in ("sdpa", "eager"):
        return ()
    window = getattr(config, "sliding_window", None)
    named = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    return tuple(sorted(set(named))) if {*named} <= {"full_attention", "sliding_attention"} else ()


def _sequences(tree: PrefixTree) -> Iterator[tuple[list[int], PrefixTree]]:
    """Yields what a tree falls into where nothing may branch: places of continuations, and their tree of one path.

    A continuation whose fed tokens begin another's is scored on the other's path: letters all on one. The longest path
    comes first, and its longest continuation.
    """
    texts = tree.continuations()
    paths: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        fed = texts[i][:-1]
        path = next((path for path in paths if texts[path[0]][: len(fed)] == fed), None)
        if path is None:
            paths.append(path := [])
        path.append(i)
    for path in paths:
        yield path, prefix_tree(tree.tokens[: tree.context], [texts[i] for i in path])
