"""The pages of draft reports: the list of studies, and a page for each with the X-ray beside its text.

Both are for physicians: Japanese, or English where the reader's browser asks for it; the drafts themselves are what
the model wrote. Nothing on them says whose study it is. Every text of a draft is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped
from ikyoku.interchange import DRAFT_MARK, DRAFT_MARK_EN
from ikyoku.interchange.draft import CERTAINTIES, CHANGES, SIDES, SITES
from ikyoku.pages.shell import page, style

SCRIPT = (
    "const reads = (navigator.languages || [navigator.language]).map(l => l.slice(0, 2));"
    "const english = reads.indexOf('en'), japanese = reads.indexOf('ja');"
    "if (english >= 0 && (japanese < 0 || english < japanese)) document.documentElement.classList.add('english');"
    "else document.documentElement.lang = 'ja';"
)
"""Shows the labels in English to readers whose browser prefers it; without it they are in Japanese."""

Record = Mapping[str, Any]

_ENGLISH = {"present": "present", "possible": "possible", "absent": "absent"}
_SIDES = {"right": "right", "left": "left", "both": "both sides", "": ""}
_STATES = {
    "draft": ("下書き", "drafts"),
    "empty": ("返答なし", "empty replies"),
    "refused": ("読めなかった検査", "refused"),
}
_ORDER = ("present", "possible", "absent")


def report_cards(drafts: Sequence[Record]) -> str:
    """Returns drafts as cards: thumbnail, 所見 and 診断, labels, contradictions; with their style, for any page.

    Studies of which there is no draft stand behind the others.

    Args:
        drafts: records of drafts.jsonl. A record may hold beside them "thumbnail", a PNG as a data URI, and "page",
            the relative path of the study's page.
    """
    cards = "".join(map(_card, sorted(drafts, key=lambda draft: draft["state"] == "refused")))
    return f'<style>{style("reports.css")}</style><div class="r-list">{cards}</div>'


def reports_page(*, name: str, drafts: Sequence[Record], made: Mapping[str, str]) -> str:
    """Returns the page of a run: how many studies became drafts, and a card for each.

    Args:
        name: The run's name.
        drafts: As of `report_cards`, in the order of the studies.
        made: How the drafts were made, by what it is called.
    """
    counts = {state: sum(draft["state"] == state for draft in drafts) for state in _STATES}
    items = "".join(
        f"<li><b>{counts[state]}</b> {_both(*words)}</li>"
        for state, words in _STATES.items()
        if counts[state] or state == "draft"
    )
    clashes = sum(bool(draft.get("contradictions")) for draft in drafts)
    if clashes:
        items += f'<li class="alarm"><b>{clashes}</b> {_both("文中に矛盾", "contradict themselves")}</li>'
    body = [_banner(""), f'<ul class="r-count">{items}</ul>', report_cards(drafts), _made(made, opened=False)]
    return page("report", "読影下書き", name, body, script=SCRIPT)


def study_page(record: Record, *, pictures: Sequence[tuple[str, str]], made: Mapping[str, str]) -> str:
    """Returns the page of one study: its views beside the draft, the labels and the contradictions found in it.

    Args:
        record: A record of drafts.jsonl, with the state "draft" or "empty".
        pictures: Of each view that the model was shown: a caption, and a PNG as a data URI.
        made: How the draft was made, by what it is called.
    """
    views = "".join(
        f'<figure class="r-view"><label><input type="checkbox" aria-label="拡大 / zoom"><img alt="{escaped(caption)}" '
        f'src="{escaped(uri)}"></label><figcaption>{escaped(caption)}</figcaption></figure>'
        for caption, uri in pictures
    )
    parts = [_clashes(record), _notes(record)]
    if record["state"] == "empty":
        parts.append(_part("所見", "Findings", _none("モデルは何も書きませんでした。", "The model wrote nothing.")))
    else:
        parts.append(_part("所見", "Findings", _words(record, "findings")))
        parts.append(_part("診断", "Impression", _words(record, "impression")))
        parts.append(_part("自動抽出ラベル", "Labels read out of the text", _labels(record)))
    parts.append(_made(made, opened=False))
    text = f'<div class="r-text">{"".join(parts)}</div>'
    body = [
        f"<style>{style('reports.css')}</style>",
        _banner("../summary.html"),
        f'<div class="r-study"><div class="r-views">{views}</div>{text}</div>',
    ]
    return page("report", "読影下書き", record["id"], body, script=SCRIPT)


def _both(japanese: str, english: str) -> str:
    """A label in the reader's language."""
    return (
        f'<span class="r-ja" lang="ja">{escaped(japanese)}</span><span class="r-en" lang="en">{escaped(english)}</span>'
    )


def _banner(back: str) -> str:
    link = f'<a href="{escaped(back)}">{_both("← 一覧へ", "← all studies")}</a>' if back else ""
    return f'<div class="r-banner" role="note"><span>{_mark()}</span>{link}</div>'


def _mark() -> str:
    """The mark of a draft: in Japanese for everybody, and in English for those who read that."""
    english = f'<span class="r-en" lang="en"> {escaped(DRAFT_MARK_EN)}</span>'
    return f'<span lang="ja">{escaped(DRAFT_MARK)}</span>{english}'


def _part(japanese: str, english: str, content: str) -> str:
    return f'<section class="r-part"><h2>{_both(japanese, english)}</h2>{content}</section>'


def _none(japanese: str, english: str) -> str:
    return f'<p class="r-none">{_both(japanese, english)}</p>'


def _words(record: Record, section: str) -> str:
    """A section's text, with the words that contradict each other marked."""
    text = record[section]
    if not text:
        if section == "impression":
            return _none("（モデルは診断を書いていません）", "(the model wrote no impression)")
        return _none("（記載なし）", "(nothing written)")
    # Where a section stands in the reply, the reply's marks are moved along.
    start = record["text"].find(text)
    spans = [span for clash in record["contradictions"] for span in clash["spans"]] if start >= 0 else []
    return f'<p class="r-words" lang="ja">{_marked(text, [(a - start, b - start) for a, b in spans])}</p>'


def _marked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    inside = sorted({(a, b) for a, b in spans if 0 <= a < b <= len(text)})
    out, at = [], 0
    for a, b in inside:
        if a >= at:
            out += [escaped(text[at:a]), f"<mark>{escaped(text[a:b])}</mark>"]
            at = b
    return "".join([*out, escaped(text[at:])])


def _labels(record: Record) -> str:
    found = sorted(record["found"], key=lambda label: _ORDER.index(label["certainty"]))
    if not found:
        return _none("（所見の語は見つかりませんでした）", "(no known finding in the text)")
    drawn: dict[str, None] = dict.fromkeys(map(_chip, found))  # 所見 and 診断 may say the same
    said = _both(
        "文章から規則で読み取ったもので、画像の判定ではありません。",
        "Read out of the text by rules; not a reading of the image.",
    )
    return f'<ul class="r-chips">{"".join(drawn)}</ul><p class="quiet">{said}</p>'


def _chip(label: Record) -> str:
    places = [SIDES[label["side"]], *(SITES[site] for site in label["sites"]), CHANGES[label["change"]]]
    english = [_SIDES[label["side"]], *label["sites"], label["change"]]
    where, place = "・".join(filter(None, places)), ", ".join(filter(None, english))
    names = _both(
        f"{label['japanese']}{f'（{where}）' if where else ''}",
        f"{label['name'].replace('_', ' ')}{f' ({place})' if place else ''}",
    )
    certainty = label["certainty"]
    words = _both(CERTAINTIES[certainty], _ENGLISH[certainty])
    return f'<li class="r-chip r-{escaped(certainty)}">{names}<b>{words}</b></li>'


def _clashes(record: Record) -> str:
    clashes = record.get("contradictions") or ()
    if not clashes:
        return ""
    items = "".join(f"<li>{_both(clash['text'], clash['english'])}</li>" for clash in clashes)
    head = _both("文中に矛盾があります", "The text contradicts itself")
    return f'<div class="r-clash" role="alert"><p>⚠ {head}</p><ul>{items}</ul></div>'


def _notes(record: Record) -> str:
    items = "".join(f"<li>{escaped(note)}</li>" for note in record.get("warnings") or ())
    return f'<div class="r-notes"><ul>{items}</ul></div>' if items else ""


def _made(made: Mapping[str, str], *, opened: bool) -> str:
    rows = "".join(f"<dt>{escaped(key)}</dt><dd>{escaped(value)}</dd>" for key, value in made.items() if value)
    head = _both("作成条件", "How it was made")
    return f'<details class="r-made"{" open" * opened}><summary>{head}</summary><dl>{rows}</dl></details>'


def _card(draft: Record) -> str:
    """One study of the list."""
    state, link = draft["state"], draft.get("page")
    picture = f'<img alt="" src="{escaped(draft["thumbnail"])}">' if draft.get("thumbnail") else ""
    shown = f'<a href="{escaped(link)}">{picture}</a>' if link and picture else f'<div class="r-thumb">{picture}</div>'
    name = escaped(draft["id"])
    title = f"<h3>{f'<a href={chr(34)}{escaped(link)}{chr(34)}>{name}</a>' if link else name}</h3>"
    if state == "refused":
        why = f"<p>{_both(*_STATES[state])}: {escaped(draft.get('reason', ''))}</p>"
        return f'<article class="r-card r-refused">{shown}<div>{title}{why}</div></article>'
    parts = [f'<p class="r-mark">{_mark()}</p>', title]
    if state == "empty":
        parts.append(_none("モデルは何も書きませんでした。", "The model wrote nothing."))
    else:
        for section, words in (("findings", ("所見", "Findings")), ("impression", ("診断", "Impression"))):
            parts.append(f'<h4>{_both(*words)}</h4><div class="r-cut">{_words(draft, section)}</div>')
        chips: dict[str, None] = dict.fromkeys(
            _chip(label) for label in draft["found"] if label["certainty"] != "absent"
        )
        parts.append(f'<ul class="r-chips">{"".join(chips)}</ul>' if chips else "")
    parts += [_clashes(draft), _notes(draft)]
    return f'<article class="r-card">{shown}<div>{"".join(parts)}</div></article>'
