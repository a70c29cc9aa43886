"""The command line as a user meets it: in processes of its own, with its exit codes, its words and what it leaves."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ikyoku import console
from ikyoku.datasets.exams import write_exam
from ikyoku.types import Question

TORCH = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes")
HEAVY = (*TORCH, "numpy", "ruamel", "ikyoku.specs", "ikyoku.jobs")  # pydantic too, but typer's help of a verb loads it
HELP = (
    "from typer.testing import CliRunner; from ikyoku.cli import app; r = CliRunner().invoke(app, {0}); print(r.output)"
)
PAIR = json.dumps({"instruction": "胆汁を作る臓器はどれか。", "output": "肝臓"}, ensure_ascii=False)
QUESTION = Question("1", "胆汁を作る臓器はどれか。", ("胃", "肝臓", "膵臓", "脾臓", "腎臓"), (frozenset({1}),))


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _ikyoku(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _python(folder, "-m", "ikyoku", *arguments)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with good and broken inputs, in which the commands run."""
    save = tmp_path / "model"
    save.mkdir()
    (save / "config.json").write_text("{}", encoding="utf-8")
    save_file({"w": np.zeros(3, dtype=np.float32)}, save / "model.safetensors")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}", encoding="utf-8")
    lines = [PAIR] * 20
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines[16] = PAIR[:-8]
    (tmp_path / "broken.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_exam(tmp_path / "exam.jsonl", [QUESTION])
    write_exam(tmp_path / "broken-exam.jsonl", [replace(QUESTION, id=str(n)) for n in range(20)])
    lines = (tmp_path / "broken-exam.jsonl").read_text(encoding="utf-8").splitlines()
    lines[16] = lines[16][:20]
    (tmp_path / "broken-exam.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(
        "model: {path: model}\ndata: pairs.jsonl\nlearning_rate: fast\nlearning_rat: 1e-4\n", encoding="utf-8"
    )
    (tmp_path / "good.yaml").write_text("model: {path: model}\ndata: pairs.jsonl\n", encoding="utf-8")
    return tmp_path


# what is loaded


@pytest.mark.parametrize(
    "code",
    [
        "import ikyoku",
        "import ikyoku.cli",
        HELP.format(["--help"]),
        HELP.format(["tune", "--help"]),
    ],
    ids=["package", "command line", "help", "help of a verb"],
)
def test_nothing_heavy_is_loaded(tmp_path: Path, code: str) -> None:
    done = _python(tmp_path, "-c", f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])")
    assert (done.returncode, done.stdout.split()[-1]) == (0, "[]"), done.stderr
    assert ("Usage: " in done.stdout) == ("CliRunner" in code)


@pytest.mark.parametrize("module", ["ikyoku.jobs", "ikyoku.jobs.tune", "ikyoku.jobs.evaluate", "ikyoku.jobs.demo"])
def test_jobs_load_no_torch_until_they_run(tmp_path: Path, module: str) -> None:
    code = f"import {module}, sys\nprint([m for m in {TORCH} if m in sys.modules])"
    done = _python(tmp_path, "-c", code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_pydantic_is_not_loaded_by_the_package_or_its_help(tmp_path: Path) -> None:
    done = _python(tmp_path, "-c", f"{HELP.format(['--help'])}\nimport sys\nprint('pydantic' in sys.modules)")
    assert (done.returncode, done.stdout.split()[-1]) == (0, "False"), done.stderr


def test_help(tmp_path: Path) -> None:
    done = _ikyoku(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for verb in ("tune", "evaluate", "score", "demo", "doctor"):
        assert f"  {verb} " in done.stdout
        assert _ikyoku(tmp_path, verb, "--help").returncode == 0
    assert "医局" in done.stdout


def test_the_installed_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ikyoku")
    if not script.is_file():
        pytest.skip("ikyoku is not installed as a command here")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert "evaluate" in done.stdout


# what a user can mend: exit code 2, a paragraph, nothing left behind


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("tune none.yaml", ["none.yaml: no such file. Give the path of a YAML spec"]),
        ("tune model", ["model: is a folder, a YAML file is wanted."]),
        ("tune bad.yaml", ["learning_rate: found 'fast'; it should be a valid", "Did you mean 'learning_rate'?"]),
        ("tune good.yaml --set nonsense", ["--set nonsense: write it as key=value, for example lora.rank=16."]),
        ("tune good.yaml --set lora.rnk=3", ["good.yaml:\nlora.rnk: no such key. Did you mean 'rank'?"]),
        ("tune good.yaml --set name=[", ["--set name=[: the value is not valid YAML."]),
        ("tune good.yaml --set micro_batch_size=3", ["micro_batch_size: 3 does not divide batch_size 8."]),
        ("tune good.yaml --model other", ["model: given beside good.yaml. Change a spec with --set"]),
        ("tune", ["model: missing", "data: missing"]),
        ("tune --model model --data broken.jsonl", ["broken.jsonl, line 17: not JSON: ", " at character "]),
        ("tune --model model --data none.jsonl", ["none.jsonl: no such file. `data` names a JSONL file"]),
        ("tune --model model --data exam.jsonl", ["exam.jsonl, line 1: neither 'instruction' and 'output' nor"]),
        ("tune --model bare --data pairs.jsonl", ["bare: no weights. Wanted model.safetensors"]),
        ("tune --model ./none --data pairs.jsonl", ["./none: no such model folder."]),
        ("tune good.yaml --set model.adapter=a", ["model.adapter: tuning starts from a base."]),
        ("tune good.yaml --dry-run --set data=broken.jsonl", ["broken.jsonl, line 17: not JSON"]),
        ("evaluate", ["models: missing", "exams: missing"]),
        ("evaluate --model model --exam none.jsonl", ["none.jsonl: no such file or folder."]),
        ("evaluate --model model --exam broken-exam.jsonl", ["broken-exam.jsonl, line 17: not JSON"]),
        ("evaluate --model model --exam pairs.jsonl", ["pairs.jsonl: no exam file"]),
        ("evaluate --model bare --exam exam.jsonl", ["bare: no weights. Wanted model.safetensors"]),
        ("evaluate --model model --adapter bare --exam exam.jsonl", ["bare: no adapter_config.json"]),
        ("evaluate --model model --exam exam.jsonl --set formats=[alpaca]", ["formats.0: found 'alpaca'"]),
        ("evaluate --model model --exam exam.jsonl --set exams.0.years=[112]", ["exam.jsonl: "]),
        ("evaluate --model model --exam exam.jsonl --set exams.0.items=text-only-5-choice-multiple", ["no question"]),
        ("evaluate --adapter model --exam exam.jsonl", ["--adapter: goes with --model."]),
        ("evaluate --adapter model good.yaml", ["--adapter: goes with --model."]),
        ("evaluate --model model --exam exam.jsonl --set formats=[chat]", ["model: the tokenizer has no chat tem"]),
        (f"evaluate --model model --exam {'n' * 300}", ["cannot be read: File name too long."]),
        ("compare none none", ["none: no run of `ikyoku evaluate`"]),
        ("evaluate --served m --exam exam.jsonl", ["--served: goes with --model."]),
        ("evaluate --model http://x:1/v1 --exam exam.jsonl", ["models.0: a server's address needs endpoint:"]),
        ("evaluate --model http://127.0.0.1:9/v1 --served m --exam exam.jsonl", ["http://127.0.0.1:9/v1"]),
        ("evaluate --model model --exam exam.jsonl --format lettrs-ja", ["did you mean 'letters-ja'?"]),
        ("score none", ["none: no run of `ikyoku evaluate`"]),
        ("demo --set size=big", ["size: found 'big'; it should be 'tiny' or 'pocket'."]),
        ("doctor", ["doctor: say what to check."]),
        ("doctor --offline --out none/proof.txt", ["none/proof.txt: cannot be written."]),
        ("doctor --offline --out pairs.jsonl/proof.txt", ["pairs.jsonl/proof.txt: cannot be written."]),
        ("doctor --offline --out model", ["model: cannot be written."]),
    ],
)  # fmt: skip
def test_bad_input(desk: Path, command: str, wanted: list[str]) -> None:
    before = sorted(desk.rglob("*"))
    verb, *rest = command.split(" ")
    runs = [] if verb in ("score", "doctor", "compare") else ["--runs", "runs"]
    done = _ikyoku(desk, verb, *rest, *runs)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("ikyoku: ")
    assert "Traceback" not in done.stderr
    assert "\n\n" not in done.stderr.strip()
    assert len(done.stderr) < 700
    for text in wanted:
        assert text in done.stderr
    assert " at at " not in done.stderr
    assert "胆汁" not in done.stderr  # a message names lines, never their text
    assert sorted(desk.rglob("*")) == before  # no run folder, no traceback


def test_a_file_for_the_folder_of_runs(desk: Path) -> None:
    done = _ikyoku(desk, "evaluate", "--model", "model", "--exam", "exam.jsonl", "--runs", "pairs.jsonl")
    wanted = "ikyoku: pairs.jsonl: no run folder can be made here: Not a directory. Name another folder with --runs.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)


def test_a_path_that_the_machine_refuses_is_no_fault_of_ours(desk: Path) -> None:
    done = _ikyoku(desk, "score", "n" * 300)
    assert (done.returncode, done.stdout) == (2, "")
    assert "questions.jsonl: File name too long." in done.stderr


@pytest.mark.parametrize("command", ["tune --sizes 3", "demo --size big", "tun", "score"])
def test_what_typer_refuses(desk: Path, command: str) -> None:
    done = _ikyoku(desk, *command.split(" "))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_another_process_holds(desk: Path) -> None:
    from ikyoku.runs import open_run, spec_hash
    from ikyoku.specfile import load, to_yaml
    from ikyoku.specs import TuneSpec

    spec = load(TuneSpec, desk / "good.yaml")
    values = spec.model_dump(mode="json")
    with open_run("tune", "run", values, spec_text=to_yaml(spec), root=desk / "runs", inputs={}):
        done = _ikyoku(desk, "tune", "good.yaml")
    assert done.returncode == 2
    assert f"tune-run-{spec_hash(values)}: another process is working in this run." in done.stderr


# a fault of ours, an interruption

OURS = """
from ikyoku.cli import app, main
@app.command()
def bug():
    raise RuntimeError("a text that only the file may hold")
@app.command()
def stop():
    raise KeyboardInterrupt
main()
"""


def test_a_fault_of_ours(tmp_path: Path) -> None:
    done = _python(tmp_path, "-c", OURS, "bug")
    assert (done.returncode, done.stdout) == (1, "")
    (file,) = tmp_path.iterdir()
    assert done.stderr == f"ikyoku: a fault of ikyoku's own (RuntimeError). Please report {file}.\n"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("RuntimeError: a text that only the file may hold\n")


def test_an_interruption(tmp_path: Path) -> None:
    done = _python(tmp_path, "-c", OURS, "stop")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "ikyoku: interrupted. The same command (without --new) continues where it stopped."
    assert list(tmp_path.iterdir()) == []


# dry runs


def test_dry_runs_write_nothing(desk: Path) -> None:
    before = sorted(desk.rglob("*"))
    tune = _ikyoku(desk, "tune", "--model", "example/none", "--data", "pairs.jsonl", "--dry-run")
    assert (tune.returncode, tune.stderr) == (0, "")
    assert "The model is not on this machine, so nothing was tokenised" in tune.stdout
    assert "⟦肝臓⟧" in tune.stdout
    evaluate = _ikyoku(
        desk, "evaluate", "--model", "bare", "--exam", "exam.jsonl", "--dry-run", "--set", "shots=[0, 1]"
    )
    assert (evaluate.returncode, evaluate.stderr) == (2, ""), "the run itself would be refused"
    assert "replies   2 in 2 cells" in evaluate.stdout
    assert "not ready bare: no weights" in evaluate.stdout
    assert "胃,肝臓,膵臓,脾臓,腎臓" in evaluate.stdout
    models = "[{path: model}, {path: model, adapter: none, label: tuned}]"
    arguments = ["--exam", "exam.jsonl", "--dry-run", "--set", f"models={models}", "--set", "formats=[alpaca-ja, chat]"]
    evaluate = _ikyoku(desk, "evaluate", *arguments)
    assert (evaluate.returncode, evaluate.stderr) == (2, "")
    assert evaluate.stdout.count("not ready ") == 2
    assert "not ready none: no adapter_config.json" in evaluate.stdout
    assert "not ready model: the tokenizer has no chat template, which chat needs." in evaluate.stdout
    assert sorted(desk.rglob("*")) == before


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_label_with_brackets_stands_in_the_progress_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress_bars() as progress:
        progress("model [4bit] [/x]", 1, 2)
    assert "model [4bit] [/x]" in terminal.getvalue()
