"""English chest X-ray reports in, Japanese ones out: section by section, each checked back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ikyoku.datasets.english_reports import EnglishReport, EnglishReports, read_english_reports, read_glossary
from ikyoku.errors import IkyokuError, SpecError
from ikyoku.glossary import TERMS, Term, translation_request
from ikyoku.jobs.translations import reply_text, write_results
from ikyoku.models.base import Model, StreamingModel
from ikyoku.models.checks import check_adapter, check_folder
from ikyoku.models.endpoint import open_endpoint
from ikyoku.models.local import LocalBase, LocalModel
from ikyoku.offline import current
from ikyoku.prompts import PromptFormat, instruction_prompt
from ikyoku.runs import Run, to_json
from ikyoku.specfile import read_format
from ikyoku.specs import TranslateSpec
from ikyoku.types import Completion, Instruction, Prompt, SamplingParams

_ON_A_SERVER = 64  # prompts handed to a server model that cannot stream its replies


def inputs(spec: TranslateSpec) -> dict[str, Path]:
    """Returns the files and folders that the result depends on, after checking them: a run starts on good input."""
    held = _read(spec)
    found: dict[str, Path] = {str(file): file for file in held.files}
    if spec.glossary:
        read_glossary(Path(spec.glossary).expanduser())
        found[spec.glossary] = Path(spec.glossary).expanduser()
    form = _form(spec)
    if form.name != spec.format:  # a template file
        found[spec.format] = Path(spec.format).expanduser()
    if not spec.model.endpoint:
        check_folder(spec.model.path)
        if spec.model.adapter:
            check_adapter(spec.model.adapter)
        for path in (spec.model.path, spec.model.adapter):
            if path and Path(path).expanduser().is_dir():
                found[path] = Path(path).expanduser()
    return found


def translate(spec: TranslateSpec, run: Run) -> dict[str, Any]:
    """Translates every section that has no translation yet, checks all, writes the pairs; returns the run's result."""
    held = _read(spec)
    asked = list(_asked(spec, held, _terms(spec)))
    done = {(r["id"], r["section"]) for r in run.records("translations")}
    left = [a for a in asked if a[:2] not in done]
    if left:
        run.progress(f"loading {spec.model.name}", len(done), len(asked))
        model = _opened(spec, run)
        params = SamplingParams(max_new_tokens=spec.max_new_tokens, stop=_form(spec).stop)
        count = len(asked) - len(left)
        for records in _replies(model, asked, {a[:2] for a in left}, params):
            run.append("translations", records)
            count += len(records)
            run.progress(f"translating · {spec.model.name}", count, len(asked))
    _write_reports(spec, held, run)
    return write_results(run.folder)


def dry_run(spec: TranslateSpec) -> str:
    """Returns what a spec would translate and the first prompt verbatim; nothing is loaded or written."""
    held, terms = _read(spec), _terms(spec)
    inputs(spec)
    asked = list(_asked(spec, held, terms))
    sections = Counter(section for _, section, _ in asked)
    reasons = Counter(o.reason for o in held.omitted)
    first = asked[0][2]
    text = first.text or "\n".join(f"[{m.role}] {m.content}" for m in first.messages)
    lines = [
        f"model     {spec.model.name}, format {spec.format}",
        f"reports   {len(_chosen(spec, held))}, {', '.join(f'{n} {s}' for s, n in sections.items())}",
        *(f"          {count} omitted: {reason}" for reason, count in reasons.most_common()),
        f"glossary  {len(terms)} rows",
    ]
    if spec.model.endpoint:
        try:
            open_endpoint(spec.model.path, name=spec.model.name, **spec.model.endpoint.model_dump()).close()
        except IkyokuError as error:
            lines.append(f"not ready {error}")
    return "\n".join([*lines, "", f"First prompt ({asked[0][0]}, {asked[0][1]}):", "", text])


def _read(spec: TranslateSpec) -> EnglishReports:
    return read_english_reports(Path(spec.data).expanduser(), layout=spec.layout)


def _chosen(spec: TranslateSpec, held: EnglishReports) -> Sequence[EnglishReport]:
    return held.reports[: spec.limit]


def _terms(spec: TranslateSpec) -> tuple[Term, ...]:
    """The hospital's own words before those of the table; a form that both have is the hospital's."""
    if not spec.glossary:
        return TERMS
    own = read_glossary(Path(spec.glossary).expanduser())
    known = {form.strip().casefold() for term in own for form in term.english.split("/")}
    rest = []
    for term in TERMS:
        forms = [form for form in term.english.split("/") if form.strip().casefold() not in known]
        rest += [Term("/".join(forms), term.japanese, term.note)] if forms else []
    return (*own, *rest)


def _form(spec: TranslateSpec) -> PromptFormat:
    form = read_format(spec.format)
    if form.answer == "letters" or form.reasoning:
        raise SpecError(f"format: {spec.format} asks for an option's letter. Translate with chat, vicuna or alpaca-ja.")
    return form


def _asked(spec: TranslateSpec, held: EnglishReports, terms: Sequence[Term]) -> Iterator[tuple[str, str, Prompt]]:
    """Yields id, section and prompt of every section to be translated, in the order of the data."""
    form = _form(spec)
    for report in _chosen(spec, held):
        for section, text in (("findings", report.findings), ("impression", report.impression)):
            if section in spec.sections and text:
                request = translation_request(text, section, terms)
                yield report.id, section, instruction_prompt(Instruction(report.id, request, "", ""), form)


def _opened(spec: TranslateSpec, run: Run) -> Model:
    """The translator; what a server says of itself goes into the record."""
    model = spec.model
    if not model.endpoint:
        base = LocalBase(
            model.path, dtype=model.dtype, quantization=model.quantization, trust_remote_code=model.trust_remote_code
        )
        size = None if spec.batch_size == "auto" else spec.batch_size
        return base.model(name=model.name, adapter=model.adapter, batch_size=size)
    opened = open_endpoint(model.path, name=model.name, **model.endpoint.model_dump())
    guard = current()
    permitted = [str(place) for place in guard.allowed] if guard else None
    run.append("servers", [{"model": model.name, "url": model.path, "permitted": permitted} | opened.said()])
    return opened


def _replies(
    model: Model, asked: Sequence[tuple[str, str, Prompt]], left: set[tuple[str, str]], params: SamplingParams
) -> Iterator[list[dict[str, Any]]]:
    """Yields new records, some at a time.

    A batch is always asked whole, so that its replies do not depend on what an interruption left of it.
    """
    if isinstance(model, StreamingModel):
        rest = [a for a in asked if a[:2] in left]
        for place, completion in model.replies([a[2] for a in rest], params):
            yield [_record(rest[place], completion)]
        return
    size = model.batch_size if isinstance(model, LocalModel) else _ON_A_SERVER
    for start in range(0, len(asked), size):
        batch = asked[start : start + size]
        if any(a[:2] in left for a in batch):
            completions = model.generate([a[2] for a in batch], params)
            pairs = zip(batch, completions, strict=True)
            yield [_record(each, completion) for each, completion in pairs if each[:2] in left]


def _record(asked: tuple[str, str, Prompt], completion: Completion) -> dict[str, Any]:
    name, section, prompt = asked
    return {
        "id": name,
        "section": section,
        "prompt": prompt.text or [{"role": m.role, "content": m.content} for m in prompt.messages],
        "completion": completion.text,
        "translation": reply_text(completion.text),
        "finish": completion.finish,
        "tokens": completion.tokens,
    }


def _write_reports(spec: TranslateSpec, held: EnglishReports, run: Run) -> None:
    """Keeps the sources beside the translations: what is reviewed later must not hang on where the data lies then."""
    records: list[dict[str, Any]] = [
        {
            "id": report.id,
            "findings": report.findings,
            "impression": report.impression if "impression" in spec.sections else "",
            "images": [str(image.expanduser().resolve()) for image in report.images],
            "patient": report.patient,
        }
        for report in _chosen(spec, held)
    ]
    run.rewrite("reports", records)
    run.write("translate.json", to_json({"name": spec.name, "keep_faulty": spec.keep_faulty}))
    run.rewrite("omitted", [{"id": o.id, "reason": o.reason} for o in held.omitted])
