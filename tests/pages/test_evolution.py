"""A search's page: what came out in words, tables true to the numbers, escaped, self-contained."""

from __future__ import annotations

import copy
import re
import runpy
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ikyoku.pages import evolution_page
from ikyoku.pages.evolution_tables import curse, system_name
from ikyoku.tables.numbers import signed

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "evolutions.py")))
NASTY = "<script>alert('x')</script>\"&|\x1b[31m"
KEPT = {"complete", "pruned", "fail", "winner", "random", "uniform", "base", "search", "weight", "density", "lambda"}
VOID = {"meta", "link", "br", "wbr", "input"}
TWO = ("自施設の問題 (probability)", "IgakuQA dev (extracted_accuracy)")
USUAL = made.evolution()


def nasty(value: Any) -> Any:
    """The same with every text made nasty, names of parameters and parents too."""
    if isinstance(value, dict):
        return {nasty(k) if "." in k else k: nasty(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nasty(v) for v in value]
    return value + NASTY if isinstance(value, str) and value not in KEPT else value


def drawn(scores: dict[str, Any], name: str = "run") -> str:
    return evolution_page(
        name=name,
        scores=scores,
        timings=made.timings(scores),
        provenance={"command": ["ikyoku", "evolve", "spec.yaml"], "seed": 0},
        spec_text="name: run\n",
    )


def strange() -> dict[str, Any]:
    scores: dict[str, Any] = nasty(copy.deepcopy(made.evolution(trials=30)))
    return scores


CASES: dict[str, dict[str, Any]] = {
    "usual": USUAL,
    "ten": made.evolution(
        ("swallow", "elyza", "meditron", "医療-ja"), trials=40, gain=0.02, tests=(("a", 60), ("b", 30))
    ),
    "forty": made.evolution(groups=2, kinds=True, trials=60),
    "no-test": made.evolution(trials=30, tests=()),
    "several": made.evolution(trials=40, objectives=TWO),
    "alone": made.evolution(trials=40, random_baseline=False, trouble=0.3, gain=-0.1, seed=5),
    "few": made.evolution(trials=5),
    "large": made.evolution(trials=1000, groups=4),
    "nasty": strange(),
}
PAGES = {name: drawn(scores, NASTY if name == "nasty" else name) for name, scores in CASES.items()}


class Reader(HTMLParser):
    """Keeps what a page holds, and refuses tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "embed", "img", "base", "form")
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def words(page: str) -> str:
    return " ".join(read(page).text.split())


def rows(page: str, label: str) -> dict[str, list[str]]:
    """A table's lines by their first cell."""
    table = page[page.index(f'aria-label="{label}"') :].split("</table>")[0]
    found = {}
    for line in re.findall(r"<tr[^>]*>(.*?)</tr>", table):
        cells = [" ".join(re.sub(r"<[^>]+>", " ", c).split()) for c in re.split(r"<t[hd](?: [^>]*)?>", line)[1:]]
        found[cells[0]] = cells[1:]
    return found


# every page


@pytest.mark.parametrize("name", PAGES)
def test_pages_nest_run_no_script_and_ask_for_nothing(name: str) -> None:
    reader = read(PAGES[name])
    for key, value in reader.attributes:
        assert not key.startswith("on")
        if key in ("href", "src"):
            assert value == "data:," or value.startswith("#")
    anchors = {value for key, value in reader.attributes if key == "id"}
    assert {value[1:] for key, value in reader.attributes if key == "href" and value.startswith("#")} <= anchors
    assert "url(" not in PAGES[name] and "@import" not in PAGES[name]
    assert len(PAGES[name].encode("utf-8")) < 1_500_000


@pytest.mark.parametrize("name", PAGES)
def test_plots_are_well_formed(name: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", PAGES[name], flags=re.S)
    assert len(plots) >= 5
    for plot in plots:
        ET.fromstring(plot)


def test_names_of_users_are_shown_as_they_are() -> None:
    text = read(PAGES["nasty"]).text
    assert text.count("<script>alert('x')</script>") > 50


def test_the_same_scores_give_the_same_page() -> None:
    assert drawn(copy.deepcopy(USUAL), "usual") == PAGES["usual"]


# what came out


def outcome(verdicts: dict[str, tuple[float, float]]) -> str:
    """The first paragraph of a page whose differences and p-values are these."""
    scores = copy.deepcopy(USUAL)
    for pair in scores["tests"][0]["pairs"]:
        difference, p = verdicts.get(pair["b"], (0.2, 0.001))
        pair |= {"difference": difference, "low": difference - 0.05, "high": difference + 0.05, "p_holm": p}
    lead = re.search(r'<p class="lead">(.*?)</p>', drawn(scores))
    assert lead is not None
    return re.sub(r"<[^>]+>", "", lead[1])


def test_the_first_sentence_tells_the_winner_from_the_best_parent_uniform_and_random() -> None:
    (test,) = USUAL["tests"]
    score = {one["system"]: one["accuracy"]["value"] for one in test["systems"]}
    best = max((s for s in score if s.startswith("parent ")), key=lambda s: score[s])
    told = outcome({best: (0.1, 0.01), "uniform": (-0.0401, 0.8), "random": (-0.1, 0.03)})
    assert told.startswith("On the untouched test 医師国家試験 2023 (395 questions) the winner is right in 0.")
    parent = best.removeprefix("parent ")
    assert (
        f"better than the best parent, {parent} ({score[best]:.3f}): +0.100 (95 % +0.050 to +0.150, p = 0.010)" in told
    )
    assert (
        f"not told apart from the uniform merge ({score['uniform']:.3f}): −0.040 (95 % −0.090 to +0.010, p = 0.800)"
        in told
    )
    assert "and worse than random search’s best" in told


def test_what_cannot_be_told_apart_is_called_so() -> None:
    told = outcome({one["system"]: (0.02, 0.3) for one in USUAL["tests"][0]["systems"]})
    assert told.count("not told apart from") == 1
    assert "better than" not in told and "worse than" not in told


def test_a_base_that_no_parent_beats_is_named() -> None:
    scores = copy.deepcopy(USUAL)
    base = next(one for one in scores["tests"][0]["systems"] if one["system"] == "base")
    base["accuracy"]["value"] = 0.99
    assert "the base, which no parent beats (0.990)" in words(drawn(scores))


def test_without_a_test_the_page_says_that_nothing_is_known() -> None:
    text = words(PAGES["no-test"])
    assert "Nothing here says how good the winner is on new questions: no test was given." in text
    assert f"its fitness is {CASES['no-test']['winner']['all']:.3f}; the best parent, " in text
    assert "right: only winner" not in text


def test_what_makes_a_search_worthless_is_said() -> None:
    assert "There was no random search: nobody can tell whether the optimizer did anything." in words(PAGES["alone"])
    scores = copy.deepcopy(USUAL)
    scores["winner"]["values"] = dict(scores["uniform"])
    assert "The winner is the uniform merge itself" in words(drawn(scores))
    scores["baselines"][0]["all"] = 0.9
    assert "Even on the development questions these are better than the winner" in words(drawn(scores))
    assert "base (0.900)" in words(drawn(scores))
    scores["tests"][0]["detectable"]["difference"] = 1.0
    assert "395 questions are too few to find any difference four times in five" in words(drawn(scores))


# the tables


def test_the_test_table_holds_the_numbers() -> None:
    (test,) = USUAL["tests"]
    found = rows(PAGES["usual"], test["name"])
    for one in test["systems"]:
        line = next(cells for name, cells in found.items() if name.startswith(system_name(one["system"])))
        accuracy = one["accuracy"]
        assert line[0] == f"{accuracy['value']:.3f} {accuracy['low']:.3f}–{accuracy['high']:.3f}"
        assert line[1] == "395" and line[-1] == "97 %"
        pair = next((p for p in test["pairs"] if p["b"] == one["system"]), None)
        if pair is None:
            assert line[2:7] == [""] * 5
        else:
            assert line[2].replace("−", "-").startswith(f"{pair['difference']:+.3f} {pair['low']:+.3f} to ")
            assert line[3:5] == [str(pair["only_a"]), str(pair["only_b"])]
    assert PAGES["ten"].count('class="systems"') == 4  # two tests, development, candidates


def test_the_development_table_has_finalists_and_baselines_and_says_what_the_winner_loses() -> None:
    found = rows(PAGES["usual"], "development")
    winner = USUAL["winner"]
    assert found[f"winner 最良候補 candidate {winner['number']}"][:3] == [
        f"{winner[key]:.3f}" for key in ("search", "held_out", "all")
    ]
    assert sum(name.startswith("candidate ") for name in found) == 8
    assert list(found)[-5].startswith("uniform merge") and list(found)[-1].startswith("base")
    fall = f"the winner {winner['search']:.3f} and {winner['held_out']:.3f}"
    assert fall in words(PAGES["usual"]) and "winner's curse" in words(PAGES["usual"])
    scores = copy.deepcopy(USUAL)
    for one in [scores["winner"], *scores["baselines"]]:
        one["held_out"] = None
    assert curse(scores).startswith("No question was held out")
    assert "–" in rows(drawn(scores), "development")["base 基盤モデル"]


def test_several_objectives_have_columns_and_a_front_in_place_of_the_best_so_far() -> None:
    page = PAGES["several"]
    assert all(objective in words(page) for objective in TWO)
    assert len(rows(page, "development")["base 基盤モデル"]) == 6
    assert "candidates on two objectives" in page and "fitness over candidates" not in page
    assert page.count("importance of the parameters: ") == 2


def test_candidates_are_counted_and_timed() -> None:
    found = rows(PAGES["usual"], "searches")
    trials = [history["trials"] for history in USUAL["searches"]]
    fresh = [[t for t in part if t["duplicate_of"] is None] for part in trials]
    assert found["candidates 候補"] == ["200", "200"]
    assert found["failed 失敗"] == [str(sum(t["state"] == "fail" for t in part)) for part in fresh]
    assert found["stopped early 途中打切"] == [str(sum(t["state"] == "pruned" for t in part)) for part in fresh]
    seconds = [s for s in made.timings(USUAL)["candidates"]["search"] if s is not None]
    assert found["a minute 毎分"][0] == f"{60 * len(seconds) / sum(seconds):.3g}"
    assert re.search(
        r"Why candidates failed \(\d+\) 失敗の理由 *\d+ × weights that are no numbers", words(PAGES["usual"])
    )


# plots and recipe


def test_every_candidate_is_in_the_history() -> None:
    plot = next(p for p in re.findall(r"<svg.*?</svg>", PAGES["usual"]) if 'aria-label="fitness over candidates"' in p)
    tips = [t.text or "" for t in ET.fromstring(plot).iter("{http://www.w3.org/2000/svg}title")]
    for name in ("cmaes", "random search"):
        assert {int(m[1]) for t in tips if (m := re.match(rf"{name}, candidate (\d+): ", t))} == set(range(200))


def test_parameters_stand_by_importance_and_the_rest_is_folded_away() -> None:
    plots = [p for p in re.findall(r"<svg.*?</svg>", PAGES["forty"]) if "parallel coordinates" in p]
    assert len(plots) == 2 and "17 less important parameters" in PAGES["forty"]
    first = next(iter(CASES["forty"]["searches"][0]["importances"][0]))
    tips = [t.text or "" for t in ET.fromstring(plots[0]).iter("{http://www.w3.org/2000/svg}title")]
    assert next(t for t in tips if re.search(r": 0 to [12]$", t)) in (f"{first}: 0 to 1", f"{first}: 0 to 2")
    assert "Too few candidates were evaluated to the end" in words(PAGES["few"])


def test_each_parent_has_its_contribution_and_its_parameters() -> None:
    text = words(PAGES["usual"])
    for one in USUAL["ablation"]:
        assert f"{one['parent']}: {signed(one['difference'])}, fitness {one['all']:.4f} without it" in text
        assert f"weight.{one['parent']} = " in text
    scores = copy.deepcopy(USUAL)
    scores["ablation"][1] |= {"all": None, "difference": None, "reason": "the weights sum to 0 <here>"}
    text = words(drawn(scores))
    assert f"Without {scores['ablation'][1]['parent']}: the weights sum to 0 <here>" in text
    scores["ablation"] = scores["ablation"][1:2]
    assert "Nothing could be asked." in words(drawn(scores))
    scores["ablation"] = []
    assert "The method gives parents no weight." in words(drawn(scores))
    scores["winner"]["values"]["lambda"] = 2.0
    assert "wider ones may hold better merges:" in words(drawn(scores))


def test_the_recipe_can_be_copied_as_it_is() -> None:
    found = re.search(r'<pre class="recipe" tabindex="0">(.*?)</pre>', PAGES["usual"], flags=re.S)
    assert found is not None
    assert read(f"<pre>{found[1]}</pre>").text == USUAL["recipe"]
