"""The trainer by its parts: what is learnt, in which numbers, and from where an interrupted training goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.errors import DataError, ModelError
from ikyoku.lab.pocket import world_of
from ikyoku.models.chat import prompt_ids
from ikyoku.models.loading import load_tokenizer, load_weights
from ikyoku.models.tokenising import check_context, check_lengths, tokenised
from ikyoku.prompts import PROMPT_FORMATS, instruction_prompt
from ikyoku.runs import sha256_of
from ikyoku.trainer import (
    WHOLE,
    TrainingPlan,
    add_adapter,
    check_devices,
    precision,
    save_adapter,
    train,
)
from ikyoku.training.examples import MASKED, Example, batches_by_length
from ikyoku.types import Conversation, Instruction, Message

ALPACA = PROMPT_FORMATS["alpaca-ja"]
PLAN = TrainingPlan(
    rank=4,
    alpha=8,
    dropout=0.0,
    target_modules="all-linear",
    learning_rate=1e-2,
    schedule="constant",
    warmup=0.0,
    batch_size=4,
    micro_batch_size=4,
    steps=6,
    keep_steps=(),
    checkpoint_every=3,
    seed=0,
)


@pytest.fixture(scope="module")
def base(tiny_bases: dict[str, Path]) -> str:
    return str(tiny_bases["tiny-ja"])


@pytest.fixture(scope="module")
def tokenizers(tiny_bases: dict[str, Path]) -> dict[str, Any]:
    return {name: load_tokenizer(str(folder)) for name, folder in tiny_bases.items()}


@pytest.fixture(scope="module")
def tokenizer(tokenizers: dict[str, Any]) -> Any:
    return tokenizers["tiny-ja"]


@pytest.fixture(scope="module")
def examples(tokenizer: Any) -> list[Example]:
    return tokenised(world_of("tiny", seed=0).instructions[:18], ALPACA, tokenizer)


def weights(base: str, quantization: str = "none") -> Any:
    return load_weights(base, dtype="auto", quantization=quantization, trust_remote_code=False)


def run(model: Any, tokenizer: Any, examples: Sequence[Example], plan: TrainingPlan, folder: Path) -> list[Any]:
    """Trains and returns the records, with the steps that were rewound to in front."""
    told: list[Any] = []
    train(
        model,
        tokenizer,
        examples,
        plan,
        checkpoints=folder / "checkpoints",
        keep=lambda step: folder / f"kept-{step}",
        record=told.append,
        rewind=told.append,
    )
    return told


def loss_of(model: Any, batch: Sequence[Example]) -> float:
    """The mean cross-entropy of the learnt tokens, written out: each is predicted from what stands before it."""
    import torch

    total, count = 0.0, 0
    for each in batch:
        ids = torch.tensor([each.ids])
        with torch.no_grad():
            predicted = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
        for place, label in enumerate(each.labels):
            if label != MASKED:
                total -= float(predicted[place - 1, label])
                count += 1
    return total / count


def first_batch(examples: Sequence[Example], plan: TrainingPlan) -> list[Example]:
    rng = np.random.default_rng([plan.seed, 0])
    order = batches_by_length([len(e.ids) for e in examples], batch_size=plan.batch_size, rng=rng)
    return [examples[i] for i in order[: plan.batch_size]]


@pytest.mark.parametrize("micro", [4, 2, 1])
def test_the_first_loss_is_that_of_the_answers_alone(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path, micro: int
) -> None:
    """The mask, the order and the mean over a batch in parts, against the definition; a fresh adapter adds nothing."""
    plan = replace(PLAN, steps=1, micro_batch_size=micro)
    model = weights(base)
    wanted = loss_of(model, first_batch(examples, plan))
    [start, record] = run(add_adapter(model, plan), tokenizer, examples, plan, tmp_path)
    assert start == 0
    assert record["step"] == 1
    assert record["loss"] == pytest.approx(wanted, rel=1e-5)
    assert record["learning_rate"] == pytest.approx(1e-2)
    assert record["tokens"] == sum(len(e.ids) for e in first_batch(examples, plan))


def test_the_size_of_a_part_changes_nothing_but_rounding(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    losses = []
    for micro in (4, 1):
        plan = replace(PLAN, micro_batch_size=micro)
        told = run(add_adapter(weights(base), plan), tokenizer, examples, plan, tmp_path / str(micro))
        losses.append([r["loss"] for r in told[1:]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_fresh_adapter_adds_nothing_and_only_it_is_trained(base: str, tokenizer: Any) -> None:
    import torch

    plain = weights(base)
    ids = torch.tensor([tokenizer("髄膜炎に特徴的な徴候はどれか。")["input_ids"]])
    with torch.no_grad():
        before = plain.eval()(input_ids=ids).logits
        model = add_adapter(plain, PLAN)
        assert torch.equal(model.eval()(input_ids=ids).logits, before)
    assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def test_the_same_seed_starts_from_the_same_adapter(base: str, tmp_path: Path) -> None:
    folders = []
    for i, seed in enumerate((0, 0, 1)):
        folders.append(tmp_path / str(i))
        save_adapter(add_adapter(weights(base), replace(PLAN, seed=seed)), folders[-1])
    a, b, c = (sha256_of(f / "adapter_model.safetensors") for f in folders)
    assert a == b != c


@pytest.mark.parametrize("cut", [1, 3, 4, 6])
def test_a_training_goes_on_from_its_newest_whole_point(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path, cut: int
) -> None:
    """Cut off by an error in the record of a step; at the last step the point of that step is already whole."""
    plan = replace(PLAN, dropout=0.2, micro_batch_size=2, keep_steps=(2, 5))
    whole = add_adapter(weights(base), plan)
    records = run(whole, tokenizer, examples, plan, tmp_path / "whole")
    save_adapter(whole, tmp_path / "whole" / "adapter")

    class CutOffError(Exception):
        pass

    def stop(record: dict[str, float]) -> None:
        if record["step"] == cut:
            raise CutOffError

    folder = tmp_path / "cut"
    arguments: dict[str, Any] = {"checkpoints": folder / "checkpoints", "keep": lambda step: folder / f"kept-{step}"}
    with pytest.raises(CutOffError):
        train(
            add_adapter(weights(base), plan), tokenizer, examples, plan, record=stop, rewind=lambda _: None, **arguments
        )
    told: list[Any] = []
    model = add_adapter(weights(base), plan)
    train(model, tokenizer, examples, plan, record=told.append, rewind=told.append, **arguments)
    start = told[0]
    assert start == (3 if cut > 3 else 0)
    assert told[1:] == records[1 + start :]
    save_adapter(model, folder / "adapter")
    for name in ("adapter", "kept-2", "kept-5"):
        weights_of = [sha256_of(tmp_path / w / name / "adapter_model.safetensors") for w in ("whole", "cut")]
        assert weights_of[0] == weights_of[1], name


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_finished_training_whose_end_was_not_recorded_is_not_trained_further(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path, quantization: str
) -> None:
    """A kill between the last step and the end of the run: the adapter is that of the last step, to the bit."""
    first = add_adapter(weights(base, quantization), PLAN)
    run(first, tokenizer, examples, PLAN, tmp_path)
    save_adapter(first, tmp_path / "first")
    second = add_adapter(weights(base, quantization), PLAN)
    assert run(second, tokenizer, examples, PLAN, tmp_path) == [PLAN.steps]
    save_adapter(second, tmp_path / "second")
    assert sha256_of(tmp_path / "first" / "adapter_model.safetensors") == sha256_of(
        tmp_path / "second" / "adapter_model.safetensors"
    )


def test_points_are_marked_whole_and_few(base: str, tokenizer: Any, examples: list[Example], tmp_path: Path) -> None:
    plan = replace(PLAN, checkpoint_every=1, steps=4)
    run(add_adapter(weights(base), plan), tokenizer, examples, plan, tmp_path)
    points = {p.name: p for p in (tmp_path / "checkpoints").glob("checkpoint-*")}
    assert sorted(points) == ["checkpoint-3", "checkpoint-4"]
    mark = json.loads((points["checkpoint-4"] / WHOLE).read_text(encoding="utf-8"))
    assert mark["step"] == 4 and mark["tokens"] > 0


def test_a_loss_that_is_no_number_stops_the_training(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    plan = replace(PLAN, learning_rate=9e30, steps=20)
    with pytest.raises(ModelError, match=r"step \d+: the loss is (nan|inf)"):
        run(add_adapter(weights(base), plan), tokenizer, examples, plan, tmp_path)


def test_nothing_is_printed(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(add_adapter(weights(base), PLAN), tokenizer, examples, PLAN, tmp_path)
    assert capfd.readouterr() == ("", "")


def quantised(model: Any) -> list[Any]:
    import bitsandbytes

    return [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]


def gradients(model: Any, batch: Sequence[Example]) -> dict[str, Any]:
    import torch

    model.zero_grad()
    for each in batch:
        ids, labels = torch.tensor([each.ids]), torch.tensor([each.labels])
        model(input_ids=ids, labels=labels).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def test_nf4_gradients_survive_a_forward_in_eval_mode(base: str, tokenizer: Any, examples: list[Example]) -> None:
    """Guards feasibility §4: bitsandbytes repacks 4-bit weights at inference on some CPUs, then gradients are wrong."""
    import torch

    model = weights(base, "nf4")
    assert len(quantised(model)) == 14
    assert [m.support_avx512bf16_for_cpu for m in quantised(model)] == [False] * 14
    model = add_adapter(model, PLAN)
    assert [m.support_avx512bf16_for_cpu for m in quantised(model)] == [False] * 14
    with torch.no_grad():  # B is zero at first, and A would have no gradient
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.train()
    before = gradients(model, examples[:3])
    packed = [(m.weight.dtype, tuple(m.weight.shape)) for m in quantised(model)]
    model.eval()
    with torch.inference_mode():
        model(input_ids=torch.tensor([examples[0].ids]))
    model.train()
    assert [(m.weight.dtype, tuple(m.weight.shape)) for m in quantised(model)] == packed, "the weights were repacked"
    after = gradients(model, examples[:3])
    assert before.keys() == after.keys() and len(before) == 28
    for name, gradient in before.items():
        assert float(gradient.norm()) > 0, name
        assert float(after[name].norm()) == pytest.approx(float(gradient.norm()), rel=1e-4), name
        assert torch.allclose(after[name], gradient, rtol=1e-4, atol=1e-6), name


def test_nf4_gradients_are_those_of_the_dequantised_model(base: str, examples: list[Example]) -> None:
    import bitsandbytes.functional as bnb
    import torch

    def started(model: Any) -> Any:
        model = add_adapter(model, PLAN)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        return model.train()

    quantised_model, plain = weights(base, "nf4"), weights(base)
    names = dict(plain.named_modules())
    with torch.no_grad():
        for name, module in quantised_model.named_modules():
            if type(module).__name__ == "Linear4bit":
                whole = bnb.dequantize_4bit(module.weight.data, module.weight.quant_state)
                names[name].weight.copy_(whole)
    found, wanted = gradients(started(quantised_model), examples[:3]), gradients(started(plain), examples[:3])
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert torch.allclose(found[name], wanted[name], rtol=1e-3, atol=1e-5), name


def test_samples_that_are_too_long_are_named_together() -> None:
    made = [Example(f"line-{n}", tuple(range(n)), tuple(range(n))) for n in (8, 9, 10, 11, 12, 13, 14)]
    check_lengths(made, max_length=14, source="pairs.jsonl")
    with pytest.raises(DataError) as told:
        check_lengths(made, max_length=8, source="pairs.jsonl")
    text = str(told.value)
    assert text.startswith("pairs.jsonl: 6 of 7 samples are longer than max_length 8 (line-9: 9 tokens; ")
    assert "; and 1 more)" in text


def test_samples_beyond_the_models_context_are_named(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    model = add_adapter(weights(base), PLAN)
    long = Example("line-99", (5,) * 4097, (5,) * 4097)
    with pytest.raises(DataError) as told:
        run(model, tokenizer, [*examples, long], PLAN, tmp_path)
    assert str(told.value) == (
        f"{base}: its context is 4096 tokens, and 1 of {len(examples) + 1} samples are longer (line-99: 4097 tokens). "
        "Set max_length to 4096 or less, and shorten them or take them out."
    )
    check_context([replace(long, ids=long.ids[:4096])], context=4096, model=base)


def test_several_gpus_or_processes_are_refused(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_devices(gpus=0, processes=1)
    check_devices(gpus=1, processes=1)
    with pytest.raises(ModelError, match=r"^2 GPUs are visible; .* Set CUDA_VISIBLE_DEVICES=0 "):
        check_devices(gpus=2, processes=1)
    model = add_adapter(weights(base), PLAN)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match=r"^2 processes were launched \(WORLD_SIZE\)"):
        run(model, tokenizer, examples, PLAN, tmp_path)


def test_the_devices_settings() -> None:
    numbers = ("float32", "bfloat16", "float16")
    gpu = [precision(n, gpu=True, bf16=True) for n in numbers]
    assert [(p["bf16"], p["fp16"]) for p in gpu] == [(False, False), (True, False), (False, True)]
    assert all(p["activation_checkpointing"] and p["dataloader_pin_memory"] and not p["use_cpu"] for p in gpu)
    assert not precision("bfloat16", gpu=True, bf16=False)["bf16"]
    for number in numbers:
        assert precision(number, gpu=False, bf16=True) == dict.fromkeys(gpu[0], False) | {"use_cpu": True}


def test_a_gpu_that_is_full_names_the_micro_batch_size(
    base: str, tokenizer: Any, examples: list[Example], tmp_path: Path
) -> None:
    import torch

    def full(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    model = add_adapter(weights(base), PLAN)
    model.register_forward_hook(full)
    with pytest.raises(ModelError, match=r"^training on 4 samples at a time needs more .* Lower micro_batch_size"):
        run(model, tokenizer, examples, PLAN, tmp_path)


def test_a_folder_in_a_point_is_no_file(base: str, tokenizer: Any, examples: list[Example], tmp_path: Path) -> None:
    point = tmp_path / "checkpoints" / "checkpoint-3"

    def record(line: dict[str, float]) -> None:
        if line["step"] == 3:
            (point / "folder" / "inner").mkdir(parents=True)

    model = add_adapter(weights(base), PLAN)
    arguments: dict[str, Any] = {"checkpoints": point.parent, "keep": lambda _: tmp_path, "rewind": lambda _: None}
    train(model, tokenizer, examples, PLAN, record=record, **arguments)
    assert (point / WHOLE).is_file()


@pytest.mark.parametrize("targets", [("proj",), ("q_proj", "k"), ("mlp",), ("embed_tokens",), ("model",)])
def test_target_modules_are_whole_names_of_linear_modules(base: str, targets: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as told:
        add_adapter(weights(base), replace(PLAN, target_modules=targets))
    assert str(told.value) == (
        f"lora.target_modules: no linear module {targets[-1]} in this model. Its linear modules: "
        "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj."
    )


def test_target_modules_that_peft_refuses(base: str) -> None:
    with pytest.raises(
        ModelError, match=r"^lora.target_modules: no adapter can be put on .* linear modules: down_proj"
    ):
        add_adapter(weights(base), replace(PLAN, target_modules="no_such_.*"))


@pytest.mark.parametrize("targets", [("q_proj",), ("self_attn.q_proj",), ("model.layers.0.self_attn.q_proj",)])
def test_target_modules_may_be_longer_names(base: str, targets: tuple[str, ...]) -> None:
    model = add_adapter(weights(base), replace(PLAN, target_modules=targets))
    assert all("q_proj" in name for name, p in model.named_parameters() if p.requires_grad)


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt(base: str) -> None:
    """Seen in folders with add_eos_token: the model would learn to answer after its own end."""
    from tokenizers import processors

    plain, ending = load_tokenizer(base), load_tokenizer(base)
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", plain.bos_token_id), ("</s>", plain.eos_token_id)]
    )
    assert ending("咳")["input_ids"][-1] == ending.eos_token_id
    samples = world_of("tiny", seed=0).instructions[:4]
    assert tokenised(samples, ALPACA, ending) == tokenised(samples, ALPACA, plain)


@pytest.mark.parametrize("name", ["chat", "chat-ja"])
def test_a_pair_in_a_chat_is_the_chat_of_two_turns(tokenizer: Any, name: str) -> None:
    form = PROMPT_FORMATS[name]
    sample = Instruction("line-1", "何か。", "咳", "熱")
    asked = instruction_prompt(sample, form).messages
    assert asked[0].content.startswith(form.opening)
    chat = Conversation("line-1", (*asked, Message("assistant", "熱")))
    assert tokenised([sample], form, tokenizer) == tokenised([chat], form, tokenizer)


def test_a_pair_in_a_chat_learns_the_templates_own_end_of_turn(base: str) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] + ('<pad>' + eos_token + '!') }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    [made] = tokenised([Instruction("line-1", "何か。", "", "熱")], PROMPT_FORMATS["chat"], tokenizer)
    learnt = [i for i, label in zip(made.ids, made.labels, strict=True) if label != MASKED]
    assert tokenizer.decode(learnt).startswith("熱<pad></s>")
    assert tokenizer.decode(learnt).replace(" ", "") == "熱<pad></s>!"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)


@pytest.mark.parametrize("name", ["tiny-ja", "tiny-en"])
@pytest.mark.parametrize("form", sorted(PROMPT_FORMATS))
@settings(max_examples=40, deadline=None)
@given(instruction=TEXT, given_input=st.one_of(st.just(""), TEXT), output=TEXT)
def test_no_sample_is_masked_whole(
    tokenizers: dict[str, Any], name: str, form: str, instruction: str, given_input: str, output: str
) -> None:
    """What the readers let through always leaves an answer and its end to learn, after the prompt that is asked."""
    sample = Instruction("line-1", instruction, given_input, output)
    [made] = tokenised([sample], PROMPT_FORMATS[form], tokenizers[name])
    asked = prompt_ids(instruction_prompt(sample, PROMPT_FORMATS[form]), tokenizers[name])
    assert list(made.ids[: len(asked)]) == asked
    assert made.labels[: len(asked)] == (MASKED,) * len(asked)
    assert made.labels[len(asked) :] == made.ids[len(asked) :]
    assert made.learnt >= 2
    specials = ("<s>", "</s>", "<pad>", "<0x")
    if not any(s in output for s in specials):
        after = "</s>\n" if PROMPT_FORMATS[form].chat else "</s>"  # in a chat, the template's own end of the turn
        assert tokenizers[name].decode(made.ids[len(asked) :]) == output + after


@pytest.mark.parametrize("name", ["tiny-ja", "tiny-en"])
@settings(max_examples=40, deadline=None)
@given(turns=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), system=st.one_of(st.none(), TEXT))
def test_in_chats_the_assistants_turns_are_learnt(
    tokenizers: dict[str, Any], name: str, turns: list[tuple[str, str]], system: str | None
) -> None:
    if any(
        s in text for pair in [*turns, (system or "", "")] for text in pair for s in ("<s>", "</s>", "<pad>", "<0x")
    ):
        return
    messages = [Message("system", system)] if system else []
    for question, answer in turns:
        messages += [Message("user", question), Message("assistant", answer)]
    tokenizer = tokenizers[name]
    [made] = tokenised([Conversation("line-1", tuple(messages))], ALPACA, tokenizer)
    end = tokenizer.eos_token_id
    spans: list[list[int]] = [[]]
    for token, label in zip(made.ids, made.labels, strict=True):
        if label == MASKED:
            spans += [[]] if spans[-1] else []
        else:
            assert label == token
            spans[-1].append(token)
    learnt = [tokenizer.decode(s) for s in spans if s]
    assert [text.split("</s>")[0] for text in learnt] == [answer for _, answer in turns]
    assert sum(token == end for s in spans for token in s) == len(turns)


def test_a_template_that_rewrites_earlier_turns_is_refused(base: str) -> None:
    tokenizer = load_tokenizer(base)
    chat = Conversation("line-9", (Message("user", "a"), Message("assistant", "b"), Message("user", "c")) * 2)
    chat = replace(chat, messages=(*chat.messages, Message("assistant", "d")))
    tokenizer.chat_template = (
        "{{ messages | length }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}>{% endif %}"
    )
    with pytest.raises(ModelError, match=r"rewrites earlier turns.*line-9"):
        tokenised([chat], ALPACA, tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with pytest.raises(ModelError, match="without the end-of-text token"):
        tokenised([chat], ALPACA, tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        tokenised([chat], ALPACA, tokenizer)


def test_a_tokenizer_without_an_end_is_refused(base: str) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        tokenised([Instruction("line-1", "a", "", "b")], ALPACA, tokenizer)


def test_an_adapter_takes_the_place_of_an_older_one_in_one_step(base: str, tmp_path: Path) -> None:
    model = add_adapter(weights(base), PLAN)
    target = tmp_path / "adapter"
    target.mkdir()
    (target / "old").write_text("old")
    half = tmp_path / ".adapter.part"
    half.mkdir()
    (half / "half").write_text("half")
    save_adapter(model, target)
    assert not (target / "old").exists() and not (target / "half").exists() and not half.exists()
    assert (target / "adapter_model.safetensors").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_what_is_saved_names_its_base_and_its_modules_in_one_order(
    base: str, tmp_path: Path, child: Callable[..., Any]
) -> None:
    """The configuration file too is the same in every process, whatever the order of sets is there."""
    code = f"""
from dataclasses import replace
from pathlib import Path
from ikyoku.models.loading import load_weights
from ikyoku.trainer import TrainingPlan, add_adapter, save_adapter
plan = TrainingPlan(**{ {name: getattr(PLAN, name) for name in PLAN.__slots__}!r})
for number in range(2):
    model = load_weights({base!r}, dtype="auto", quantization="none", trust_remote_code=False)
    save_adapter(add_adapter(model, plan), Path({str(tmp_path)!r}) / str(number))
"""
    child(code).finish()
    save_adapter(add_adapter(weights(base), PLAN), tmp_path / "2")
    made = [(tmp_path / str(n) / "adapter_config.json").read_text(encoding="utf-8") for n in range(3)]
    assert json.loads(made[0])["base_model_name_or_path"] == base
    assert made[0] == made[1]
    assert sorted(json.loads(made[0])["target_modules"]) == sorted(json.loads(made[2])["target_modules"])
