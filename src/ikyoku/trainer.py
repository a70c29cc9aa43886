"""Training behind one function: TRL's SFTTrainer over PEFT and accelerate.

Ours are the examples with their mask, the order by length (seeded per epoch, so that a continued run sees the same
batches), and the record: one line a step, adapters kept at named steps, checkpoints that are known to be whole.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ikyoku.errors import DataError, ModelError
from ikyoku.models.local import ADAPTER_WEIGHTS, keep_nf4_gradients, prompt_ids, quiet
from ikyoku.prompts import PromptFormat, instruction_prompt
from ikyoku.runs import write_atomically
from ikyoku.training.examples import Example, batches_by_length, pair_example, span_example
from ikyoku.types import Conversation, Instruction, InstructionSample

WHOLE = "whole.json"
"""Written last into a checkpoint: one without it was cut off in the middle and is not used."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The numbers of one training, all of them; see TuneSpec for their meaning."""

    rank: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...] | str
    learning_rate: float
    schedule: str
    warmup: float
    batch_size: int
    micro_batch_size: int
    steps: int
    keep_steps: tuple[int, ...]
    checkpoint_every: int
    seed: int


def tokenised(samples: Sequence[InstructionSample], form: PromptFormat, tokenizer: Any) -> list[Example]:
    """Returns the samples as examples with their mask.

    Raises:
        ModelError: the tokenizer lacks an end-of-text token or a usable chat template.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{tokenizer.name_or_path}: the tokenizer has no end-of-text token, so no answer could end.")
    make = {Instruction: _instruction_example, Conversation: _conversation_example}
    return [make[type(s)](s, form, tokenizer) for s in samples]


def check_lengths(examples: Sequence[Example], *, max_length: int, source: str) -> None:
    """Refuses samples that are too long: cutting them would drop answers without a word.

    Raises:
        DataError: naming the samples and their lengths.
    """
    long = [f"{e.id}: {len(e.ids)} tokens" for e in examples if len(e.ids) > max_length]
    if long:
        shown = "; ".join(long[:5]) + (f"; and {len(long) - 5} more" if len(long) > 5 else "")
        raise DataError(
            f"{source}: {len(long)} of {len(examples)} samples are longer than max_length {max_length} ({shown}). "
            "Shorten them, take them out, or raise max_length."
        )


def add_adapter(model: Any, plan: TrainingPlan) -> Any:
    """Returns the model with a fresh LoRA adapter, in train mode.

    Raises:
        ModelError: a target module is not in the model; its linear modules are named.
    """
    from transformers import set_seed

    with quiet():  # while it is first imported
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    set_seed(plan.seed)
    linear = sorted({name.rsplit(".", 1)[-1] for name, m in model.named_modules() if "Linear" in type(m).__name__})
    if not isinstance(plan.target_modules, str):
        unknown = [t for t in plan.target_modules if not any(n.endswith(t) for n, _ in model.named_modules())]
        if unknown:
            raise ModelError(
                f"lora.target_modules: {', '.join(unknown)} not in this model. Its linear modules: {', '.join(linear)}."
            )
    if getattr(model, "is_loaded_in_4bit", False):
        on_gpu = model.device.type == "cuda"
        with quiet():
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=on_gpu)
    targets = plan.target_modules if isinstance(plan.target_modules, str) else list(plan.target_modules)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with quiet():
        model = get_peft_model(model, config)
    keep_nf4_gradients(model)
    return model


def train(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    plan: TrainingPlan,
    *,
    checkpoints: Path,
    keep: Callable[[int], Path],
    record: Callable[[dict[str, float]], None],
    rewind: Callable[[int], None],
) -> None:
    """Trains the adapter of `model` in place and leaves it at the last step.

    Args:
        model: from `add_adapter`.
        tokenizer: of the model.
        examples: what is learnt.
        plan: the numbers.
        checkpoints: folder of points to continue from; the newest whole one in it is used.
        keep: the folder in which the adapter of a named step is put.
        record: called with step, loss, learning_rate and tokens after each step.
        rewind: called once with the step that training starts after, so that later records can be taken back.
    """
    from transformers.trainer_callback import PrinterCallback

    resume = _newest_whole(checkpoints)
    point = json.loads((resume / WHOLE).read_text(encoding="utf-8")) if resume else {"step": 0, "tokens": 0}
    rewind(point["step"])
    if resume and point["step"] >= plan.steps:  # cut off after the last step: transformers would train one more
        _load_adapter(model, resume)
        return
    with quiet():
        trainer = _trainer(model, tokenizer, examples, plan, checkpoints)
        trainer.remove_callback(PrinterCallback)  # the record says it, once
        trainer.add_callback(_recorder(plan, keep, record, checkpoints, point["tokens"]))
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def save_adapter(model: Any, folder: Path) -> None:
    """Writes the adapter to a folder in one step, in place of an older one."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(str(aside))
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)


def _load_adapter(model: Any, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS, device=str(model.device)))


def _instruction_example(sample: Any, form: PromptFormat, tokenizer: Any) -> Example:
    prompt = instruction_prompt(sample, form)
    before = prompt_ids(prompt, tokenizer)
    answer = tokenizer(sample.output, add_special_tokens=False)["input_ids"]
    if prompt.messages:
        whole: list[int] = []
    else:
        whole = list(tokenizer(prompt.text + sample.output)["input_ids"])
    return pair_example(sample.id, before, whole, answer, end=tokenizer.eos_token_id)


def _conversation_example(sample: Any, form: PromptFormat, tokenizer: Any) -> Example:
    if not tokenizer.chat_template:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template, chat data cannot be laid out. "
            "Give Alpaca data, or add chat_template to its tokenizer_config.json."
        )
    turns = [{"role": m.role, "content": m.content} for m in sample.messages]

    def ids(upto: int, *, asked: bool) -> list[int]:
        text = tokenizer.apply_chat_template(turns[:upto], tokenize=False, add_generation_prompt=asked)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    whole = ids(len(turns), asked=False)
    spans = []
    for i, turn in enumerate(turns):
        if turn["role"] == "assistant":
            before, after = ids(i, asked=True), ids(i + 1, asked=False)
            if whole[: len(before)] != before or whole[: len(after)] != after:
                raise ModelError(
                    f"{tokenizer.name_or_path}: its chat template rewrites earlier turns, so the answers in "
                    f"{sample.id} cannot be told from the rest. Use a template in which a longer conversation begins "
                    "with the shorter."
                )
            if tokenizer.eos_token_id not in after[len(before) :]:
                raise ModelError(
                    f"{tokenizer.name_or_path}: its chat template ends an answer without the end-of-text token, so the "
                    "model would not learn to stop."
                )
            spans.append((len(before), len(after)))
    return span_example(sample.id, whole, spans)


def _trainer(model: Any, tokenizer: Any, examples: Sequence[Example], plan: TrainingPlan, folder: Path) -> Any:
    import torch
    from torch.utils.data import Sampler
    from trl import SFTConfig, SFTTrainer

    from datasets import Dataset

    gpu = torch.cuda.is_available()
    lengths = [len(e.ids) for e in examples]

    class ByLength(Sampler):  # type: ignore[misc]  # torch is not followed
        """Examples of like length together, in an order that the seed and the epoch decide."""

        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            rng = np.random.default_rng([plan.seed, self.epoch])
            yield from batches_by_length(lengths, batch_size=plan.batch_size, rng=rng)

        def __len__(self) -> int:
            return len(lengths)

    class Trainer(SFTTrainer):  # type: ignore[misc]  # trl is untyped
        def _get_train_sampler(self, *_: Any) -> Any:
            return ByLength()

    rows = Dataset.from_dict({"input_ids": [e.ids for e in examples], "labels": [e.labels for e in examples]})
    return Trainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=rows,
        args=SFTConfig(
            output_dir=str(folder),
            max_steps=plan.steps,
            per_device_train_batch_size=plan.micro_batch_size,
            gradient_accumulation_steps=plan.batch_size // plan.micro_batch_size,
            learning_rate=plan.learning_rate,
            lr_scheduler_type={"constant": "constant_with_warmup"}.get(plan.schedule, plan.schedule),
            warmup_steps=math.ceil(plan.warmup * plan.steps),
            weight_decay=0.0,
            max_length=None,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=plan.checkpoint_every,
            save_total_limit=2,
            seed=plan.seed,
            data_seed=plan.seed,
            use_cpu=not gpu,
            bf16=gpu,
            activation_checkpointing=gpu and getattr(model, "is_loaded_in_4bit", False),
            dataloader_pin_memory=gpu,
            report_to="none",
            disable_tqdm=True,
            push_to_hub=False,
        ),
    )


def _recorder(
    plan: TrainingPlan,
    keep: Callable[[int], Path],
    record: Callable[[dict[str, float]], None],
    checkpoints: Path,
    before: int,
) -> Any:
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
        """Writes the record of each step, keeps named adapters, marks whole checkpoints."""

        tokens = before  # TRL counts from the point that a run continues from

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ModelError(
                    f"step {state.global_step}: the loss is {logs['loss']}. The adapters kept so far are usable; lower "
                    "learning_rate, or load the base as bfloat16 in place of float16."
                )
            self.tokens = before + int(logs["num_tokens"])
            record(
                {
                    "step": state.global_step,
                    "loss": logs["loss"],
                    "learning_rate": logs["learning_rate"],
                    "tokens": self.tokens,
                }
            )

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step in plan.keep_steps:
                save_adapter(model, keep(state.global_step))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = checkpoints / f"checkpoint-{state.global_step}"
            for file in folder.rglob("*"):  # on the disk before the mark is: a power cut must not leave the mark alone
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
            point = {"step": state.global_step, "tokens": self.tokens}
            write_atomically(folder / WHOLE, json.dumps(point))

    return Recorder()


def _newest_whole(folder: Path) -> Path | None:
    """Returns the newest whole checkpoint; removes those that an interruption left half-written."""
    if not folder.is_dir():
        return None
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for half in [p for p in found if not (p / WHOLE).is_file()]:
        shutil.rmtree(half)
    return next((p for p in reversed(found) if p.exists()), None)
