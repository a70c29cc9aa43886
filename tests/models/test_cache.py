"""The cache that is written in place: the numbers of transformers' own, whatever is done with it."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ikyoku.models.cache import growing_cache

families = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "merging" / "families.py")))


def spoken(kind: str, steps: int, *, ours: bool) -> tuple[list[list[int]], Any]:
    """Ids and scores of greedy replies to three prompts of different lengths."""
    import torch

    model = families.make(kind)
    ids = torch.tensor([[0, 0, 3, 4, 5], [6, 7, 8, 9, 10], [0, 11, 12, 13, 14]])
    out = model.generate(
        ids,
        attention_mask=(ids > 0).long(),
        max_new_tokens=steps,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        output_scores=True,
        return_dict_in_generate=True,
        **({"past_key_values": growing_cache(model)} if ours else {}),
    )
    return out.sequences.tolist(), torch.stack(out.scores)


@pytest.mark.parametrize("kind", sorted(families.LANGUAGE))
def test_the_numbers_are_those_of_the_librarys_cache(kind: str) -> None:
    """More tokens than room is made for at once, and for gemma3_text, which looks back 4096 tokens at most, fewer."""
    import torch

    wanted, scores = spoken(kind, 90, ours=False)
    found, ours = spoken(kind, 90, ours=True)
    assert found == wanted
    assert torch.equal(ours, scores)
    assert len(found[0]) == 95


def test_it_is_written_in_place() -> None:
    import torch

    model = families.make("llama")
    cache = growing_cache(model)
    with torch.no_grad():
        model(input_ids=torch.tensor([[3, 4, 5]]), past_key_values=cache, use_cache=True)
        at = cache.layers[0].keys.data_ptr()
        for _ in range(60):
            model(input_ids=torch.tensor([[6]]), past_key_values=cache, use_cache=True)
    assert cache.layers[0].keys.data_ptr() == at and cache.get_seq_length() == 63


@pytest.mark.parametrize("change", ["select", "repeat", "crop", "reset"])
def test_what_other_code_does_to_it_holds(change: str) -> None:
    import torch
    from transformers import DynamicCache

    model = families.make("llama")
    own = DynamicCache(config=model.config)
    logits = []
    for cache in (own, growing_cache(model)):
        rows = torch.tensor([[3, 4, 5], [6, 7, 8]])
        with torch.no_grad():
            model(input_ids=rows, past_key_values=cache, use_cache=True)
            if change == "select":
                cache.batch_select_indices(torch.tensor([1]))
            elif change == "repeat":
                cache.batch_repeat_interleave(2)
            elif change == "crop":
                cache.crop(-1)
            else:
                cache.reset()
            count = {"select": 1, "repeat": 4}.get(change, 2)
            for token in (9, 10):
                step = torch.full((count, 1), token)
                out = model(input_ids=step, past_key_values=cache, use_cache=True)
            logits.append(out.logits)
    assert torch.equal(*logits)


def test_models_that_keep_something_else_make_their_own() -> None:
    from transformers import LlamaForCausalLM, MambaConfig, MambaForCausalLM

    size = {"hidden_size": 8, "state_size": 4, "num_hidden_layers": 1, "vocab_size": 8}
    assert growing_cache(MambaForCausalLM(MambaConfig(**size))) is None
    brought = type("Brought", (LlamaForCausalLM,), {"__module__": "code_of_a_model"})
    assert growing_cache(brought(families.make("llama").config)) is None
