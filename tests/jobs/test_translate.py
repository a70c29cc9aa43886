"""Translation of reports end to end: a scripted server that translates rightly and wrongly, kill, review."""

from __future__ import annotations

import csv
import http.server
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ikyoku import jobs
from ikyoku.datasets.reviews import COLUMNS, read_reviews
from ikyoku.errors import DataError, RunError, SpecError
from ikyoku.jobs.translate import dry_run
from ikyoku.jobs.translations import apply_reviews, section_faults
from ikyoku.specfile import parse
from ikyoku.specs import TranslateSpec

REPORTS = {
    "good": ("No pneumothorax. Small left pleural effusion.", "気胸を認めない。左胸水を少量認める。"),
    "negation": ("There is no pneumothorax.", "気胸を認める。"),
    "side": ("Right pleural effusion is seen.", "左胸水を認める。"),
    "english": (
        "There is no pleural effusion.",
        "胸水を認めない。肺野に明らかなopacityを指摘できず、正常範囲内と考えられる。",
    ),
    "007": (
        "Nodule of 1.2 cm in the right upper lobe. Compared with ___.",
        "右上葉に12mmの結節影を認める。___と比較した。",
    ),
}


class Translator:
    """A server that answers each request with the translation of the report that stands in it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        translator = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.send({"object": "list", "data": [{"id": "m"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                source = body["messages"][-1]["content"].rpartition("原文：\n")[2]
                translator.asked.append(source)
                reply = next(ja for en, ja in REPORTS.values() if en == source)
                choice = {"message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
                self.send({"model": "m", "choices": [choice], "usage": {"completion_tokens": 3}})

            def send(self, content: Any) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Translator]:
    made = Translator()
    yield made
    made.close()


@pytest.fixture
def translated(server: Translator, tmp_path: Path) -> Callable[..., jobs.Finished]:
    rows = [json.dumps({"id": name, "text": en}) for name, (en, _) in REPORTS.items()]
    (tmp_path / "reports.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def run(**values: Any) -> jobs.Finished:
        return jobs.start(spec(server, tmp_path, **values), root=tmp_path / "runs")

    return run


def spec(server: Translator, folder: Path, **values: Any) -> TranslateSpec:
    model = {"path": server.url, "endpoint": {"served": "m"}}
    return parse(TranslateSpec, {"data": str(folder / "reports.jsonl"), "model": model} | values, source="test")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_wrong_translations_are_found_and_left_out(translated: Callable[..., jobs.Finished]) -> None:
    done = translated()
    found = {c["id"]: [f["kind"] for f in c["findings"]["faults"]] for c in lines(done.folder / "checks.jsonl")}
    assert found["good"] == []
    assert "negation" in found["negation"]
    assert "side" in found["side"]
    assert "english" in found["english"]
    assert found["007"] == []
    pairs = {p["id"]: p for p in lines(done.folder / "pairs.jsonl")}
    assert set(pairs) == {"good", "007"}
    assert pairs["good"]["findings"] == REPORTS["good"][1]
    assert (done.result["reports"], done.result["faulty"], done.result["pairs"]) == (5, 3, 2)
    page = (done.folder / "summary.html").read_text(encoding="utf-8")
    assert "否定と肯定が逆" in page
    assert "左右の不一致" in page


def test_faulty_pairs_are_kept_where_that_is_asked(translated: Callable[..., jobs.Finished]) -> None:
    done = translated(keep_faulty=True)
    pairs = {p["id"]: p.get("faults", []) for p in lines(done.folder / "pairs.jsonl")}
    assert len(pairs) == 5
    assert "side" in pairs["side"]


def test_only_what_is_missing_is_asked_again(translated: Callable[..., jobs.Finished], server: Translator) -> None:
    done = translated()
    assert len(server.asked) == 5
    kept = (done.folder / "translations.jsonl").read_bytes().splitlines(keepends=True)
    (done.folder / "translations.jsonl").write_bytes(b"".join(kept[:3]) + kept[3][:20])  # killed while it wrote
    (done.folder / "status.json").write_text('{"state": "running"}', encoding="utf-8")
    before = (done.folder / "pairs.jsonl").read_text(encoding="utf-8")
    again = translated()
    assert not again.before
    assert len(server.asked) == 7
    assert (done.folder / "pairs.jsonl").read_text(encoding="utf-8") == before


def _filled(folder: Path, verdicts: dict[str, tuple[str, str]], encoding: str, delimiter: str) -> bytes:
    """The sheet as a spreadsheet has saved it: ids as numbers, another encoding and delimiter."""
    rows = list(csv.DictReader(io.StringIO((folder / "review.csv").read_text(encoding="utf-8-sig"), newline="")))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        row["判定"], row["修正文"] = verdicts.get(row["番号"], ("", ""))
        row["番号"] = row["番号"].lstrip("0")
        writer.writerow(row)
    return out.getvalue().encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8-sig", ","), ("cp932", ","), ("utf-8", ";"), ("utf-16", "\t")]
)
def test_a_reviewer_sends_the_sheet_back(
    translated: Callable[..., jobs.Finished], tmp_path: Path, encoding: str, delimiter: str
) -> None:
    done = translated()
    verdicts = {"negation": ("", "気胸を認めない。"), "side": ("除外", ""), "english": ("○", ""), "007": ("可", "")}
    sheet = tmp_path / "back.csv"
    sheet.write_bytes(_filled(done.folder, verdicts, encoding, delimiter))
    result = apply_reviews(done.folder, sheet)
    pairs = {p["id"]: p for p in lines(done.folder / "pairs.jsonl")}
    assert set(pairs) == {"good", "negation", "english", "007"}
    assert (pairs["negation"]["findings"], pairs["negation"]["checked"]) == ("気胸を認めない。", "reviewer")
    assert (pairs["good"]["checked"], pairs["007"]["checked"]) == ("labeler", "reviewer")
    assert result["reviewed"] == {"open": 1, "corrected": 1, "rejected": 1, "accepted": 2}


def test_what_a_reviewer_wrote_is_checked_back_too(translated: Callable[..., jobs.Finished], tmp_path: Path) -> None:
    done = translated()
    sheet = tmp_path / "back.csv"
    verdicts = {"negation": ("", "気胸を認めない。"), "side": ("修正", "左胸水。")}
    sheet.write_bytes(_filled(done.folder, verdicts, "utf-8-sig", ","))
    result = apply_reviews(done.folder, sheet)
    assert result["corrections"] == {"negation": [], "side": ["side"]}
    reviews = {r["id"]: r.get("faults") for r in lines(done.folder / "reviews.jsonl")}
    assert reviews["negation"] == []
    assert reviews["good"] is None
    [told] = reviews["side"]
    assert told.startswith("左右の不一致")
    pairs = {p["id"]: p for p in lines(done.folder / "pairs.jsonl")}
    assert pairs["side"]["faults"] == ["side"]
    assert (pairs["side"]["findings"], "faults" in pairs["negation"]) == ("左胸水。", False)
    page = (done.folder / "summary.html").read_text(encoding="utf-8")
    assert "修正文の再点検" in page
    assert "未確認" in page
    before, _, listed = page.partition("要確認の報告書")
    assert "右あり → 訳: 左あり" in before  # the corrected text
    assert "<h3>english</h3>" in listed
    assert "<h3>negation</h3>" not in listed
    shown = _ikyoku(tmp_path, "translate", "--reviewed", str(sheet), "--run", str(done.folder))
    assert "corrected texts checked back: 2, side (side)" in shown


def _ikyoku(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "ikyoku", "data", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize(
    ("verdict", "text", "words"),
    [("たぶん", "", "判定 is none of"), ("修正", "", "修正文 is empty"), ("除外", "胸水なし。", "rejects the report")],
)
def test_a_sheet_with_faults_changes_nothing(
    translated: Callable[..., jobs.Finished], tmp_path: Path, verdict: str, text: str, words: str
) -> None:
    done = translated()
    before = (done.folder / "pairs.jsonl").read_bytes()
    sheet = tmp_path / "back.csv"
    sheet.write_bytes(_filled(done.folder, {"good": (verdict, text)}, "utf-8-sig", ","))
    with pytest.raises(DataError, match=words) as caught:
        apply_reviews(done.folder, sheet)
    assert "胸水" not in str(caught.value)
    assert (done.folder / "pairs.jsonl").read_bytes() == before


def test_a_sheet_of_another_run_is_refused(translated: Callable[..., jobs.Finished], tmp_path: Path) -> None:
    done = translated()
    with pytest.raises(DataError, match="no report's of this run"):
        read_reviews(done.folder / "review.csv", {"id-0": False})
    with pytest.raises(RunError, match="no finished translate run"):
        apply_reviews(tmp_path, done.folder / "review.csv")


@pytest.mark.usefixtures("translated")
def test_the_dry_run_shows_the_prompt_with_its_terms(server: Translator, tmp_path: Path) -> None:
    told = dry_run(spec(server, tmp_path))
    assert "- pleural effusion：胸水" in told
    assert not server.asked


def test_bad_input_is_refused_without_its_words(server: Translator, tmp_path: Path) -> None:
    rows = '{"id": "1", "text": "Yamada has pneumonia."}\n{"id": "1", "text": "Yamada."}\n{"id": "2"}\n'
    (tmp_path / "reports.jsonl").write_text(rows, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        jobs.start(spec(server, tmp_path), root=tmp_path / "runs")
    assert "line 2: has the id of line 1" in str(caught.value)
    assert "line 3: neither 'text' nor 'findings'" in str(caught.value)
    assert "Yamada" not in str(caught.value)
    (tmp_path / "reports.jsonl").write_text('{"id": "1", "text": "No pneumothorax."}\n', encoding="utf-8")
    with pytest.raises(SpecError, match="option's letter"):
        dry_run(spec(server, tmp_path, format="chat-letters-ja"))


@pytest.mark.parametrize(
    ("source", "translation", "kinds"),
    [
        ("Right pneumothorax measuring 2 cm.", "右気胸を認める（幅20mm）。", set()),
        ("Right pneumothorax measuring 2 cm.", "右気胸を認める（幅3cm）。", {"number"}),
        ("Compared to ___, no pleural effusion.", "前回と比較し、胸水を認めない。", {"mark"}),
        ("Possible pneumonia.", "肺炎を認める。", {"certainty"}),
        ("No pneumothorax. Cardiomegaly.", "心拡大を認める。", {"missing"}),
        ("No pneumothorax.", "気胸を認めない。左胸水を認める。", {"added"}),
        ("No pneumothorax.", "There is no pneumothorax.", {"language"}),
        ("No pneumothorax.", "", {"empty"}),
    ],
)
def test_each_kind_of_fault(source: str, translation: str, kinds: set[str]) -> None:
    assert {f.kind for f in section_faults(source, translation)} == kinds
