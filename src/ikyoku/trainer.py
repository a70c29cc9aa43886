"""Training behind one function: TRL's SFTTrainer over PEFT and accelerate.

Ours are the examples with their mask, the order by length (seeded per epoch, so that a continued run sees the same
batches), and the record: one line a step, adapters kept at named steps, checkpoints that are known to be whole.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ikyoku.errors import ModelError
from ikyoku.models.checks import ADAPTER_WEIGHTS, has_tower
from ikyoku.models.loading import context_of, in_gpu_memory, keep_nf4_gradients, quiet
from ikyoku.models.tokenising import check_context
from ikyoku.runs import write_atomically
from ikyoku.training.examples import Example, batches_by_length

Beside = Callable[[Sequence[str], Any], dict[str, Any]]
"""What a batch's pictures (by sha256, in the order of the rows) add to what the model is called with, given its ids."""

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


def check_devices(*, gpus: int, processes: int) -> None:
    """Refuses to train where the libraries would share the batches out: the batch size would be another.

    Args:
        gpus: how many this process sees.
        processes: how many a launcher has started.

    Raises:
        ModelError: there is more than one GPU or process.
    """
    if processes > 1:
        raise ModelError(
            f"{processes} processes were launched (WORLD_SIZE); training runs in one. Start `ikyoku tune` without "
            "torchrun or accelerate launch."
        )
    if gpus > 1:
        raise ModelError(
            f"{gpus} GPUs are visible; training uses one, and more would multiply the batch. "
            "Set CUDA_VISIBLE_DEVICES=0 (or another one's number) and run again."
        )


def add_adapter(model: Any, plan: TrainingPlan) -> Any:
    """Returns the model with a fresh LoRA adapter, in train mode.

    In a vision-language model the adapter is on its language model alone: tower and projector stay as they are.

    Raises:
        ModelError: a target module is not in the model; its linear modules are named.
    """
    from transformers import set_seed

    with quiet():  # while it is first imported
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    set_seed(plan.seed)
    linear = _linear_modules(model)
    known = f"Its linear modules: {', '.join(sorted({name.rsplit('.', 1)[-1] for name in linear}))}."
    if not isinstance(plan.target_modules, str):
        unknown = [t for t in plan.target_modules if not any(n == t or n.endswith(f".{t}") for n in linear)]
        if unknown:
            raise ModelError(f"lora.target_modules: no linear module {', '.join(unknown)} in this model. {known}")
    if getattr(model, "is_loaded_in_4bit", False):
        on_gpu = model.device.type == "cuda"
        with quiet():
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=on_gpu)
    targets = plan.target_modules if isinstance(plan.target_modules, str) else list(plan.target_modules)
    if has_tower(model.config.to_dict()):
        wanted = {name for name in linear if plan.target_modules == "all-linear" or name.endswith(plan.target_modules)}
        targets = _expression(wanted)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with quiet():
            model = get_peft_model(model, config)
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"lora.target_modules: no adapter can be put on this model: {first} {known}") from None
    keep_nf4_gradients(model)
    return model


def _linear_modules(model: Any) -> list[str]:
    """Returns the names of the linear modules, 4-bit ones too; those of the language model where there is a tower."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    linear = {name: module for name, module in model.named_modules() if isinstance(module, Linear | Conv1D)}
    if not has_tower(model.config.to_dict()):
        return list(linear)
    language = {id(module) for module in model.get_decoder().modules()}
    return [name for name, module in linear.items() if id(module) in language]


def _expression(names: Collection[str]) -> str:
    """Returns an expression that these modules' names match and no others': one for all layers where they are alike."""
    layers = {re.sub(r"\.\d+\.", ".#.", name) for name in names}
    return "|".join(sorted(re.escape(name).replace(r"\#", r"\d+") for name in layers))


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
    beside: Beside | None = None,
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
        beside: gives what the pictures of a batch add to the model's input; needed where examples have pictures.

    Raises:
        DataError: a sample is longer than the model's context.
        ModelError: there are several GPUs, the GPU's memory is full, or the loss is no number.
    """
    import torch
    from transformers.trainer_callback import PrinterCallback

    check_devices(gpus=torch.cuda.device_count(), processes=int(os.environ.get("WORLD_SIZE") or 1))
    check_context(examples, context=context_of(model.config, tokenizer), model=model.config.name_or_path)
    resume = _newest_whole(checkpoints)
    point = json.loads((resume / WHOLE).read_text(encoding="utf-8")) if resume else {"step": 0, "tokens": 0}
    rewind(point["step"])
    if resume and point["step"] >= plan.steps:  # cut off after the last step: transformers would train one more
        _load_adapter(model, resume)
        return
    doing = f"training on {plan.micro_batch_size} samples at a time"
    with quiet(), in_gpu_memory(doing, "Lower micro_batch_size, then max_length, or load the base as nf4."):
        trainer = _trainer(model, tokenizer, examples, plan, checkpoints, beside)
        if trainer.args.fp16:  # TRL makes the adapter of a 4-bit base bfloat16, which cannot be scaled as float16 wants
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.data = parameter.data.float()
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

    saved = load_file(folder / ADAPTER_WEIGHTS, device=str(model.device))
    set_peft_model_state_dict(model, saved)
    # The trainer trains in another dtype than a fresh adapter has (bfloat16 on a 4-bit base).
    for name, parameter in model.named_parameters():
        tensor = saved.get(name.replace(".default", ""))
        if parameter.requires_grad and tensor is not None:
            parameter.data = parameter.data.to(tensor.dtype)


def precision(number: str, *, gpu: bool, bf16: bool) -> dict[str, bool]:
    """Returns the trainer's settings that depend on the device and on the numbers that the base is computed in.

    Args:
        number: float32, bfloat16 or float16, of the loaded base.
        gpu: whether it is on a GPU; if so, activations are computed twice in place of being kept.
        bf16: whether that GPU computes bfloat16.

    >>> precision("bfloat16", gpu=True, bf16=True)["bf16"], precision("bfloat16", gpu=False, bf16=False)["bf16"]
    (True, False)
    """
    return {
        "use_cpu": not gpu,
        "bf16": gpu and bf16 and number == "bfloat16",
        "fp16": gpu and number == "float16",
        "activation_checkpointing": gpu,
        "dataloader_pin_memory": gpu,
    }


def _trainer(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    plan: TrainingPlan,
    folder: Path,
    beside: Beside | None,
) -> Any:
    from torch.utils.data import Sampler
    from trl import SFTTrainer

    from datasets import Dataset

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

        def _set_signature_columns_if_needed(self) -> None:
            self._signature_columns = ["input_ids", "labels", "pictures"]

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
            pictures = inputs.pop("pictures", ())
            more = beside(pictures, inputs["input_ids"]) if beside else {}
            return super().compute_loss(model, inputs | more, *args, **options)

    names = {"input_ids": "ids", "labels": "labels"} | ({"pictures": "pictures"} if beside else {})
    columns = {column: [getattr(e, name) for e in examples] for column, name in names.items()}
    trainer = Trainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict(columns),
        args=_settings(model, plan, folder),
    )
    # The loss is TRL's own and a mean over all tokens of a step. Qwen-VL says of its own loss that it is not, and would
    # get a mean over the means of micro-batches.
    trainer.model_accepts_loss_kwargs = True
    padded = trainer.data_collator
    if beside:
        trainer.data_collator = lambda rows: {**padded(rows), "pictures": [p for row in rows for p in row["pictures"]]}
    return trainer


def _settings(model: Any, plan: TrainingPlan, folder: Path) -> Any:
    """Returns TRL's settings for a plan."""
    import torch
    from trl import SFTConfig

    gpu = model.device.type == "cuda"
    number = str(model.config.dtype).removeprefix("torch.")  # as load_weights chose it, also for a 4-bit base
    return SFTConfig(
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
        **precision(number, gpu=gpu, bf16=gpu and torch.cuda.is_bf16_supported(including_emulation=False)),
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
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
            # On the disk before the mark is: a power cut must not leave the mark alone.
            for file in filter(Path.is_file, folder.rglob("*")):
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
