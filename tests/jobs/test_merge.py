"""`ikyoku merge`, end to end on tiny models: what it writes loads and speaks, and what it refuses leaves nothing."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import ikyoku
from ikyoku import cli
from ikyoku.assembly.plan import plan_merge, read_inputs
from ikyoku.checkpoints import open_checkpoint
from ikyoku.errors import ModelError
from ikyoku.jobs.merge import dry_run
from ikyoku.merging import merge_tensor
from ikyoku.runs import read_records
from ikyoku.specs import MergeSpec

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "merge_folders.py")))
Q = "model.layers.0.self_attn.q_proj.weight"
TIES = """
merge_method: ties
base_model: base
models:
- model: a
  parameters: {weight: 0.7, density: 0.5}
- model: b
  parameters: {weight: [0, 1], density: 0.4}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands run, with a base, two models of it, and a recipe."""
    monkeypatch.chdir(tmp_path)
    folders.llama(tmp_path / "base", scale=0.0, words=folders.WORDS)
    folders.llama(tmp_path / "a", seed=1, words=folders.WORDS, dtype=torch.float16, shards=2)
    folders.llama(tmp_path / "b", seed=2, words=folders.WORDS, dtype=torch.bfloat16)
    (tmp_path / "ties.yaml").write_text(TIES, encoding="utf-8")
    return tmp_path


def spec(**values: Any) -> MergeSpec:
    return MergeSpec.model_validate(values)


def linear(*models: str, **more: Any) -> dict[str, Any]:
    return {"merge_method": "linear", "models": [{"model": m, "parameters": {"weight": 1}} for m in models], **more}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Returns a function that calls the command line in this process: its exit code, and all it said."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ikyoku", "merge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    return call


def generated(folder: Path) -> list[int]:
    """What a checkpoint says after two tokens, once transformers found all its tensors."""
    from ikyoku.models.loading import load_weights

    model = load_weights(str(folder), dtype="float32", quantization="none", trust_remote_code=False)
    ids = model.generate(torch.tensor([[1, 5]]), max_new_tokens=4, do_sample=False, pad_token_id=0)
    return [int(i) for i in ids[0]]


# what is written


def test_a_merge_from_the_recipe_to_a_model_that_speaks(desk: Path) -> None:
    done = ikyoku.merge(spec(recipe=_recipe(desk), out="merged", shard_size="10KB"), root=desk / "runs")
    out = desk / "merged"
    plan = plan_merge(_recipe_spec(desk))
    model = open_checkpoint(str(out))
    assert set(model.tensors) == {t.name for t in plan.tensors}
    for tensor in plan.tensors:
        base, parents = read_inputs(plan, tensor)
        assert tensor.method is not None
        wanted = merge_tensor(tensor.method, base, parents, shared=tensor.shared, each=tensor.each, keys=tensor.keys)
        assert torch.equal(model.read(tensor.name), wanted)
    assert len(generated(out)) == 6
    result = done.result
    assert (result["out"], result["tensors"], result["merged"]) == (str(out), 21, 21)
    assert result["bytes"] == model.bytes
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) == 3 and result["sha256"] == {p.name: ikyoku.runs.sha256_of(p) for p in shards}
    assert [shard["file"] for shard in read_records(done.folder / "shards.jsonl")] == [p.name for p in shards]
    provenance = json.loads((done.folder / "provenance.json").read_text(encoding="utf-8"))
    assert set(provenance["inputs"]) == {"base", "a", "b"}
    assert ikyoku.merge(spec(recipe=_recipe(desk), out="merged", shard_size="10KB"), root=desk / "runs").before
    page = (done.folder / "summary.html").read_text(encoding="utf-8")
    assert all(text in page for text in ("21 of 21 tensors merged by ties", "merge_method: ties", shards[0].name))


def _recipe(desk: Path) -> dict[str, Any]:
    from ikyoku.specfile import read_yaml

    return read_yaml(desk / "ties.yaml")


def _recipe_spec(desk: Path) -> Any:
    from ikyoku.recipe import read_recipe

    return read_recipe(desk / "ties.yaml")


def test_beside_the_weights(desk: Path) -> None:
    done = ikyoku.merge(spec(recipe=_recipe(desk) | {"dtype": "bfloat16"}), root=desk / "runs")
    assert done.result["out"] == "artifact/model"
    out = done.folder / "artifact" / "model"
    names = {"README.md", "config.json", "mergekit_config.yml", "model.safetensors", "tokenizer.json"}
    assert {p.name for p in out.iterdir()} == names | {"tokenizer_config.json"}
    assert [p.name for p in (done.folder / "artifact").iterdir()] == ["model"]
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["torch_dtype"] == "bfloat16" and config["vocab_size"] == 48
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    card = (out / "README.md").read_text(encoding="utf-8")
    provenance = json.loads((done.folder / "provenance.json").read_text(encoding="utf-8"))
    assert all(digest in card for digest in provenance["inputs"].values())
    again = spec(recipe=ikyoku.specfile.read_yaml(out / "mergekit_config.yml"), out="again")
    ikyoku.merge(again, root=desk / "runs")
    assert (desk / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_tied_embeddings_stay_tied(desk: Path) -> None:
    for seed, name in enumerate(("tied-base", "tied-a")):
        folders.llama(desk / name, seed=seed, tied=True, words=folders.WORDS)
    ikyoku.merge(spec(recipe=linear("tied-base", "tied-a"), out="out"), root=desk / "runs")
    assert "lm_head.weight" not in load_file(desk / "out" / "model.safetensors")
    assert len(generated(desk / "out")) == 6


def test_another_number_of_layers(desk: Path) -> None:
    slices = [{"sources": [{"model": m, "layer_range": r}]} for m, r in (("a", [0, 2]), ("b", [0, 2]), ("a", [1, 2]))]
    ikyoku.merge(spec(recipe={"merge_method": "passthrough", "slices": slices}, out="deep"), root=desk / "runs")
    assert open_checkpoint(str(desk / "deep")).layers == 5
    wanted = open_checkpoint("b").read(Q).to(torch.float16)
    assert torch.equal(open_checkpoint("deep").read(Q.replace("layers.0", "layers.2")), wanted)
    assert len(generated(desk / "deep")) == 6


def test_the_union_of_two_vocabularies(desk: Path) -> None:
    from ikyoku.models.loading import load_tokenizer

    folders.llama(desk / "more", seed=3, vocab=50, words=folders.WORDS, added=("<call>", "<pad>"))
    asked = linear("a", "more", tokenizer={"source": "union"}, chat_template="X {{ messages[0].content }}")
    ikyoku.merge(spec(recipe=asked, out="out"), root=desk / "runs")
    tokenizer = load_tokenizer("out")
    assert tokenizer("w3 <pad>").input_ids == [6, 49]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "w1"}], tokenize=False) == "X w1"
    config = json.loads((desk / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["vocab_size"] == 50
    made, more = (open_checkpoint(m).read("lm_head.weight").float() for m in ("out", "more"))
    assert torch.allclose(made[48:], more[48:], atol=1e-3), "what one model alone has is kept from it"
    assert len(generated(desk / "out")) == 6


def test_special_tokens_keep_their_meaning_under_other_ids(desk: Path) -> None:
    words = folders.WORDS
    folders.llama(desk / "turned", seed=3, words=(words[0], words[2], words[1], *words[3:]))
    (desk / "a" / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}), encoding="utf-8")
    ikyoku.merge(spec(recipe=linear("a", "turned", tokenizer_source="turned"), out="out"), root=desk / "runs")
    config = json.loads((desk / "out" / "config.json").read_text(encoding="utf-8"))
    assert (config["bos_token_id"], config["eos_token_id"]) == (2, 1)
    assert json.loads((desk / "out" / "generation_config.json").read_bytes())["eos_token_id"] == [1, 5]


def test_a_language_model_merged_into_a_vision_language_model(desk: Path) -> None:
    from transformers import AutoModelForImageTextToText

    folders.llava(desk / "vlm", words=folders.WORDS, added=("<image>",))
    values = {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [{"model": m, "parameters": {"weight": 0.5}} for m in ("vlm", "a")],
        "dtype": "float32",
    }
    ikyoku.merge(spec(recipe=values, out="out"), root=desk / "runs")
    model, info = AutoModelForImageTextToText.from_pretrained("out", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"] and not info["unexpected_keys"]
    base, vlm, a = (open_checkpoint(name) for name in ("base", "vlm", "a"))
    wanted = (
        base.read(Q) + 0.5 * (vlm.read(f"language_model.{Q}") - base.read(Q)) + 0.5 * (a.read(Q).float() - base.read(Q))
    )
    found = model.model.language_model.layers[0].self_attn.q_proj.weight
    assert torch.allclose(found, wanted, atol=1e-6)
    own = vlm.read("vision_tower.vision_model.post_layernorm.weight")
    assert torch.equal(open_checkpoint("out").read("vision_tower.vision_model.post_layernorm.weight"), own)
    ids = torch.tensor([[1, 48, 48, 48, 48, 5]])
    said = model.generate(ids, pixel_values=torch.zeros(1, 3, 8, 8), max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert said.shape[1] > 6


def test_adapters_of_one_base(desk: Path) -> None:
    for seed, name in enumerate(("lora1", "lora2")):
        folders.write_lora(desk / name, desk / "base", seed=seed)
    asked = spec(recipe=linear("lora1", "lora2"), out="out")
    told = dry_run(asked)
    assert "adapters   lora1: 4 modules, rank 2 (parent)" in told and not (desk / "out").exists()
    done = ikyoku.merge(asked, root=desk / "runs")
    assert {p.name for p in (desk / "out").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }
    assert done.result["merged"] == 4 and done.result["lost"] == 0
    whole = linear("base+lora1", "base+lora2")
    ikyoku.merge(spec(recipe=whole, out="both"), root=desk / "runs")
    ikyoku.merge(spec(recipe=linear("base+out"), out="after"), root=desk / "runs")
    assert torch.allclose(open_checkpoint("both").read(Q), open_checkpoint("after").read(Q), atol=1e-5)


# the command line


def test_the_command(desk: Path, run: Callable[..., tuple[int, str]]) -> None:
    code, said = run("ties.yaml", "out", "--set", "dtype=bfloat16", "--set", "parameters.lambda=0.5", "--json")
    assert code == 0
    told = json.loads(said)
    assert told["result"]["out"] == str(desk / "out") and told["run"].startswith("runs/merge-ties-")
    recipe = ikyoku.specfile.read_yaml(desk / "out" / "mergekit_config.yml")
    assert (recipe["dtype"], recipe["parameters"]) == ("bfloat16", {"lambda": 0.5})
    (desk / "spec.yaml").write_text((desk / told["run"] / "spec.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    code, said = run("spec.yaml", "--set", "out=out2", "--set", "seed=3")
    assert code == 0 and said.startswith(f"checkpoint: {desk}/out2")
    assert (desk / "out2" / "model.safetensors").read_bytes() == (desk / "out" / "model.safetensors").read_bytes()


def test_a_dry_run_tells_the_plan_and_writes_nothing(desk: Path, run: Callable[..., tuple[int, str]]) -> None:
    before = sorted(desk.rglob("*"))
    code, said = run("ties.yaml", "out", "--dry-run")
    assert code == 0 and sorted(desk.rglob("*")) == before
    lines = said.splitlines()
    assert lines[0].startswith("method     ties: TIES")
    told = " ".join(lines)
    for part in (
        "parents    base: float32, 0.02 MB, 2 layers, licence not stated (base and what the output is built on)",
        "21 of 21 tensors merged by ties",
        "output     out: 21 tensors, 0.02 MB, float32, 2 layers",
        "memory     about 0.4",
        " free",
        "  lm_head.weight (48 x 16): lambda 1.0, normalize True, rescale False, int8_mask False; "
        "weight 0.7, density 0.5 | weight 0, density 0.4",
    ):
        assert part in told, part
    (desk / "out").mkdir()
    (desk / "out" / "x").touch()
    assert run("ties.yaml", "out", "--dry-run")[0] == 2


def test_it_loads_neither_transformers_nor_peft(desk: Path) -> None:
    code = (
        "import sys; sys.argv = ['ikyoku', 'merge', 'ties.yaml', 'out']\n"
        "import atexit; from ikyoku.cli import main\n"
        "heavy = {'transformers', 'peft', 'trl', 'datasets', 'accelerate', 'optuna', 'scipy'}\n"
        "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


# what is refused


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    weights = {name: w.clone() for name, w in load_file(path).items()}
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated shard": (
        lambda d: shorten(d / "a" / "model-00002-of-00002.safetensors"),
        "a/model-00002-of-00002.safetensors: ",
    ),
    "a missing shard": (
        lambda d: (d / "a" / "model-00001-of-00002.safetensors").unlink(),
        "a/model-00001-of-00002.safetensors: missing. The model is incomplete; copy it again.",
    ),
    "a missing tensor": (lambda d: edit(d / "b", lambda w: w.pop(Q)), f"b: no tensor {Q}, which base has."),
    "another shape": (
        lambda d: edit(d / "b", lambda w: w.update({Q: torch.ones(16, 8)})),
        f"b: {Q} is 16 x 8 where base has 16 x 16.",
    ),
    "another architecture": (
        lambda d: (
            shutil.rmtree(d / "b"),
            folders.write_model(d / "b", {"h.0.w": torch.ones(2)}, {"model_type": "mpt"}),
        ),
        "b: not of the architecture of base (mpt and llama); it has no",
    ),
    "not a number": (
        lambda d: edit(d / "b", lambda w: w[Q].view(-1)[5:7].fill_(float("nan"))),
        f"b: {Q} holds 2 of 256 values that are no finite numbers",
    ),
    "another vocabulary": (
        lambda d: folders.write_tokenizer(d / "b", tuple(reversed(folders.WORDS))),
        "b: its vocabulary is not that of base: 0 tokens more, 0 less, 48 with another id.",
    ),
    "an occupied folder": (
        lambda d: ((d / "out").mkdir(), (d / "out" / "mine.txt").touch()),
        "out: is there already and not empty.",
    ),
    "values beyond float16": (
        lambda d: (d / "ties.yaml").write_text(TIES + "dtype: float16\nparameters: {lambda: 1.0e+9}\n"),
        "merged values are beyond what float16 can hold. Write smaller weights",
    ),
    "code of its own": (
        lambda d: (d / "base" / "config.json").write_text(
            json.dumps(folders.llama_config() | {"auto_map": {"AutoConfig": "x.C"}})
        ),
        "into: base is loaded with Python code that comes with it",
    ),
    "a template that is not there": (
        lambda d: (d / "ties.yaml").write_text(TIES + "chat_template: mine.jinja\n"),
        "chat_template: mine.jinja: no such file.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("named", [True, False])
def test_a_refusal_is_one_message_and_leaves_nothing(
    desk: Path, run: Callable[..., tuple[int, str]], case: str, named: bool
) -> None:
    damage, told = REFUSALS[case]
    damage(desk)
    before = sorted(desk.rglob("*"))
    code, said = run("ties.yaml", *(["out"] if named or "folder" in case else []))
    assert code == 2 and told in said
    assert len(said.splitlines()) <= 3 and "Traceback" not in said
    assert sorted(desk.rglob("*")) == before


def test_a_bad_recipe_is_refused_too(desk: Path, run: Callable[..., tuple[int, str]]) -> None:
    for text, told in (
        (TIES.replace("ties", "tise"), "Did you mean 'ties'?"),
        (TIES.replace("density: 0.5", "density: 5"), "density is 5"),
        ("nothing: here\n", "no such key"),
    ):
        (desk / "ties.yaml").write_text(text, encoding="utf-8")
        code, said = run("ties.yaml", "out")
        assert code == 2 and told in said and not (desk / "out").exists() and not (desk / "runs").exists()


# a disk that is full, and a kill


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 66 MB, as much as must be free at least; skipped where this process may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=66m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_no_room_is_told_before_anything_is_done(
    desk: Path, small_disk: Path, run: Callable[..., tuple[int, str]]
) -> None:
    (small_disk / "fill").write_bytes(bytes(60 * 10**6))
    code, said = run("ties.yaml", small_disk / "out")
    assert code == 2 and "GB are needed and" in said and "Make room there" in said
    assert [p.name for p in small_disk.iterdir()] == ["fill"] and not (desk / "runs").exists()


def test_a_disk_that_fills_while_it_is_written(
    desk: Path, small_disk: Path, run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ikyoku.jobs import merge as job

    fill = small_disk / "fill"
    check = job.check_room

    def someone_else_fills_it(folder: Path, wanted: int) -> int:
        """After the check has passed, another program writes."""
        free = check(folder, wanted)
        if folder.parent == small_disk and (desk / "runs").exists() and not fill.exists():
            fill.write_bytes(bytes(free - 30_000))
        return free

    monkeypatch.setattr(job, "check_room", someone_else_fills_it)
    code, said = run("ties.yaml", small_disk / "out", "--set", "shard_size=8KB")
    assert code == 2 and "out: the disk is full. Make room there; the same command continues" in said
    assert not (small_disk / "out").exists()
    left = sorted((small_disk / ".out.part").glob("*.safetensors"))
    assert 0 < len(left) < 4
    fill.unlink()
    before = {p.name: p.stat().st_ino for p in left}
    fill.touch()
    code, said = run("ties.yaml", small_disk / "out", "--set", "shard_size=8KB")
    assert code == 0, said
    assert {n: (small_disk / "out" / n).stat().st_ino for n in before} == before, "finished shards were kept"
    run("ties.yaml", "calm", "--set", "shard_size=8KB")
    assert _bytes(small_disk / "out") == _bytes(desk / "calm")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".yml")}


def test_a_kill_in_the_middle_changes_nothing(desk: Path, command: Callable[..., Any]) -> None:
    for seed, name in enumerate(("base", "a", "b")):
        shutil.rmtree(desk / name)
        folders.llama(desk / name, seed=seed, scale=0.02 * (seed > 0), hidden=256, layers=12)
    given = ("merge", "ties.yaml", "out", "--set", "shard_size=300KB")
    command(*given).kill_at(desk / ".out.part" / ".journal.jsonl", 5)
    assert not (desk / "out").exists()
    done = {p.name: p.stat().st_ino for p in (desk / ".out.part").glob("*.safetensors")}
    command(*given).finish()
    kept = [name for name, node in done.items() if (desk / "out" / name).stat().st_ino == node]
    assert 4 <= len(kept) < len(list((desk / "out").glob("*.safetensors")))
    command("merge", "ties.yaml", "calm", "--set", "shard_size=300KB").finish()
    assert _bytes(desk / "out") == _bytes(desk / "calm")
    assert not list(desk.glob(".out*"))


def test_a_kill_between_the_name_and_the_runs_end(desk: Path) -> None:
    asked = spec(recipe=_recipe(desk), out="out")
    done = ikyoku.merge(asked, root=desk / "runs")
    before = (desk / "out" / "model.safetensors").stat().st_ino
    (done.folder / "status.json").write_text('{"state": "running"}', encoding="utf-8")
    again = ikyoku.merge(asked, root=desk / "runs")
    assert not again.before and again.result["sha256"] == done.result["sha256"]
    assert (desk / "out" / "model.safetensors").stat().st_ino == before


def test_a_kill_between_the_name_and_the_sweeping_up(desk: Path) -> None:
    asked = spec(recipe=_recipe(desk), out="out")
    done = ikyoku.merge(asked, root=desk / "runs")
    (done.folder / "status.json").write_text('{"state": "running"}', encoding="utf-8")
    for name in (".lock", ".journal.jsonl"):
        (desk / "out" / name).touch()
    ikyoku.merge(asked, root=desk / "runs")
    assert not [p for p in (desk / "out").iterdir() if p.name.startswith(".")]


def test_a_folder_of_another_run_is_not_taken_for_ones_own(desk: Path) -> None:
    """A run that was ended just before its folder got the name, which another run's then did, of the same size."""
    first = ikyoku.merge(spec(recipe=_recipe(desk), out="out"), root=desk / "runs")
    (first.folder / "status.json").write_text('{"state": "running"}', encoding="utf-8")
    shutil.rmtree(desk / "out")
    ikyoku.merge(spec(recipe=_recipe(desk) | {"parameters": {"lambda": 0.5}}, out="out"), root=desk / "runs")
    with pytest.raises(ikyoku.IkyokuError, match="is there already and not empty"):
        ikyoku.merge(spec(recipe=_recipe(desk), out="out"), root=desk / "runs")


def test_an_output_that_is_gone_is_told(desk: Path, run: Callable[..., tuple[int, str]]) -> None:
    assert run("ties.yaml", "out")[0] == 0
    shutil.rmtree(desk / "out")
    code, said = run("ties.yaml", "out")
    assert code == 2 and f"{desk}/out: the run runs/merge-ties-" in said and "Write it again with --new" in said
    assert run("ties.yaml", "out", "--new")[0] == 0 and (desk / "out").is_dir()


def test_a_kill_between_an_adapters_name_and_the_runs_end(desk: Path) -> None:
    for seed, name in enumerate(("lora1", "lora2")):
        folders.write_lora(desk / name, desk / "base", seed=seed)
    for out in ("out", None):
        asked = spec(recipe=linear("lora1", "lora2"), out=out)
        done = ikyoku.merge(asked, root=desk / "runs")
        place = done.folder / done.result["out"]
        before = {p.name: p.stat().st_ino for p in place.iterdir()}
        assert set(before) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "mergekit_config.yml"}
        (done.folder / "status.json").write_text('{"state": "running"}', encoding="utf-8")
        (done.folder / "summary.html").unlink()
        again = ikyoku.merge(asked, root=desk / "runs")
        assert {p.name: p.stat().st_ino for p in place.iterdir()} == before
        assert not again.before and again.result | {"seconds": 0} == done.result | {"seconds": 0}
        assert "rank 4; the merge is exact" in (done.folder / "summary.html").read_text(encoding="utf-8")
    modules = list(read_records(done.folder / "modules.jsonl"))
    assert [one["rank"] for one in modules] == [4] * 4 and all(one["lost"] == 0 for one in modules)


def test_what_the_licences_want_goes_with_the_output(desk: Path) -> None:
    text = "META LLAMA 3 COMMUNITY LICENSE AGREEMENT"
    for name in ("base", "a"):
        (desk / name / "LICENSE").write_text(text, encoding="utf-8")
    (desk / "a" / "USE_POLICY.md").write_text("no", encoding="utf-8")
    (desk / "b" / "Notice.txt").write_text("by b", encoding="utf-8")
    ikyoku.merge(spec(recipe=_recipe(desk), out="out"), root=desk / "runs")
    found = {p.relative_to(desk / "out" / "licences").as_posix() for p in (desk / "out" / "licences").rglob("*.*")}
    assert found == {"a/USE_POLICY.md", "b/Notice.txt"}
    assert (desk / "out" / "licences" / "base" / "LICENSE").read_text(encoding="utf-8") == text
    assert "Meta Llama 3 is licensed under" in (desk / "out" / "NOTICE").read_text(encoding="utf-8")
    card = (desk / "out" / "README.md").read_text(encoding="utf-8")
    assert "lies in `licences/`" in card and str(desk) not in card
    ikyoku.merge(spec(recipe=linear("out", "a"), out="next"), root=desk / "runs")
    assert (desk / "next" / "licences" / "base" / "LICENSE").is_file(), "of a merge of a merge too"
    folders.write_lora(desk / "lora", desk / "base")
    (desk / "lora" / "LICENSE").write_text(text, encoding="utf-8")
    ikyoku.merge(spec(recipe=linear("lora"), out="adapter"), root=desk / "runs")
    assert {"NOTICE", "licences"} <= {p.name for p in (desk / "adapter").iterdir()}


def test_another_run_does_not_take_a_finished_folder(desk: Path) -> None:
    ikyoku.merge(spec(recipe=_recipe(desk), out="out"), root=desk / "runs")
    with pytest.raises(ikyoku.IkyokuError, match="is there already and not empty"):
        ikyoku.merge(spec(recipe=_recipe(desk), out="out", seed=1), root=desk / "runs")
    assert len(list((desk / "runs").iterdir())) == 1


def test_a_parent_that_changed_is_not_mixed_in(desk: Path) -> None:
    asked = spec(recipe=_recipe(desk), out="out")
    ikyoku.merge(asked, root=desk / "runs")
    edit(desk / "b", lambda w: w[Q].add_(1))
    with pytest.raises(ikyoku.IkyokuError, match="changed since this run began: b"):
        ikyoku.merge(asked, root=desk / "runs")


def test_into_names_what_the_output_is_built_on(desk: Path) -> None:
    folders.llama(desk / "tied", seed=5, tied=True, words=folders.WORDS)
    with pytest.raises(ModelError, match="has no place in tied"):
        ikyoku.merge(spec(recipe=linear("tied", "b"), out="out"), root=desk / "runs")
    ikyoku.merge(spec(recipe=linear("tied", "b"), out="out", into="b"), root=desk / "runs")
    assert {t.dtype for t in load_file(desk / "out" / "model.safetensors").values()} == {torch.bfloat16}
