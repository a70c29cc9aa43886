"""The proof of no egress: passes on this machine, and does not pass when it should not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ikyoku import offline
from ikyoku.jobs import doctor
from ikyoku.jobs.doctor import Probe, Proof, Step, render
from ikyoku.offline import Attempt

SRC = Path(offline.__file__).parents[1]


def fresh(code: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in offline.VARIABLES}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=clean | {"PYTHONPATH": str(SRC), "HF_ENDPOINT": "https://example.invalid"} | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_proof_passes_and_says_what_it_did() -> None:
    out = fresh(
        """
        import json, os
        from ikyoku.jobs.doctor import offline_proof, render
        told = []
        proof = offline_proof(told.append)
        facts = {"verdict": proof.verdict, "by": [p.refused_by for p in proof.probes], "told": told,
                 "steps": [s.fault for s in proof.steps], "seconds": proof.seconds, "ci": os.environ.get("CI")}
        print(json.dumps(facts))
        print(render(proof))
        """,
        CI="1",
    )
    first, _, page = out.partition("\n")
    facts = json.loads(first)
    assert facts["verdict"] == "PASS"
    assert facts["by"] == ["guard"] * 5 + ["library", "guard"]
    assert facts["steps"] == [None] * 5
    assert facts["ci"] == "1"  # TRL is silent where CI is set: hidden during the job, put back after it
    assert facts["seconds"] < 40
    assert any("LoRA" in line for line in facts["told"])
    for text in ("判定: PASS", "HF_HUB_OFFLINE=1", "trl 1.", "connect 192.0.2.1 port 443", "none (", "strace -f"):
        assert text in page
    assert len(page.splitlines()) < 66 and "NOT REFUSED" not in page


def test_without_the_guard_no_probe_counts_as_refused() -> None:
    """A name that cannot exist fails by itself: that must not be taken for a refusal. Run where there is no network."""
    if subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here (unshare --net), and probes must not go out")
    code = """
        from ikyoku import offline
        from ikyoku.jobs import doctor
        guard = offline.switch_on()
        guard.close()
        probes = [doctor._probed(guard, name, probe) for name, probe in doctor._PROBES.items() if "hub" not in name]
        print([probe.refused_by for probe in probes])
    """
    out = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == str([None] * 5)


def example() -> Proof:
    attempt = Attempt("connect", "192.0.2.1", 443, "ikyoku.jobs.doctor")
    return Proof(
        when=datetime(2026, 11, 22, tzinfo=UTC),
        machine="ward-3",
        platform="Linux",
        python="3.11",
        versions={"trl": "1.16.0"},
        variables=dict(offline.VARIABLES),
        corrected=(),
        probes=(Probe("TCP", "guard", "Refused", (attempt,)),),
        steps=(Step("generate", 0.5),),
        undeclared=(),
        local_connections=0,
        seconds=7.0,
    )


def test_the_commands_it_advises_are_commands() -> None:
    from typer.main import get_command

    from ikyoku.cli import app

    advised = [line.split("ikyoku ", 1)[1] for line in render(example()).splitlines() if " ikyoku " in line]
    assert len(advised) == 2
    group = get_command(app)
    for line in advised:
        verb, *arguments = shlex.split(line)
        with group.make_context("ikyoku", [verb, *arguments]) as context:
            command = group.get_command(context, verb)  # type: ignore[attr-defined]  # a click group
            assert command.make_context(verb, arguments).params["offline"] is True


def test_each_fault_fails_the_proof_and_is_named() -> None:
    good = example()
    assert good.verdict == "PASS" and good.faults == []
    bad = {
        "not refused": replace(good, probes=(Probe("TCP", None, "it succeeded", ()),)),
        "by evil": replace(good, undeclared=(Attempt("getaddrinfo", "hub.invalid", 443, "evil"),)),
        "OSError: no": replace(good, steps=(Step("generate", 0.5, "OSError: no"),)),
        "HF_HUB_OFFLINE": replace(good, variables=dict(offline.VARIABLES) | {"HF_HUB_OFFLINE": "0"}),
    }
    for word, proof in bad.items():
        assert proof.verdict == "FAIL"
        assert word in " ".join(proof.faults)
        assert "判定: FAIL" in render(proof) and proof.faults[0] in render(proof)


def test_a_failing_step_is_reported_not_raised(tmp_path: Path) -> None:
    (tmp_path / "base").write_text("a file where the model's folder should be")
    steps = doctor._run_job(tmp_path, lambda line: None)
    assert [step.fault is None for step in steps] == [True, False]  # nothing is saved, loading fails, the rest is left
