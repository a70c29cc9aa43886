"""`ikyoku tune`, end to end on a tiny base: it learns, it keeps its record, and a kill changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.instructions import write_instructions
from ikyoku.errors import DataError, ModelError
from ikyoku.lab.pocket import world_of
from ikyoku.runs import sha256_of
from ikyoku.specfile import to_yaml
from ikyoku.specs import TuneSpec
from ikyoku.types import Conversation, Message

WEIGHTS = "adapter_model.safetensors"
STEPS = 40


@pytest.fixture(scope="module")
def base(tiny_bases: dict[str, Path]) -> Path:
    return tiny_bases["tiny-ja"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 pairs: batches of 4 leave an incomplete one at the end of every epoch."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    write_instructions(path, world_of("tiny", seed=0).instructions[:22])
    return path


def spec(base: Path, data: Path, **changes: Any) -> TuneSpec:
    """Six steps an epoch, of which the sixth has half a batch; dropout, accumulation and a warm-up of several steps."""
    values: dict[str, Any] = {
        "model": {"path": str(base)},
        "data": str(data),
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        "learning_rate": 1e-2,
        "warmup": 0.1,
        "batch_size": 4,
        "micro_batch_size": 2,
        "steps": STEPS,
        "keep_steps": [5, 20],
        "checkpoint_every": 7,
    }
    return TuneSpec.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(base: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> ikyoku.jobs.Finished:
    """The undisturbed run, through the Python API."""
    return ikyoku.tune(spec(base, pairs), root=tmp_path_factory.mktemp("runs"))


def bits(folder: Path) -> dict[str, str]:
    """The hashes of everything that a repetition must reproduce."""
    found = [*sorted((folder / "artifact").glob(f"*/{WEIGHTS}")), folder / "steps.jsonl"]
    assert len(found) == 4
    return {str(path.relative_to(folder)): sha256_of(path) for path in found}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()]


def write_spec(path: Path, asked: TuneSpec) -> Path:
    path.write_text(to_yaml(asked), encoding="utf-8")
    return path


def test_the_loss_falls_and_every_step_has_its_line(finished: ikyoku.jobs.Finished) -> None:
    steps = records(finished.folder)
    assert [s["step"] for s in steps] == list(range(1, STEPS + 1))
    losses = [s["loss"] for s in steps]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    assert finished.result["first_loss"] == losses[0] and finished.result["final_loss"] == losses[-1]
    assert not finished.before
    rates = [s["learning_rate"] for s in steps]
    assert max(rates) == pytest.approx(1e-2) and rates.index(max(rates)) == 4, "the rate rises in a tenth of the steps"
    assert rates[-1] < rates[10]
    tokens = [s["tokens"] for s in steps]
    assert tokens == sorted(set(tokens))


def test_every_epoch_learns_every_token_once(finished: ikyoku.jobs.Finished, base: Path, pairs: Path) -> None:
    from ikyoku.datasets.instructions import read_instructions
    from ikyoku.models.loading import load_tokenizer
    from ikyoku.models.tokenising import tokenised
    from ikyoku.prompts import PROMPT_FORMATS

    examples = tokenised(read_instructions(pairs), PROMPT_FORMATS["alpaca-ja"], load_tokenizer(str(base)))
    whole = sum(len(e.ids) for e in examples)
    at = {s["step"]: s["tokens"] for s in records(finished.folder)}
    assert [at[6 * epoch] for epoch in range(1, 7)] == [whole * epoch for epoch in range(1, 7)]


def test_the_adapters_load_and_differ(finished: ikyoku.jobs.Finished, base: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from ikyoku.models.loading import load_weights, with_adapter

    folders = [finished.folder / "artifact" / f for f in ("adapter-step-000005", "adapter-step-000020", "adapter")]
    assert sorted(finished.result["kept"]) == ["20", "5"]
    assert finished.folder / finished.result["kept"]["5"] == folders[0]
    assert finished.folder / finished.result["adapter"] == folders[2]
    assert sorted((finished.folder / "artifact").iterdir()) == sorted(folders), "nothing else is left"
    ids = torch.tensor([[1, 300, 301, 302]])
    outputs = []
    for folder in folders:
        assert {p.name for p in folder.iterdir()} >= {"adapter_config.json", WEIGHTS}
        weights = load_file(folder / WEIGHTS)
        assert len(weights) == 2 * 3 * 2 and all("lora" in key for key in weights)
        assert sum(t.numel() for t in weights.values()) == finished.result["trained_parameters"]
        plain = load_weights(str(base), dtype="auto", quantization="none", trust_remote_code=False)
        model = with_adapter(plain, str(base), str(folder)).eval()
        with torch.inference_mode():
            outputs.append(model(input_ids=ids).logits)
    assert all((a - b).abs().max() > 1e-4 for a, b in ((outputs[0], outputs[1]), (outputs[1], outputs[2])))


def test_the_run_folder_is_whole(finished: ikyoku.jobs.Finished, base: Path, pairs: Path) -> None:
    found = {p.name for p in finished.folder.iterdir()}
    assert found == {
        ".lock",
        "artifact",
        "provenance.json",
        "spec.yaml",
        "status.json",
        "steps.jsonl",
        "summary.html",
    }, "the points to continue from are gone"
    page = (finished.folder / "summary.html").read_text(encoding="utf-8")
    assert "<svg" in page and "://" not in page.replace("http://www.w3.org", "")
    provenance = json.loads((finished.folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["inputs"] == {str(base): sha256_of(base), str(pairs): sha256_of(pairs)}
    assert json.loads((finished.folder / "status.json").read_text(encoding="utf-8"))["state"] == "done"


def test_a_second_call_returns_at_once(finished: ikyoku.jobs.Finished, base: Path, pairs: Path) -> None:
    def state() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}

    before = state()
    again = ikyoku.tune(spec(base, pairs), root=finished.folder.parent)
    assert again.before and again.folder == finished.folder and again.result == finished.result
    assert state() == before


def test_the_command_line_gives_the_same_bits_and_pure_json(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    file = write_spec(tmp_path / "tune.yaml", spec(base, pairs))
    started = command("tune", file, "--runs", tmp_path / "runs", "--json")
    told = json.loads(started.finish())
    assert started.err.read_text(encoding="utf-8") == "", "quiet where nobody watches"
    assert Path(told["run"]).name == finished.folder.name
    assert told["result"] == finished.result
    assert bits(Path(told["run"])) == bits(finished.folder)


def test_another_seed_gives_other_bits(finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path) -> None:
    other = ikyoku.tune(spec(base, pairs, seed=1), root=tmp_path)
    mine, theirs = bits(other.folder), bits(finished.folder)
    assert mine.keys() == theirs.keys()
    assert all(mine[key] != theirs[key] for key in mine)


@pytest.mark.parametrize(
    "lines",
    [pytest.param([2], id="before the first point"), [9], [8, 9, 30], pytest.param([22, 24], id="again at once")],
)
def test_killed_it_is_continued_to_the_same_bits(
    finished: ikyoku.jobs.Finished,
    base: Path,
    pairs: Path,
    tmp_path: Path,
    command: Callable[..., Any],
    lines: list[int],
) -> None:
    """Killed when steps.jsonl has so many lines, once or several times; points lie at 7, 14, 21, 28, 35."""
    file, runs = write_spec(tmp_path / "tune.yaml", spec(base, pairs)), tmp_path / "runs"
    folder = runs / finished.folder.name
    for count in lines:
        command("tune", file, "--runs", runs).kill_at(folder / "steps.jsonl", count)
        assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "running"
    out = command("tune", file, "--runs", runs).finish()
    assert str(folder / "artifact" / "adapter") in out and "finished before" not in out
    assert bits(folder) == bits(finished.folder)
    assert not (folder / "checkpoints").exists()


def test_what_a_kill_left_half_written_is_not_used(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    file, runs = write_spec(tmp_path / "tune.yaml", spec(base, pairs)), tmp_path / "runs"
    folder = runs / finished.folder.name
    command("tune", file, "--runs", runs).kill_at(folder / "steps.jsonl", 16)
    points = {p.name for p in (folder / "checkpoints").iterdir()}
    assert "checkpoint-14" in points
    half = folder / "checkpoints" / "checkpoint-21"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(folder / "checkpoints" / "checkpoint-14", half)
    (half / "whole.json").unlink()
    with (half / WEIGHTS).open("r+b") as weights:
        weights.truncate(100)
    part = folder / "artifact" / ".adapter-step-000020.part"
    part.mkdir()
    (part / WEIGHTS).write_bytes(b"half")
    with (folder / "steps.jsonl").open("a", encoding="utf-8") as steps:
        steps.write('{"step": 17, "lo')
    command("tune", file, "--runs", runs).finish()
    assert bits(folder) == bits(finished.folder)
    assert not part.exists()


def test_changed_data_are_not_mixed_into_a_begun_run(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    data = tmp_path / "pairs.jsonl"
    shutil.copy(pairs, data)
    file, runs = write_spec(tmp_path / "tune.yaml", spec(base, data)), tmp_path / "runs"
    started = command("tune", file, "--runs", runs)
    folder = runs / f"tune-run-{ikyoku.runs.spec_hash(spec(base, data).model_dump(mode='json'))}"
    started.kill_at(folder / "steps.jsonl", 1)
    write_instructions(data, world_of("tiny", seed=0).instructions[:21])
    again = command("tune", file, "--runs", runs)
    again.finish(2)
    assert "changed since this run began" in again.err.read_text(encoding="utf-8")


def chat(path: Path) -> Path:
    made = []
    for i, pair in enumerate(world_of("tiny", seed=0).instructions[:12]):
        turns = [Message("user", pair.instruction), Message("assistant", pair.output)]
        if i % 2:
            turns = [Message("system", "短く答えなさい。"), *turns, Message("user", "もう一度。"), turns[-1]]
        made.append(Conversation(str(i), tuple(turns)))
    write_instructions(path, made)
    return path


def test_chat_data_train(base: Path, tmp_path: Path) -> None:
    asked = spec(base, chat(tmp_path / "chat.jsonl"), steps=16, keep_steps=[], batch_size=6, micro_batch_size=None)
    done = ikyoku.tune(asked, root=tmp_path / "runs")
    assert done.result["final_loss"] < done.result["first_loss"]


def test_pairs_train_in_a_chat_format(base: Path, pairs: Path, tmp_path: Path) -> None:
    done = ikyoku.tune(spec(base, pairs, format="chat-ja", steps=16, keep_steps=[]), root=tmp_path)
    assert done.result["final_loss"] < done.result["first_loss"]


def test_fewer_samples_than_a_batch_train(base: Path, pairs: Path, tmp_path: Path) -> None:
    write_instructions(tmp_path / "three.jsonl", world_of("tiny", seed=0).instructions[:3])
    asked = spec(base, tmp_path / "three.jsonl", steps=6, keep_steps=[], batch_size=8, micro_batch_size=4)
    done = ikyoku.tune(asked, root=tmp_path)
    assert [s["step"] for s in records(done.folder)] == list(range(1, 7))
    per_epoch = {
        b["tokens"] - a["tokens"] for a, b in zip(records(done.folder), records(done.folder)[1:], strict=False)
    }
    assert len(per_epoch) == 1, "each step is one pass over the three"


def test_a_sample_that_is_too_long_is_refused_by_name(base: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"longer than max_length 60 \(line-\d+: \d+ tokens"):
        ikyoku.tune(spec(base, pairs, max_length=60), root=tmp_path)
    lines = pairs.read_text(encoding="utf-8").splitlines()
    lines[3] = json.dumps({"instruction": "長" * 1500, "output": "答え"}, ensure_ascii=False)
    long = tmp_path / "long.jsonl"
    long.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of 22 samples .*\(line-4: \d+ tokens\)"):
        ikyoku.tune(spec(base, long), root=tmp_path / "runs")
    assert not list(tmp_path.rglob("traceback.txt")), "the user's to mend, no fault of ours"


def test_a_target_module_that_is_not_there_is_refused_with_those_that_are(
    base: Path, pairs: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    asked = spec(base, pairs, lora={"target_modules": ["q_proj", "query_key_value"]})
    started = command("tune", write_spec(tmp_path / "tune.yaml", asked), "--runs", tmp_path / "runs")
    started.finish(2)
    told = started.err.read_text(encoding="utf-8")
    assert "lora.target_modules: no linear module query_key_value in this model" in told
    for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
        assert name in told
    assert "Traceback" not in told


def test_an_adapter_is_no_base(base: Path, pairs: Path, tmp_path: Path, tiny_tuned: Path) -> None:
    with pytest.raises(ModelError, match="tuning starts from a base"):
        ikyoku.tune(spec(base, pairs, model={"path": str(base), "adapter": str(tiny_tuned)}), root=tmp_path)
    with pytest.raises(ModelError, match="It holds an adapter"):
        ikyoku.tune(spec(tiny_tuned, pairs), root=tmp_path)
    assert not list(tmp_path.glob("*")), "a run starts on good input"


def test_all_linear_leaves_the_output_head(base: Path, pairs: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done = ikyoku.tune(
        spec(base, pairs, steps=2, keep_steps=[], lora={"rank": 2, "target_modules": "all-linear"}), root=tmp_path
    )
    names = {key.split(".")[-3] for key in load_file(done.folder / "artifact" / "adapter" / WEIGHTS)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_qlora_learns_and_repeats(base: Path, pairs: Path, tmp_path: Path) -> None:
    asked = spec(
        base,
        pairs,
        model={"path": str(base), "quantization": "nf4"},
        lora={"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"},
        steps=18,
        keep_steps=[],
    )
    first = ikyoku.tune(asked, root=tmp_path / "a")
    losses = [s["loss"] for s in records(first.folder)]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    second = ikyoku.tune(asked, root=tmp_path / "b")
    assert sha256_of(first.folder / "artifact" / "adapter" / WEIGHTS) == sha256_of(
        second.folder / "artifact" / "adapter" / WEIGHTS
    )


def test_a_dry_run_writes_nothing_and_shows_the_first_sample(
    base: Path, pairs: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    out = command(
        "tune", write_spec(tmp_path / "tune.yaml", spec(base, pairs)), "--runs", tmp_path / "runs", "--dry-run"
    ).finish()
    first = world_of("tiny", seed=0).instructions[0]
    assert first.instruction in out and f"⟦{first.output}</s>⟧" in out
    assert f"{STEPS} steps of 4" in out and "22 instruction pairs" in out
    assert not (tmp_path / "runs").exists()
