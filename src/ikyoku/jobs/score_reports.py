"""The replies of a search on radiographs, scored again from what it wrote; beside it BERTScore and a judge, if asked.

The table needs no model. The references are read again where the run's spec names them, and must be those that were
asked. What the two optional metrics give is kept in report-scores.json, the judge's replies one by one in
judgements.jsonl, so that an interrupted judge goes on where it stood and its replies can be read anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikyoku import offline
from ikyoku.checkpoints import model_folder
from ikyoku.errors import DataError, RunError, SpecError
from ikyoku.jobs.evolution import given_reports
from ikyoku.jobs.report_finals import TEST, Asked, tables
from ikyoku.jobs.systems import RECORD as EVALUATIONS
from ikyoku.jobs.systems import WINNER
from ikyoku.metrics import summary
from ikyoku.metrics.reports import difference
from ikyoku.metrics.stats import holm
from ikyoku.models.base import Model, StreamingModel
from ikyoku.models.bertscore import open_bertscore
from ikyoku.models.endpoint import open_endpoint
from ikyoku.models.judge import JUDGE_PARAMS, Judgement, judge_prompt, judge_summary, read_judgement
from ikyoku.models.local import LocalBase, LocalModel
from ikyoku.prompts import PROMPT_FORMATS
from ikyoku.provenance import digest, fingerprints
from ikyoku.runs import Progress, Run, open_finished, read_records, silent, to_json
from ikyoku.specfile import load
from ikyoku.specs import EvolveSpec, ModelSpec
from ikyoku.types import Completion, Prompt

FILE, JUDGEMENTS = "report-scores.json", "judgements"
_HEAD = ("name", "items", "n", "sha256", "format", "ids")
_AT_A_TIME = 16  # prompts handed to a judge that neither streams nor names a batch of its own


def is_search(folder: Path) -> bool:
    """Returns whether a folder holds a run of `ikyoku evolve`, by what only that writes."""
    return not (folder / "questions.jsonl").is_file() and (folder / "items.jsonl").is_file()


def score_reports(
    folder: Path,
    *,
    bertscore: str | None = None,
    layer: int | None = None,
    judge: ModelSpec | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Returns the scores of a search's untouched radiographs anew, from its saved replies.

    `report_tests` is the table as the run's scores.json has it, `as_recorded` whether the two are equal: another ikyoku
    may read reports otherwise. `bertscore` and `judge` are what was asked of these, now or before; None where nothing
    was. Only these two are written, to report-scores.json; scores.json stays.

    Args:
        folder: a finished run of evolve with `test_reports`.
        bertscore: an encoder's folder, to add BERTScore.
        layer: whose output it compares; by default the one three quarters up.
        judge: a model, to add its counts of errors.
        progress: told of the progress.

    Raises:
        RunError: the folder is no such run, or a reply is missing.
        DataError: the radiographs are no longer those that were asked.
        ModelError: encoder or judge cannot be used.
    """
    if layer is not None and bertscore is None:
        raise SpecError("layer: goes with bertscore, the folder of the encoder whose layer it is.")
    asked, recorded = _kept(folder)
    now = tables(asked)
    found: dict[str, Any] = {"as_recorded": json.loads(to_json(now)) == recorded, "report_test": TEST}
    found |= {"report_tests": now}
    if bertscore is None and judge is None:
        return found | _known(folder, asked)
    offline.switch_on()
    with open_finished(folder, progress=progress) as run:
        known = _known(folder, asked)  # under the lock: another process may have added to it
        if bertscore is not None:
            known["bertscore"] = _bertscore(asked, bertscore, layer, progress)
            _write(run, asked, known)
        if judge is not None:
            known["judge"] = _judged(run, asked, judge)
            _write(run, asked, known)
    return found | known


# what the run wrote


def _kept(folder: Path) -> tuple[list[Asked], list[dict[str, Any]]]:
    """What was written of every test, and `report_tests` as scores.json has it."""
    spec, recorded = _finished(folder)
    ids: dict[str, list[str]] = {}
    for item in read_records(folder / "items.jsonl"):
        ids.setdefault(item["what"], []).append(item["id"])
    replies: dict[tuple[str, str], list[str]] = {}
    for record in read_records(folder / f"{EVALUATIONS}.jsonl"):
        texts = record.get("texts") or [None] * len(record["scores"])
        replies.setdefault((record["who"], record["what"]), []).extend(text or "" for text in texts)
    found = []
    for given, test in zip(spec.test_reports, recorded, strict=True):
        what = f"test {test['name']}"
        selection = given_reports(given, spec.search.seed).selection
        if selection.sha256 != test["sha256"]:
            raise DataError(
                f"{given.path}: its radiographs are no longer those that the run was tested on: their hash is "
                f"{selection.sha256[:12]}, in {folder / 'scores.json'} {test['sha256'][:12]}. Put texts and images "
                "back as they were; other radiographs are another run."
            )
        references = {sample.id: sample.findings for sample in selection.samples}
        names = ids.get(what, [])
        systems = [one["system"] for one in test["systems"]]
        short = [key for key in systems if len(replies.get((key, what), [])) != len(names)]
        if short or names != test["ids"] or set(names) != set(references):
            raise RunError(
                f"{folder}: items.jsonl, evaluations.jsonl and scores.json do not go together for {what}"
                + (f": replies are missing of {', '.join(short)}" if short else "")
                + ". A file was changed; give the evolve command again with --new."
            )
        head = {key: test[key] for key in _HEAD}
        found.append(Asked(head, {key: replies[key, what] for key in systems}, [references[name] for name in names]))
    return found, recorded


def _finished(folder: Path) -> tuple[EvolveSpec, list[dict[str, Any]]]:
    status = folder / "status.json"
    if not is_search(folder) or not status.is_file():
        raise RunError(f"{folder}: no run of `ikyoku evolve`: it holds no items.jsonl and status.json.")
    state = json.loads(status.read_text(encoding="utf-8")).get("state")
    if state != "done":
        raise RunError(f"{folder}: this run is {state}, not done. Give its evolve command again to finish it.")
    recorded = json.loads((folder / "scores.json").read_text(encoding="utf-8")).get("report_tests")
    if not recorded:
        raise RunError(
            f"{folder}: this search was tested on no radiographs (test_reports), so there is no report to score. What "
            "it scored on questions is in its scores.json."
        )
    return load(EvolveSpec, folder / "spec.yaml"), recorded


def _mark(asked: Sequence[Asked]) -> str:
    """What names these replies and references: figures of others are not shown beside them."""
    told = [[one.head["sha256"], dict(one.replies)] for one in asked]
    return hashlib.sha256(to_json(told).encode()).hexdigest()


def _known(folder: Path, asked: Sequence[Asked]) -> dict[str, Any]:
    """What report-scores.json holds of these replies."""
    path, held = folder / FILE, {}
    if path.is_file():
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise RunError(f"{path}: not JSON. Remove it, and ask for its metrics again.") from None
    same = bool(held) and held["replies"] == _mark(asked)
    return {key: held.get(key) if same else None for key in ("bertscore", "judge")}


def _write(run: Run, asked: Sequence[Asked], known: Mapping[str, Any]) -> None:
    run.write(FILE, to_json({"replies": _mark(asked), **known}))


# BERTScore


def _bertscore(asked: Sequence[Asked], path: str, layer: int | None, progress: Progress) -> dict[str, Any]:
    """BERTScore's means by system, and the winner's F1 against each other's."""
    label = f"BERTScore · {Path(path).name}"
    done, total = 0, sum(len(one.replies) * len(one.references) for one in asked)
    progress(label, done, total)
    scorer = open_bertscore(path, layer=layer)
    tests = []
    for one in asked:
        f1: dict[str, list[float]] = {}
        systems = []
        for key, texts in one.replies.items():
            scores = scorer.score(list(zip(texts, one.references, strict=True)))
            f1[key] = [score.f1 for score in scores]
            parts = {"f1": f1[key], "precision": [s.precision for s in scores], "recall": [s.recall for s in scores]}
            seed = f"{one.head['name']}|{key}|bertscore"
            systems.append(
                {"system": key}
                | {
                    name: summary.mean(values, rng=summary.generator(f"{seed}|{name}"))
                    for name, values in parts.items()
                }
            )
            done += len(texts)
            progress(label, done, total)
        pairs = [
            {"a": WINNER, "b": key} | difference(f1[WINNER], f1[key], key=f"{one.head['name']}|{key}|bertscore")
            for key in f1
            if key != WINNER
        ]
        tests.append({"name": one.head["name"], "n": len(one.references), "systems": systems, "pairs": pairs})
    _correct(tests)
    return {"path": path, "sha256": _sha256(path, progress), "layer": scorer.layer, "tests": tests}


def _correct(tests: Sequence[Mapping[str, Any]]) -> None:
    """Holm's correction over all comparisons of all tests."""
    pairs = [pair for test in tests for pair in test["pairs"]]
    for pair, p in zip(pairs, holm([pair["p_value"] for pair in pairs]) if pairs else [], strict=True):
        pair["p_holm"] = p


def _sha256(path: str, progress: Progress) -> str:
    return digest(fingerprints({path: model_folder(path)}, progress=progress)[path])


# the judge


@dataclass(frozen=True, slots=True)
class _Draft:
    """One reply that is judged: where it belongs, and what is asked of it."""

    test: str
    system: str
    id: str
    prompt: Prompt
    asked: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What its record is known by."""
        return self.test, self.system, self.id


def _judged(run: Run, asked: Sequence[Asked], spec: ModelSpec) -> dict[str, Any]:
    """A judge's counts by system; it is asked only for what is not on record."""
    about: dict[str, Any] = {"model": spec.name, "path": spec.path}
    who: list[str | None]
    if spec.endpoint:
        about["served"], who = spec.endpoint.served, [spec.path, spec.endpoint.served]
    else:
        about["sha256"] = _sha256(spec.path, run.progress)
        who = [about["sha256"], spec.adapter and _sha256(spec.adapter, run.progress), spec.dtype, spec.quantization]
    judge = hashlib.sha256(to_json(who).encode()).hexdigest()[:16]
    drafts = [draft for one in asked for draft in _drafts(one)]
    replies = _replies(run, judge, drafts, spec)
    tests = []
    for one in asked:
        test = one.head["name"]
        said = {key: [read_judgement(replies[test, key, name]) for name in one.head["ids"]] for key in one.replies}
        tests.append({"name": test, "n": len(one.references)} | _counted(test, said))
    _correct(tests)
    return about | {"tests": tests}


def _counted(test: str, said: Mapping[str, Sequence[Judgement | None]]) -> dict[str, Any]:
    """The figures of one test; a system is compared with the winner on the reports of which both could be read."""
    totals = {key: [None if j is None else float(sum(j.errors.values())) for j in each] for key, each in said.items()}
    systems = []
    for key, each in said.items():
        read = [total for total in totals[key] if total is not None]
        rng = summary.generator(f"{test}|{key}|judge")
        mean = summary.mean(read, rng=rng) if read else None
        systems.append({"system": key, "errors_per_report": mean} | judge_summary(each, rng=rng))
    pairs = []
    for key in [key for key in said if key != WINNER]:
        both = [(a, b) for a, b in zip(totals[WINNER], totals[key], strict=True) if a is not None and b is not None]
        if both:
            found = difference([a for a, _ in both], [b for _, b in both], key=f"{test}|{key}|judge")
            pairs.append({"a": WINNER, "b": key} | found)
    return {"systems": systems, "pairs": pairs}


def _drafts(one: Asked) -> Iterator[_Draft]:
    for system, texts in one.replies.items():
        for name, text, reference in zip(one.head["ids"], texts, one.references, strict=True):
            prompt = judge_prompt(text, reference, PROMPT_FORMATS["chat"])
            told = [JUDGE_PARAMS.max_new_tokens, *([m.role, m.content] for m in prompt.messages)]
            yield _Draft(one.head["name"], system, name, prompt, hashlib.sha256(to_json(told).encode()).hexdigest())


def _replies(run: Run, judge: str, drafts: Sequence[_Draft], spec: ModelSpec) -> dict[tuple[str, str, str], str]:
    """The judge's reply to every draft, by its place. The same question is put once, whoever wrote the draft."""
    wanted = {draft.place: draft.asked for draft in drafts}
    found: dict[tuple[str, str, str], str] = {}
    answers: dict[str, tuple[str, str]] = {}
    for record in run.records(JUDGEMENTS):
        place = record["test"], record["system"], record["id"]
        if record["judge"] == judge and wanted.get(place) == record["asked"]:
            found[place] = record["reply"]
            answers[record["asked"]] = record["reply"], record["finish"]
    same: dict[str, list[_Draft]] = {}
    for draft in drafts:
        same.setdefault(draft.asked, []).append(draft)

    def keep(mark: str, reply: str, finish: str) -> None:
        new = [draft for draft in same[mark] if draft.place not in found]
        run.append(
            JUDGEMENTS,
            [
                {"judge": judge, "test": d.test, "system": d.system, "id": d.id}
                | {"asked": mark, "reply": reply, "finish": finish}
                for d in new
            ],
        )
        found.update({draft.place: reply for draft in new})
        run.progress(f"judging · {spec.name}", len(found), len(drafts))

    for mark, (reply, finish) in answers.items():
        if any(draft.place not in found for draft in same[mark]):  # cut off while it was written down
            keep(mark, reply, finish)
    if len(found) < len(drafts):
        run.progress(f"judging · {spec.name}", len(found), len(drafts))
        questions = {mark: each[0].prompt for mark, each in same.items()}
        for mark, completion in _answers(_opened(run, spec), questions, done=set(answers)):
            keep(mark, completion.text, completion.finish)
    return found


def _answers(model: Model, questions: Mapping[str, Prompt], *, done: set[str]) -> Iterator[tuple[str, Completion]]:
    """Yields the mark of each question that is not done, with its answer.

    A batch is always asked whole, so that its answers do not depend on what an interruption left of it.
    """
    if isinstance(model, StreamingModel):
        left = [mark for mark in questions if mark not in done]
        for place, completion in model.replies([questions[mark] for mark in left], JUDGE_PARAMS):
            yield left[place], completion
        return
    marks = list(questions)
    size = model.batch_size if isinstance(model, LocalModel) else _AT_A_TIME
    for start in range(0, len(marks), size):
        batch = marks[start : start + size]
        if all(mark in done for mark in batch):
            continue
        completions = model.generate([questions[mark] for mark in batch], JUDGE_PARAMS)
        yield from ((mark, c) for mark, c in zip(batch, completions, strict=True) if mark not in done)


def _opened(run: Run, spec: ModelSpec) -> Model:
    """The judge; what a server says of itself goes into the record."""
    if not spec.endpoint:
        base = LocalBase(
            spec.path, dtype=spec.dtype, quantization=spec.quantization, trust_remote_code=spec.trust_remote_code
        )
        return base.model(name=spec.name, adapter=spec.adapter)
    opened = open_endpoint(spec.path, name=spec.name, **spec.endpoint.model_dump())
    guard = offline.current()
    permitted = [str(place) for place in guard.allowed] if guard else None
    run.append("servers", [{"model": spec.name, "url": spec.path, "permitted": permitted} | opened.said()])
    return opened
