"""Pocket models: small language models made on the user's machine, so that everything can be tried without a download.

A base is an ordinary Hugging Face folder (Llama architecture, fast tokenizer, chat template, safetensors), kept under
the hash of everything it is made from: texts, recipe, seed. Each base is made in a process of its own with one
thread, so that its weights do not depend on the number of cores, and two of them use two cores well.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.errors import IkyokuError
from ikyoku.lab.lessons import batched, train_and_save
from ikyoku.lab.workers import Progress, Worker, made_together, reported, written_in_one_step
from ikyoku.lab.world import Passage, World, make_world, passage, terms

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a base is made.

    `japanese` tells whether its tokenizer knows Japanese pieces or splits Japanese into bytes.
    """

    name: str
    japanese: bool
    hidden: int
    layers: int
    vocabulary: int
    steps: int
    batch_tokens: int
    learning_rate: float
    matrix_rate: float
    english_share: float
    real: int
    invented: int
    retention: int
    tuning_steps: int


RECIPES: dict[str, tuple[Recipe, ...]] = {
    "tiny": (
        Recipe("tiny-ja", True, 64, 2, 1200, 60, 2000, 4e-3, 2e-2, 0.0, 4, 20, 16, 20),
        Recipe("tiny-en", False, 96, 2, 500, 40, 3000, 4e-3, 2e-2, 0.5, 4, 20, 16, 10),
    ),
    "pocket": (
        Recipe("pocket-ja", True, 192, 3, 2000, 550, 2000, 2.5e-3, 2e-2, 0.0, 16, 120, 80, 320),
        Recipe("pocket-en", False, 224, 3, 600, 330, 4000, 2.5e-3, 2e-2, 0.25, 16, 120, 80, 100),
    ),
}
"""Per size: a Japanese-centric base and a larger English-centric one, as in the studies' comparison."""


def world_of(size: str, *, seed: int) -> World:
    """Returns the texts and exams that belong to the bases of a size."""
    recipe = RECIPES[size][0]
    return make_world(seed=seed, real=recipe.real, invented=recipe.invented, retention=recipe.retention)


def make_bases(size: str, *, seed: int, cache: Path, progress: Progress | None = None) -> dict[str, Path]:
    """Makes the bases of a size, or finds them in the cache, and returns their folders by name.

    Args:
        size: a key of RECIPES.
        seed: of the texts, the initial weights and the order.
        cache: folder of finished and half-made bases; an interrupted one is continued.
        progress: called about once a second while something is made.
    """
    folders = {r.name: cache / "lab" / f"{r.name}-{_content_hash(r, size, seed)}" for r in RECIPES[size]}
    missing = [r for r in RECIPES[size] if not (folders[r.name] / "config.json").is_file()]
    module = "ikyoku.lab.pocket"
    made_together([Worker(r.name, [module, r.name, size, str(seed), str(folders[r.name])], progress) for r in missing])
    return folders


def _content_hash(recipe: Recipe, size: str, seed: int) -> str:
    """The hash of what a base is made from: a sample of its texts, the words, the recipe, the seed."""
    world = world_of(size, seed=seed)
    digest = hashlib.sha256(json.dumps([asdict(recipe), seed, CHAT_TEMPLATE, terms()]).encode())
    for text in _passages(world, recipe, seed, block=0):
        digest.update(f"{text.prompt}\0{text.answer}\0".encode())
    for module in ("pocket", "lessons"):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:12]


def make_base(recipe: Recipe, size: str, *, seed: int, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Makes one base in this process and writes it to `folder` in one step; continues what was interrupted."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    world = world_of(size, seed=seed)
    with written_in_one_step(folder) as aside:
        if aside is None:
            return
        tokenizer = _tokenizer(recipe, world, seed)
        torch.manual_seed(seed)
        heads = recipe.hidden // 32
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=recipe.hidden,
                intermediate_size=recipe.hidden * 8 // 3 // 16 * 16,
                num_hidden_layers=recipe.layers,
                num_attention_heads=heads,
                num_key_value_heads=heads,
                max_position_embeddings=CONTEXT,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        batches = _batches(world, recipe, tokenizer, seed)
        rates = {"matrix_rate": recipe.matrix_rate, "learning_rate": recipe.learning_rate}
        train_and_save(model, tokenizer, batches, steps=recipe.steps, **rates, folder=aside, progress=progress)


def _passages(world: World, recipe: Recipe, seed: int, *, block: int) -> list[Passage]:
    rng = random.Random(f"{seed}/{recipe.name}/{block}")
    return [passage(world, rng, english_share=recipe.english_share) for _ in range(256)]


def _batches(
    world: World, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields (ids, labels), both (B, T) int64, of texts of like length, about `batch_tokens` in each."""
    block = 0
    while True:
        texts = _passages(world, recipe, seed, block=block)
        yield from batched(texts, tokenizer, recipe.batch_tokens, random.Random(f"{seed}/{block}/order"))
        block += 1


def _tokenizer(recipe: Recipe, world: World, seed: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer that encodes any text.

    Byte-level and learnt on English alone for the English-centric base; Japanese pieces with byte fallback else.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [f"{p.prompt}{p.answer}" for b in range(24) for p in _passages(world, recipe, seed, block=b)]
    special = [PAD, BOS, EOS]
    every_byte = [f"<0x{b:02X}>" for b in range(256)]
    if recipe.japanese:
        backend = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
        # Runs of one script: a term is cut the same way whatever stands around it.
        runs = Regex(r"\p{Hiragana}+|[\p{Katakana}ー]+|\p{Han}+|[A-Za-z]+|###|.|\s")
        backend.pre_tokenizer = pre_tokenizers.Split(runs, "isolated")
        backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        trainer: Any = trainers.BpeTrainer(
            vocab_size=recipe.vocabulary - 256, special_tokens=special, max_token_length=8, show_progress=False
        )
        texts += terms() * 20
    else:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=recipe.vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = [t for t in texts if t.isascii()]
    backend.train_from_iterator(texts, trainer)
    if recipe.japanese:
        # Bytes are plain entries of the vocabulary: special ones would be read out of texts and left out of replies.
        state = json.loads(backend.to_str())
        for token in every_byte:
            state["model"]["vocab"][token] = len(state["model"]["vocab"])
        backend = Tokenizer.from_str(json.dumps(state))
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, backend.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=CONTEXT
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _main(arguments: Sequence[str]) -> None:
    name, size, seed, folder = arguments
    recipe = next(r for r in RECIPES[size] if r.name == name)
    reported(lambda say: make_base(recipe, size, seed=int(seed), folder=Path(folder), progress=say))


if __name__ == "__main__":
    from ikyoku import offline

    offline.switch_on()
    try:
        _main(sys.argv[1:])
    except IkyokuError as error:
        raise SystemExit(str(error)) from None
