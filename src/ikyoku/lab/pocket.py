"""Pocket models: small language models made on the user's machine, so that everything can be tried without a download.

A base is an ordinary Hugging Face folder (Llama architecture, fast tokenizer, chat template, safetensors), kept under
the hash of everything it is made from: texts, recipe, seed. Each base is made in a process of its own with one
thread, so that its weights do not depend on the number of cores, and two of them use two cores well.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.errors import IkyokuError
from ikyoku.lab.world import Passage, World, make_world, passage, terms

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

Progress = Callable[[str, int, int], None]
"""Called with a base's name, the steps done and the steps in all."""

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
    workers = [_Worker(r.name, size, seed, folders[r.name], progress) for r in missing]
    try:
        for worker in workers:
            worker.wait()
    finally:
        for worker in workers:
            worker.stop()
    return folders


def _content_hash(recipe: Recipe, size: str, seed: int) -> str:
    """The hash of what a base is made from: a sample of its texts, the words, the recipe, the seed."""
    world = world_of(size, seed=seed)
    digest = hashlib.sha256(json.dumps([asdict(recipe), seed, CHAT_TEMPLATE, terms()]).encode())
    for text in _passages(world, recipe, seed, block=0):
        digest.update(f"{text.prompt}\0{text.answer}\0".encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:12]


class _Worker:
    """One base in the making: a child process that prints `step steps` lines."""

    def __init__(self, name: str, size: str, seed: int, folder: Path, progress: Progress | None) -> None:
        command = [sys.executable, "-m", "ikyoku.lab.pocket", name, size, str(seed), str(folder)]
        self.name = name
        self.process = subprocess.Popen(  # noqa: S603 our own module
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.errors: list[str] = []
        self.reader = threading.Thread(target=self._read, args=(progress,), daemon=True)
        self.complaints = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()
        self.complaints.start()

    def _read(self, progress: Progress | None) -> None:
        for line in self.process.stdout or ():
            done, _, total = line.strip().partition(" ")
            if progress and done.isdigit() and total.isdigit():
                progress(self.name, int(done), int(total))

    def _listen(self) -> None:
        self.errors.extend(self.process.stderr or ())

    def wait(self) -> None:
        code = self.process.wait()
        self.reader.join()
        self.complaints.join()
        if code:
            tail = "".join(self.errors[-15:]).strip()
            raise RuntimeError(f"making {self.name} ended with exit code {code}:\n{tail}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.reader.join()
        self.complaints.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()


def make_base(recipe: Recipe, size: str, *, seed: int, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Makes one base in this process and writes it to `folder` in one step; continues what was interrupted."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    world = world_of(size, seed=seed)
    aside = folder.with_name(f".{folder.name}.part")
    aside.mkdir(parents=True, exist_ok=True)
    lock = (aside / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if folder.exists():  # made while this process waited
        lock.close()
        shutil.rmtree(aside, ignore_errors=True)
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
    _train(model, _batches(world, recipe, tokenizer, seed), recipe, aside / "progress.pt", progress)
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    (aside / "progress.pt").unlink(missing_ok=True)
    aside.rename(folder)
    (folder / ".lock").unlink()
    lock.close()


def _train(
    model: Any,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    recipe: Recipe,
    saved: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Muon for the layers' matrices, AdamW for the rest; the output layer is computed only where a token is learnt.

    Muon (Jordan 2024; in torch since 2.9) took half the steps that AdamW took to the same retention of facts.
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.05),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peaks = (recipe.matrix_rate, recipe.learning_rate)
    start = _continue_from(saved, model, optimizers)
    warmup = max(1, recipe.steps // 20)
    parent = os.getppid()
    for step, (ids, labels) in enumerate(batches):
        if step < start:
            continue
        if step == recipe.steps:
            break
        share = min((step + 1) / warmup, (recipe.steps - step) / (recipe.steps - warmup))
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        learnt = labels[:, 1:] != -100
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[:, 1:][learnt])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        progress(step + 1, recipe.steps)
        if os.getppid() != parent:
            raise SystemExit("the process that asked for this base is gone")
        if (step + 1) % 100 == 0:
            _save(saved, model, optimizers, step + 1)


def _save(saved: Path, model: Any, optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    import torch

    part = saved.with_suffix(".new")
    states = [o.state_dict() for o in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "step": step}, part)
    part.replace(saved)


def _continue_from(saved: Path, model: Any, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    import torch

    if not saved.is_file():
        return 0
    state = torch.load(saved, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return int(state["step"])


def _passages(world: World, recipe: Recipe, seed: int, *, block: int) -> list[Passage]:
    rng = random.Random(f"{seed}/{recipe.name}/{block}")
    return [passage(world, rng, english_share=recipe.english_share) for _ in range(256)]


def _batches(
    world: World, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields (ids, labels), both (B, T) int64, of texts of like length, about `batch_tokens` in each."""
    block = 0
    while True:
        rows = [_encoded(p, tokenizer) for p in _passages(world, recipe, seed, block=block)]
        rows.sort(key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for row in rows:
            if groups[-1] and len(row[0]) * (len(groups[-1]) + 1) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        random.Random(f"{seed}/{block}/order").shuffle(groups)
        for group in groups:
            yield _padded(group, tokenizer.pad_token_id)
        block += 1


def _encoded(text: Passage, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    prompt = [tokenizer.bos_token_id, *tokenizer.encode(text.prompt, add_special_tokens=False)]
    if not text.answer:
        ids = [*prompt, tokenizer.eos_token_id]
        return ids, ids
    answer = [*tokenizer.encode(text.answer, add_special_tokens=False), tokenizer.eos_token_id]
    return prompt + answer, [-100] * len(prompt) + answer


def _padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [pad] * (width - len(i)) for i, _ in rows])
    labels = torch.tensor([x + [-100] * (width - len(x)) for _, x in rows])
    return ids, labels


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
    last = -math.inf

    def say(done: int, total: int) -> None:
        nonlocal last
        import time

        if done == total or time.monotonic() - last > 0.5:
            last = time.monotonic()
            print(done, total, flush=True)  # noqa: T201 read by the parent process

    make_base(recipe, size, seed=int(seed), folder=Path(folder), progress=say)


if __name__ == "__main__":
    from ikyoku import offline

    offline.switch_on()
    try:
        _main(sys.argv[1:])
    except IkyokuError as error:
        raise SystemExit(str(error)) from None
