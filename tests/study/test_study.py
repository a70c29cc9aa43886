from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikyoku import offline
from ikyoku.errors import OfflineError, RunError, SpecError
from ikyoku.search.samplers import SamplerName
from ikyoku.search.space import Parameter, Space, uniform
from ikyoku.study import Candidate, Study, open_study
from ikyoku.study.storages import open_storage

SPACE = Space(tuple(Parameter(f"weight.{name}", 0.0, 1.0) for name in "abcd"))
BOTH = {"directions": ("maximize", "minimize"), "metrics": ("right", "wrong")}

# A cheap fitness of 30 questions, which says at each candidate that it was begun; a child runs it, and is killed.
SEARCH = """
import sys, time
from pathlib import Path
from ikyoku.search.space import Parameter, Space
from ikyoku.study import open_study

def search(study, note=lambda number: None, pause=0.0):
    while candidate := study.ask():
        note(candidate.number)
        time.sleep(pause)
        off = sum(abs(v - 0.2 * k) for k, v in enumerate(candidate.values.values()))
        if len(study.directions) > 1:
            study.tell(candidate, (1 - off, candidate.values["weight.a"]))
            continue
        for step in range(30):
            if candidate.report(step, 1.0 - off * (1 + step % 3 - step / 100)):
                study.tell(candidate, state="pruned")
                break
        else:
            study.tell(candidate, candidate.mean)
"""
CHILD = (
    SEARCH
    + """
begun = open(sys.argv[1], "a")
linger = int(sys.argv[4])
def note(number):
    global linger
    begun.write(f"{number}\\n")
    begun.flush()
    linger -= 1
    time.sleep(0.0 if linger else 300.0)  # to be killed over this one
while not Path(sys.argv[5]).exists():
    time.sleep(0.001)
space = Space(tuple(Parameter(f"weight.{name}", 0.0, 1.0) for name in "abcd"))
options = eval(sys.argv[3])
with open_study(sys.argv[2], "test", space, **options) as study:
    search(study, note, pause=0.02)
"""
)
_names: dict[str, Any] = {}
exec(SEARCH, _names)
search: Callable[[Study], None] = _names["search"]


def _outcomes(study: Study) -> list[tuple[int, dict[str, float], list[float] | None, str]]:
    return [(r["number"], r["values"], r["fitness"], r["state"]) for r in study.records()]


@pytest.mark.parametrize(
    ("sampler", "kills", "more"),
    [
        ("cmaes", (13, 29), {"first": uniform(SPACE)}),
        ("tpe", (23,), {}),
        ("random", (23,), {}),
        ("nsga2", (23,), {}),
        ("nsga2", (31,), BOTH),
    ],
    ids=["cmaes", "tpe", "random", "nsga2", "nsga2 of two"],
)
def test_a_killed_search_goes_on_as_if_nothing_had_been(
    sampler: SamplerName, kills: tuple[int, ...], more: dict[str, Any], child: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"sampler": sampler, "trials": 45, "seed": 3, **more}
    with open_study(f"journal:{tmp_path / 'whole'}", "test", SPACE, **options) as study:
        search(study)
        whole = _outcomes(study)

    begun, storage = tmp_path / "begun", f"journal:{tmp_path / 'killed'}"
    for lines in kills:
        child(CHILD, str(begun), storage, repr(options), "0", str(begun)).kill_at(begun, lines)
    with open_study(storage, "test", SPACE, **options) as study:
        assert 20 < study.finished < 45
        search(study)
        assert _outcomes(study) == whole
        assert [r["attempts"] for r in study.records()].count(2) >= 1
        assert study.ask() is None
    if len(whole[0][2] or ()) == 1 and sampler != "random":
        assert any(state == "pruned" for *_, state in whole)
        assert max(whole, key=lambda o: (o[2] or [0])[0])[0] > 15  # it has learned something


def test_a_sqlite_file_does_the_same(child: Callable[..., Any], tmp_path: Path) -> None:
    options = {"trials": 16, "seed": 3}
    with open_study(tmp_path / "whole.db", "test", SPACE, **options) as study:
        search(study)
        whole = _outcomes(study)
    begun, file = tmp_path / "begun", tmp_path / "killed.db"
    child(CHILD, str(begun), f"sqlite:///{file}", repr(options), "7", str(begun)).kill_at(begun, 7)
    with open_study(file, "test", SPACE, **options) as study:
        search(study)
        assert _outcomes(study) == whole


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_processes_join_and_one_dies(kind: str, child: Callable[..., Any], tmp_path: Path) -> None:
    options = {"trials": 40, "join": True, "heartbeat": 0.2}
    file = tmp_path / "study"
    storage = f"journal:{file}" if kind == "journal" else f"sqlite:///{file}"
    lists = [tmp_path / "one", tmp_path / "two"]
    one, two = (child(CHILD, str(lists[k]), storage, repr(options), "70"[k], str(lists[1 - k])) for k in range(2))
    one.kill_at(lists[0], 7)
    two.finish()
    with open_study(storage, "test", SPACE, trials=40) as study:
        records = study.records()
        assert study.done
        assert study.ask() is None
    begun = [[int(line) for line in path.read_text().split()] for path in lists]
    last = begun[0][-1:]
    assert [r["number"] for r in records] == list(range(40))
    assert {r["state"] for r in records} <= {"complete", "pruned"}
    assert sorted(begun[0] + begun[1]) == sorted([*range(40), *last])  # the one that it was killed over, and no other
    assert [r["number"] for r in records if r["attempts"] > 1] == last
    assert len({r["worker"] for r in records}) == 2
    assert len({json.dumps(r["values"]) for r in records}) == 40


def test_who_was_taken_for_dead_counts_no_more(tmp_path: Path) -> None:
    with open_study(tmp_path / "db", "test", SPACE, trials=2) as slow:
        lost = slow.ask()
        with open_study(tmp_path / "db", "test", SPACE, trials=2) as quick:  # without join: alone, so the other is dead
            again = quick.ask()
            assert lost and again
            assert (again.number, again.values) == (lost.number, lost.values)
            assert quick.tell(again, 0.5)
        assert not slow.tell(lost, 0.9)
        assert slow.records()[0]["fitness"] == [0.5]


def test_a_candidate_that_kills_is_given_up(tmp_path: Path) -> None:
    for _ in range(5):
        study = open_study(tmp_path / "db", "test", SPACE, trials=3)
        candidate = study.ask()
        assert candidate and candidate.number == 0
        study.close()
    with open_study(tmp_path / "db", "test", SPACE, trials=3) as study:
        candidate = study.ask()
        assert candidate and candidate.number == 1
        first = study.records()[0]
        assert (first["state"], first["reason"], first["fitness"]) == ("fail", "5 processes died over it", None)


def test_failures_are_survived_until_there_are_too_many(tmp_path: Path) -> None:
    with open_study(tmp_path / "db", "test", SPACE, trials=30) as study:
        for number in range(5):
            candidate = study.ask()
            assert candidate
            if number < 4:
                study.tell(candidate, state="fail", reason="out of memory")
            else:
                study.tell(candidate, float("nan"))
        candidate = study.ask()
        assert candidate
        study.tell(candidate, 0.25)
        assert [r["reason"] for r in study.records()][3:] == [
            "out of memory",
            "its fitness is not a finite number",
            None,
        ]
        assert study.best()[0]["fitness"] == [0.25]
        for _ in range(9):
            candidate = study.ask()
            assert candidate
            study.tell(candidate, state="fail", reason="out of memory")
        candidate = study.ask()
        assert candidate
        with pytest.raises(RunError, match=r"^10 candidates in a row failed, the last one: out of memory\. "):
            study.tell(candidate, state="fail", reason="out of memory")
        assert study.finished == 16
    with open_study(tmp_path / "db", "test", SPACE, trials=30) as study:
        candidate = study.ask()
        assert candidate and candidate.number == 16


def test_a_duplicate_is_not_evaluated_twice(tmp_path: Path) -> None:
    step = Space((Parameter("weight.a", 0.0, 2e-6), Parameter("fixed", 0.5, 0.5)))  # three values, after rounding
    asked = []
    with open_study(tmp_path / "db", "test", step, sampler="random", trials=12) as study:
        while candidate := study.ask():
            asked.append(candidate.values["weight.a"])
            assert candidate.values["fixed"] == 0.5
            study.tell(candidate, asked[-1] * 1e6)
        records = study.records()
        assert sorted(asked) == [0.0, 1e-6, 2e-6]
        assert len(records) == 12
        assert sum(r["duplicate_of"] is not None for r in records) == 9
        for record in records:
            original = records[record["number"] if record["duplicate_of"] is None else record["duplicate_of"]]
            assert (record["values"], record["fitness"]) == (original["values"], original["fitness"])
            assert original["duplicate_of"] is None
        assert [r["fitness"] for r in study.best(5)] == [[2.0], [1.0], [0.0]]


def test_what_is_clearly_worse_is_pruned(tmp_path: Path) -> None:
    with open_study(tmp_path / "db", "test", SPACE, sampler="random", trials=10) as study:
        best = study.ask()
        assert best
        assert not any(best.report(step, 0.9 - step / 100) for step in range(40))
        study.tell(best, best.mean)

        equal = study.ask()
        assert equal
        assert not any(equal.report(step, 0.9 - step / 100) for step in range(40))
        study.tell(equal, equal.mean)

        loser = study.ask()
        assert loser
        stop = next(step for step in range(40) if loser.report(step, 0.7 - step / 100))
        assert 9 <= stop < 20
        assert loser.estimate == pytest.approx(best.mean - 0.2)
        study.tell(loser, state="pruned")
        record = study.records()[2]
        assert (record["state"], record["fitness"]) == ("pruned", [pytest.approx(0.7 - stop / 200)])
        assert record["fitness"][0] > best.mean - 0.2  # its questions were the easy ones: what samplers learn is less
        assert study.items(2) == {step: 0.7 - step / 100 for step in range(stop + 1)}
        assert [r["number"] for r in study.best(5)] == [0, 1]

        many = study.ask()
        assert many
        assert many.reports(dict.fromkeys(range(20), 0.0))


def test_no_pruning_where_it_is_off_or_objectives_are_two(tmp_path: Path) -> None:
    for name, more in (("off", {"prune": False}), ("two", {**BOTH, "sampler": "nsga2"})):
        with open_study(tmp_path / "db", name, SPACE, trials=3, **more) as study:
            for value in (1.0, 0.0):
                candidate = study.ask()
                assert candidate
                assert not any(candidate.report(step, value) for step in range(30))
                study.tell(candidate, [value] * len(study.directions))


def test_records_are_plain_and_the_best_comes_first(tmp_path: Path) -> None:
    with open_study(tmp_path / "db", "test", SPACE, trials=25, **BOTH, sampler="random") as study:
        assert study.progress() == {"finished": 0, "trials": 25, "best": None, "per_minute": None, "seconds_left": None}
        assert (study.best(), study.importances(), study.done) == ([], None, False)
        search(study)
        assert study.done
        assert json.loads(json.dumps(study.records())) == study.records()
        best = study.best(25)
        assert len(best) == 25
        assert not any(
            r["fitness"][0] > best[0]["fitness"][0] and r["fitness"][1] < best[0]["fitness"][1] for r in best
        )
        progress = study.progress()
        assert (progress["finished"], progress["seconds_left"]) == (25, 0.0)
        assert progress["per_minute"] > 0
        shares = study.importances(1)
        assert shares is not None
        assert next(iter(shares)) == "weight.a"
        assert sum(shares.values()) == pytest.approx(1)
        assert shares == study.importances(1)


def test_another_study_of_the_name_is_refused(tmp_path: Path) -> None:
    with open_study(tmp_path / "db", "test", SPACE, fingerprint="a"):
        pass
    with pytest.raises(RunError, match="the study test there is another one, with other things that"):
        open_study(tmp_path / "db", "test", SPACE, fingerprint="b")
    other = Space((Parameter("weight.a", 0.0, 2.0), *SPACE.parameters[1:]))
    with pytest.raises(RunError, match="another one, with other space, seed"):
        open_study(tmp_path / "db", "test", other, fingerprint="a", seed=1)
    with open_study(tmp_path / "db", "another", other):
        pass


def test_others_trials_are_left_alone(tmp_path: Path) -> None:
    import optuna

    with open_study(tmp_path / "db", "test", SPACE, trials=2) as study:
        theirs = optuna.load_study(study_name="test", storage=f"sqlite:///{tmp_path / 'db'}")
        assert theirs.metric_names == ["fitness"]
        theirs.enqueue_trial(dict.fromkeys(SPACE.names, 0.5))
        search(study)
        assert study.finished == 2
        assert theirs.best_value == study.best()[0]["fitness"][0]
        assert theirs.trials[1].user_attrs == {"worker": study.worker}


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cmaes searches for one objective"):
        open_study(tmp_path / "db", "test", SPACE, **BOTH)
    with pytest.raises(SpecError, match="named objectives"):
        open_study(tmp_path / "db", "test", SPACE, metrics=())
    with open_study(tmp_path / "db", "test", SPACE, trials=1) as study:
        candidate = study.ask()
        assert isinstance(candidate, Candidate)
        with pytest.raises(RuntimeError, match="never told"):
            study.ask()
        with pytest.raises(ValueError, match="2 values for 1 objectives"):
            study.tell(candidate, (1.0, 2.0))
        with pytest.raises(ValueError, match="no mean"):
            study.tell(candidate, state="pruned")


# storages


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://me:geheim@db/evolve", "the address holds a password, which would be on record"),
        ("postgresql://me@db/evolve?password=geheim", "the address holds a password"),
        ("postgresql://me@db/evolve?sslpassword=geheim", "the address holds a password"),
        ("mysql://me@db/evolve", "mysql is not supported. Give a path, sqlite:///FILE"),
        ("study.db", "not an address"),
        ("sqlite://", "a study is kept in a file"),
        ("sqlite:////nowhere/at/all/study.db", "/nowhere/at/all: no such folder"),
        ("journal:/nowhere/at/all/study", "/nowhere/at/all: no such folder"),
        ("postgresql://me@a,b/evolve", "several hosts|not an address"),
        ("postgresql:///evolve?host=10.0.0.1,10.0.0.2", "several hosts"),
        ("postgresql://me@localhost/evolve?hostaddr=192.0.2.1", "hostaddr is set"),
        ("postgresql:///evolve?service=outside", "service is set"),
    ],
)
def test_addresses_that_are_refused(address: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        open_storage(address)
    assert "geheim" not in str(caught.value)


def test_a_database_outside_is_refused(monkeypatch: pytest.MonkeyPatch, expect_refusal: Any) -> None:
    with pytest.raises(OfflineError, match=r"192\.0\.2\.1 is outside the hospital"):
        open_storage("postgresql://me@192.0.2.1/evolve")
    monkeypatch.setenv("PGHOST", "192.0.2.2")
    with pytest.raises(OfflineError, match=r"192\.0\.2\.2 is outside the hospital"):
        open_storage("postgresql:///evolve")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.3")
    with pytest.raises(SpecError, match="hostaddr is set, by the address or as PGHOSTADDR"):
        open_storage("postgresql://me@localhost/evolve")
    assert offline.is_on()


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "geheim")
    with pytest.raises(RunError, match=r"postgresql\+psycopg://me@127\.0\.0\.1:9/evolve: .* refused") as caught:
        open_storage("postgresql://me@127.0.0.1:9/evolve")
    assert "geheim" not in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all, but long enough to be taken for one" * 30)
    with pytest.raises(RunError, match=r"broken\.db: .* not a database\. It is damaged, or something else"):
        open_study(broken, "test", SPACE)

    whole = tmp_path / "whole.db"
    with open_study(whole, "test", SPACE, trials=4) as study:
        search(study)
    content = whole.read_bytes()
    whole.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(RunError, match=r"whole\.db: .* It is damaged"):
        open_study(whole, "test", SPACE, trials=4)

    journal = tmp_path / "journal"
    journal.write_text('{"op_code": 0,\n{"op_code"\n')
    with pytest.raises(RunError, match=r"journal: .* It is damaged"):
        open_study(f"journal:{journal}", "test", SPACE)


def test_a_journal_that_a_power_cut_left_unfinished(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    with open_study(f"journal:{file}", "test", SPACE, trials=4) as study:
        search(study)
        before = _outcomes(study)
    with file.open("a") as journal:
        journal.write('{"op_code":4,"worker_')
    with open_study(f"journal:{file}", "test", SPACE, trials=6) as study:
        search(study)
        assert _outcomes(study)[:4] == before
        assert study.finished == 6


def test_a_journal_that_another_process_left_unfinished(tmp_path: Path) -> None:
    """Its disk was full, say. Others go on, and what they write can be read."""
    file = tmp_path / "journal"
    with open_study(f"journal:{file}", "test", SPACE, trials=4, join=True, heartbeat=60.0) as study:
        first = study.ask()
        assert first
        with file.open("a") as journal:
            journal.write('{"op_code":4,"worker_')
        assert study.tell(first, 0.5)
        search(study)
        before = _outcomes(study)
    with open_study(f"journal:{file}", "test", SPACE, trials=4) as study:
        assert study.done
        assert _outcomes(study) == before


def test_a_file_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikyoku.study.storages._PATIENCE", 0.1)
    with open_study(tmp_path / "db", "test", SPACE, trials=4) as study:
        candidate = study.ask()
        assert candidate
        other = sqlite3.connect(tmp_path / "db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunError, match=r"db: .* locked\. Another program holds it"):
            study.tell(candidate, 0.5)
        other.rollback()
        other.close()
        assert study.tell(candidate, 0.5)


def test_nothing_warns_and_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_study(tmp_path / "db", "test", SPACE, trials=12) as study:
            search(study)
    assert capfd.readouterr() == ("", "")
