"""`ikyoku score` of a search on radiographs: the table again without a model, BERTScore, and a judge that is killed."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ikyoku
from ikyoku.datasets.radiographs import read_radiographs, write_radiographs
from ikyoku.errors import DataError, RunError, SpecError
from ikyoku.jobs.score_reports import FILE
from ikyoku.metrics.stats import paired_permutation
from ikyoku.models.bertscore import open_bertscore
from ikyoku.models.judge import ERROR_KINDS, JUDGE_PARAMS, MATCHED
from ikyoku.models.local import LocalModel
from ikyoku.runs import read_records
from ikyoku.specfile import load
from ikyoku.specs import EvolveSpec, ModelSpec
from ikyoku.tables import report_scores_text
from ikyoku.types import Completion, Prompt, SamplingParams

EXAMPLE = Path(__file__).parents[2] / "examples" / "pocket-jradievo.yaml"
PARENTS = ("vlm-en", "report-ja", "medical")
TEST = "200 phantoms"
COUNT = 4
KEYS = [*(kind.key for kind in ERROR_KINDS.values()), MATCHED]


@pytest.fixture(scope="module")
def pairs(tiny_xray_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four phantoms to search on, four to test on."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    for name, source in (("mine", "pairs-50"), ("untouched", "test-200")):
        moved = []
        for s in read_radiographs(tiny_xray_lab / f"{source}.jsonl").samples[:COUNT]:
            image = Path(shutil.copy(s.images[0], folder / "images"))
            moved.append(type(s)(s.id, (image,), s.findings, "", s.patient))
        write_radiographs(folder / f"{name}.jsonl", moved)
    return {"mine": folder / "mine.jsonl", "untouched": folder / "untouched.jsonl"}


@pytest.fixture(scope="module")
def searched(tiny_xray_lab: Path, pairs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small search; only to be read."""
    lab = tiny_xray_lab
    overrides = [
        f"base={lab / 'base'}",
        *(f"parents.{n}.path={lab / name}" for n, name in enumerate(PARENTS)),
        f"into={lab / 'vlm-en'}",
        f"fitness.0.reports.path={pairs['mine']}",
        f"test_reports.0.path={pairs['untouched']}",
        "rivals=[]",
        "search.trials=2",
        "search.finalists=1",
        "search.random_baseline=false",
        "max_new_tokens=12",
        "batch_size=4",
    ]
    return ikyoku.evolve(load(EvolveSpec, EXAMPLE, overrides), root=tmp_path_factory.mktemp("runs")).folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy of the run to write in, without its model: no scoring may need it."""
    folder = tmp_path / searched.name
    shutil.copytree(searched, folder, ignore=shutil.ignore_patterns("artifact", "runs"))
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of four layers that knows the signs of the phantoms' reports."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("bert")
    signs = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *sorted({*"右左両胸水気結節影肺野心拡大を認めるない。、上中下に"}),
    ]
    sizes = {"vocab_size": len(signs), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4}
    config = BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=128, initializer_range=0.4)
    BertForMaskedLM(config).save_pretrained(made)
    cut = Tokenizer(models.WordLevel({sign: i for i, sign in enumerate(signs)}, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    cut.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=cut, **names, mask_token="[MASK]").save_pretrained(made)
    return made


def verdict(question: str) -> str:
    """A judge's reply that follows from the question: every fourth cannot be read."""
    number = sum(question.encode())
    if number % 4 == 0:
        return "誤りが多すぎて数えられません。"
    counts = [number % 3, number % 2, 0, number % 5, 0, 0, number % 7]
    return json.dumps(dict(zip(KEYS, counts, strict=True)), ensure_ascii=False)


class Judge:
    """A server that judges by `verdict`, as fast as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wait = 0.0
        judge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.send({"object": "list", "data": [{"id": "m"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][-1]["content"]
                judge.asked.append(question)
                time.sleep(judge.wait * len(judge.asked))  # one after the other
                choice = {"message": {"role": "assistant", "content": verdict(question)}, "finish_reason": "stop"}
                self.send({"model": "m", "choices": [choice], "usage": {"completion_tokens": 3}})

            def send(self, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the asker was killed

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def spec(self, **endpoint: Any) -> ModelSpec:
        return ModelSpec(path=self.url, endpoint=ikyoku.EndpointSpec(served="m", **endpoint))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.close()


def recorded(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["report_tests"]
    return found


def replies(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in read_records(folder / "evaluations.jsonl"):
        if record["what"] == f"test {TEST}":
            found.setdefault(record["who"], []).extend(record["texts"])
    return found


# the table again


def test_the_table_is_the_runs_own(run: Path) -> None:
    files = sorted(path.name for path in run.iterdir())
    found = ikyoku.score(run)
    assert json.loads(json.dumps(found["report_tests"])) == recorded(run)
    assert found["as_recorded"] and found["bertscore"] is found["judge"] is None
    assert sorted(path.name for path in run.iterdir()) == files, "nothing is written"
    text = report_scores_text(found)
    assert all(f"\n{one['system']}" in text for one in recorded(run)[0]["systems"]) and "note:" not in text


def test_the_table_comes_from_the_replies(run: Path, pairs: dict[str, Path]) -> None:
    """What the winner wrote is replaced by the references: it is then perfect, and the table says so."""
    right = [s.findings for s in read_radiographs(pairs["untouched"]).samples]
    records = list(read_records(run / "evaluations.jsonl"))
    for record in records:
        if (record["who"], record["what"]) == ("winner", f"test {TEST}"):
            record["texts"] = right[record["from"] : record["from"] + len(record["texts"])]
    (run / "evaluations.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    found = ikyoku.score(run)
    winner = found["report_tests"][0]["systems"][0]
    assert winner["system"] == "winner" and winner["metrics"]["rouge_l"]["value"] == 1
    assert not found["as_recorded"] and "note: the run's scores.json has other figures" in report_scores_text(found)


def test_other_radiographs_are_refused(run: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(pairs["untouched"].parent, moved)
    spec = (run / "spec.yaml").read_text(encoding="utf-8")
    (run / "spec.yaml").write_text(spec.replace(str(pairs["untouched"]), str(moved / "untouched.jsonl")))
    assert ikyoku.score(run)["as_recorded"], "the same pairs elsewhere are the same"
    text = (moved / "untouched.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    rows[1]["findings"] += "。"
    (moved / "untouched.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"untouched\.jsonl: its radiographs are no longer those.*Put texts and images"):
        ikyoku.score(run)
    (moved / "untouched.jsonl").unlink()
    with pytest.raises(DataError, match=r"untouched\.jsonl"):
        ikyoku.score(run)


def test_what_is_no_such_run_is_refused(run: Path, tmp_path: Path) -> None:
    lines = (run / "evaluations.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "evaluations.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(RunError, match="do not go together for test 200 phantoms: replies are missing of winner"):
        ikyoku.score(run)
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    (run / "scores.json").write_text(json.dumps(scores | {"report_tests": []}), encoding="utf-8")
    with pytest.raises(RunError, match="tested on no radiographs"):
        ikyoku.score(run)
    (run / "status.json").write_text('{"state": "running"}', encoding="utf-8")
    with pytest.raises(RunError, match="this run is running, not done"):
        ikyoku.score(run)
    with pytest.raises(RunError, match="no run of `ikyoku evaluate`"):
        ikyoku.score(tmp_path)
    with pytest.raises(SpecError, match="bertscore: of reports only"):
        ikyoku.score(tmp_path, bertscore="bert")


# BERTScore


def test_bertscore_of_every_system(run: Path, encoder: Path, pairs: dict[str, Path]) -> None:
    found = ikyoku.score(run, bertscore=str(encoder))
    assert found["bertscore"]["layer"] == 3
    (test,) = found["bertscore"]["tests"]
    references = [s.findings for s in read_radiographs(pairs["untouched"]).samples]
    scorer = open_bertscore(str(encoder), layer=3)
    f1 = {
        key: [s.f1 for s in scorer.score(list(zip(texts, references, strict=True)))]
        for key, texts in replies(run).items()
    }
    assert [one["system"] for one in test["systems"]] == [one["system"] for one in recorded(run)[0]["systems"]]
    for one in test["systems"]:
        assert one["f1"]["value"] == pytest.approx(np.mean(f1[one["system"]]), abs=1e-6)
        assert one["f1"]["low"] <= one["f1"]["value"] <= one["f1"]["high"] and one["f1"]["n"] == COUNT
    assert {pair["b"] for pair in test["pairs"]} == f1.keys() - {"winner"}
    for pair in test["pairs"]:
        other = f1[pair["b"]]
        assert pair["difference"] == pytest.approx(np.mean(f1["winner"]) - np.mean(other), abs=1e-6)
        sampled = paired_permutation(f1["winner"], other, rng=np.random.default_rng(0))
        assert pair["p_value"] == pytest.approx(sampled, abs=0.02) and pair["p_holm"] >= pair["p_value"]
    assert "BERTScore F1 [95 %]" in report_scores_text(found)


def test_what_was_asked_before_stays(run: Path, encoder: Path, judge: Judge) -> None:
    first = ikyoku.score(run, bertscore=str(encoder), layer=2)
    second = ikyoku.score(run, judge=judge.spec())
    assert second["bertscore"] == json.loads(json.dumps(first["bertscore"])) and second["bertscore"]["layer"] == 2
    assert ikyoku.score(run) == json.loads(json.dumps(second))
    held = json.loads((run / FILE).read_text(encoding="utf-8"))
    (run / FILE).write_text(json.dumps(held | {"replies": "of another run"}), encoding="utf-8")
    assert ikyoku.score(run)["judge"] is None, "figures of other replies are not shown"


# the judge


def test_the_judges_counts_are_those_of_its_replies(run: Path, judge: Judge, pairs: dict[str, Path]) -> None:
    found = ikyoku.score(run, judge=judge.spec())
    records = list(read_records(run / "judgements.jsonl"))
    written = replies(run)
    assert {(r["system"], r["id"]) for r in records} == {
        (key, s.id) for key in written for s in read_radiographs(pairs["untouched"]).samples
    }
    assert len(records) == COUNT * len(written)
    distinct = {(text, place) for texts in written.values() for place, text in enumerate(texts)}
    assert len(judge.asked) == len(set(judge.asked)) <= len(distinct), "the same question is put once"
    (test,) = found["judge"]["tests"]
    unread = 0
    for one in test["systems"]:
        said = [r["reply"] for r in records if r["system"] == one["system"]]
        counts = [json.loads(reply) for reply in said if reply.startswith("{")]
        unread += COUNT - len(counts)
        assert one["unread"]["value"] == (COUNT - len(counts)) / COUNT
        errors = [sum(count[kind.key] for kind in ERROR_KINDS.values()) for count in counts]
        assert (one["errors_per_report"] or {}).get("value") == (np.mean(errors) if errors else None)
        if counts:
            assert one["errors"]["place"]["value"] == pytest.approx(100 * np.mean([c["位置"] for c in counts]))
    assert unread, "some reply cannot be read"
    assert all(pair["a"] == "winner" and pair["p_holm"] >= pair["p_value"] for pair in test["pairs"])
    text = report_scores_text(found)
    assert "judge m, n = 4" in text and "unread" in text


def test_a_killed_judge_goes_on(run: Path, judge: Judge, command: Callable[..., Any], tmp_path: Path) -> None:
    whole = tmp_path / "whole" / run.name
    shutil.copytree(run, whole)
    wanted = ikyoku.score(whole, judge=judge.spec())
    once = len(judge.asked)
    judge.asked.clear()
    judge.wait = 0.1
    killed = command("score", run, "--judge", judge.url, "--served", "m")
    killed.kill_at(run / "judgements.jsonl", 1)
    assert not (run / FILE).exists()
    judge.wait = 0.0
    kept = (run / "judgements.jsonl").read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    (run / "judgements.jsonl").write_bytes(kept + b'{"judge": "cut off')
    judge.asked.clear()
    told = json.loads(command("score", run, "--judge", judge.url, "--served", "m", "--json").finish())
    assert told == json.loads(json.dumps(wanted))
    assert 0 < len(judge.asked) < once, "what was answered is not asked again"
    assert (run / "judgements.jsonl").read_bytes().startswith(kept)
    assert (run / FILE).read_bytes() == (whole / FILE).read_bytes()
    judge.asked.clear()
    ikyoku.score(run, judge=judge.spec())
    assert judge.asked == []


def test_another_judge_is_asked_anew(run: Path, judge: Judge) -> None:
    ikyoku.score(run, judge=judge.spec())
    once = len(judge.asked)
    other = Judge()
    try:
        found = ikyoku.score(run, judge=ModelSpec(path=other.url, label="B", endpoint={"served": "m"}))
    finally:
        other.close()
    assert (len(judge.asked), len(other.asked)) == (once, once)
    assert found["judge"]["model"] == "B"


def test_a_local_judge_is_asked_in_whole_batches(
    run: Path, tiny_xray_lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def scripted(self: LocalModel, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        assert params == JUDGE_PARAMS
        if len(asked) == 1 and not told:
            raise KeyboardInterrupt
        asked.append(len(prompts))
        return [Completion(verdict(prompt.messages[-1].content), "stop", 1) for prompt in prompts]

    told: list[bool] = []
    monkeypatch.setattr(LocalModel, "generate", scripted)
    monkeypatch.setattr(LocalModel, "batch_size", property(lambda self: 3))
    spec = ModelSpec(path=str(tiny_xray_lab / "report-ja"))
    seen: list[tuple[str, int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        ikyoku.score(run, judge=spec)
    before = list(read_records(run / "judgements.jsonl"))
    assert len({r["asked"] for r in before}) == asked[0] == 3
    told.append(True)
    found = ikyoku.score(run, judge=spec, progress=lambda *now: seen.append(now))
    distinct = {r["asked"] for r in read_records(run / "judgements.jsonl")}
    assert sum(asked) == len(distinct)
    assert list(read_records(run / "judgements.jsonl"))[: len(before)] == before
    judging = [now for now in seen if now[0] == "judging · report-ja"]
    assert judging[0][1:] == (len(before), COUNT * len(replies(run))) and judging[-1][1] == judging[-1][2]
    assert len(found["judge"]["sha256"]) == 64


# the command line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--layer", "2"], "--layer: goes with --bertscore"),
        (["--served", "m"], "--served: goes with --judge and a server's address"),
        (["--judge", "http://localhost:1/v1"], "--served: goes with --judge and a server's address"),
        (["--judge", "none"], "none: no such"),
        (["--bertscore", "none"], "none: no such"),
    ],
)
def test_options_that_do_not_go_together(
    run: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ikyoku.cli import main

    monkeypatch.setattr("sys.argv", ["ikyoku", "score", str(run), *options])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and told in capsys.readouterr().err
    assert not (run / FILE).exists()


def test_the_command_prints_the_table(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ikyoku.cli import app

    monkeypatch.setattr("sys.argv", ["ikyoku", "score", str(run)])
    app(standalone_mode=False)
    assert capsys.readouterr().out.strip() == report_scores_text(ikyoku.score(run))
