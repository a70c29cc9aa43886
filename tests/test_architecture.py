"""The shape of the design, as tests: layers, sizes, names, what may be imported where, what the repository holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ikyoku import specs
from ikyoku.jobs import VERBS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ikyoku"
MODULES = sorted(SOURCE.rglob("*.py"))
EACH_MODULE = pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(SOURCE).as_posix())

MOST_LINES, MOST_BODY, MOST_FIELDS = 400, 60, 15
LONGER_MODULES: dict[str, str] = {"lab/facts.py": "a table of facts, one a line, and little code"}
LONGER_FUNCTIONS: dict[str, str] = {}
LARGER_SPECS = {"TuneSpec": "the numbers of one training, as papers print them, and what is asked beside a picture"}
HEAVY = {
    "accelerate",
    "bitsandbytes",
    "datasets",
    "optuna",
    "peft",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "torch",
    "transformers",
    "trl",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, Function))


def _body_lines(function: Function) -> int:
    """The lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """The public functions and classes of a module, and the public methods of its public classes."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield inside + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{inside}{node.name}.")


@cache
def _repository_files() -> tuple[Path, ...]:
    """The files that git tracks, and those that it would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout here")
    return tuple(path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file())


# layers


def test_imports_go_down_the_layers() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_a_layer() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    layered = {name for layer in contract["layers"] for name in layer.split(" | ")}
    found = {f"ikyoku.{p.stem}" for p in SOURCE.glob("[!_]*.py")} | {
        f"ikyoku.{p.parent.name}" for p in SOURCE.glob("*/")
    }
    found |= {f"ikyoku.{p.parent.name}" for p in SOURCE.glob("*/__init__.py")}
    found -= {"ikyoku.ikyoku", "ikyoku.__pycache__"}
    assert sorted(found - layered) == []
    assert sorted(layered - found) == []


def _at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported: not those in functions or for the type checker alone."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _at_import(node.orelse)
        elif not isinstance(node, Function):
            for part in ("body", "orelse", "finalbody", "handlers"):
                for inner in getattr(node, part, []):
                    yield from _at_import([inner] if isinstance(inner, ast.stmt) else inner.body)


@EACH_MODULE
def test_no_heavy_library_is_imported_with_a_module(path: Path) -> None:
    names: list[str] = []
    for node in _at_import(_tree(path).body):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif not node.level:
            names.append(node.module or "")
    assert sorted({name.split(".")[0] for name in names} & HEAVY) == []


def test_the_check_for_heavy_imports_sees_them() -> None:
    code = "import a\ntry:\n    import b\nexcept ImportError:\n    import c\nclass D:\n    import d\n"
    code += (
        "def f():\n    import e\nif TYPE_CHECKING:\n    import g\nelse:\n    import h\nwith x:\n    from i import j\n"
    )
    found = [ast.unparse(node) for node in _at_import(ast.parse(code).body)]
    assert found == ["import a", "import b", "import c", "import d", "import h", "from i import j"]


# sizes


@EACH_MODULE
def test_modules_are_short(path: Path) -> None:
    name = path.relative_to(SOURCE).as_posix()
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert (lines > MOST_LINES) == (name in LONGER_MODULES), f"{name}: {lines} lines"


@EACH_MODULE
def test_functions_are_short(path: Path) -> None:
    name = path.relative_to(SOURCE).as_posix()
    lengths = {f"{name}:{f.name}": _body_lines(f) for f in _functions(path)}
    assert {n: k for n, k in lengths.items() if k > MOST_BODY and n not in LONGER_FUNCTIONS} == {}


@pytest.mark.parametrize("kind", [k for k in vars(specs).values() if isinstance(k, type) and issubclass(k, specs.Spec)])
def test_specs_are_small(kind: type[specs.Spec]) -> None:
    assert (len(kind.model_fields) > MOST_FIELDS) == (kind.__name__ in LARGER_SPECS)


# names and words


@EACH_MODULE
def test_public_names_have_a_docstring(path: Path) -> None:
    bare = [name for name, node in _public(_tree(path).body) if not ast.get_docstring(node)]
    assert (ast.get_docstring(_tree(path)) is not None, bare) == (True, [])


def test_modules_are_named_after_things() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
    parts = {part for path in MODULES for part in path.relative_to(SOURCE).with_suffix("").parts}
    assert sorted(parts & vague) == []


def test_tests_mirror_the_source() -> None:
    beside = {"browser", "contracts", "golden", "gpu", "parity"}
    folders = {p.parent.name for p in (ROOT / "tests").glob("*/test_*.py")} - beside
    assert sorted(folders - {p.parent.name for p in SOURCE.glob("*/__init__.py")}) == []


@pytest.mark.parametrize(("kind", "verb"), VERBS.items(), ids=VERBS.values())
def test_every_job_has_the_same_shape(kind: type[specs.Spec], verb: str) -> None:
    tree = _tree(SOURCE / "jobs" / f"{verb}.py")
    functions: dict[str, Any] = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    wanted = {verb: ["spec", "run"], "inputs": ["spec"]}
    for name, arguments in wanted.items():
        found = functions[name].args.args
        assert [a.arg for a in found] == arguments
        assert ast.unparse(found[0].annotation) == kind.__name__


# the repository


def test_no_path_of_a_machine() -> None:
    places = "|".join(("work", "root", "tmp", "home"))  # put together, so that this file does not hold one itself
    pattern = re.compile(rf"(?<![\w.~}}/-])/(?:{places})/")
    found = []
    for path in _repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        name = path.relative_to(ROOT).as_posix()
        found += [
            f"{name}:{n}: {line.strip()[:80]}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)
        ]
    assert found == []


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def _not_there(tree: str) -> list[str]:
    """The entries of a tree that are not there: an entry a line, folders end in /, notes stand after two spaces."""
    missing: list[str] = []
    above: list[tuple[int, str]] = []  # indentation and path of the folders around an entry
    for line in tree.splitlines():
        entry = re.match(r"([\s│├└─]*)(.*)", line)
        assert entry is not None
        depth, names = len(entry[1]), re.split(r"\s{2,}|\s+#", entry[2].strip())[0].split()
        while above and above[-1][0] >= depth:
            above.pop()
        base = above[-1][1] if above else ""
        for name in names:
            if not re.fullmatch(r"[\w.*/-]*[\w*]+(?:\.\w+|/)", name):
                continue  # a word of a note, an ellipsis
            if not list(ROOT.glob((base + name).rstrip("/"))):
                missing.append(base + name)
            if name.endswith("/"):
                above.append((depth, base + name))
    return missing


def test_the_check_of_a_tree_sees_what_is_not_there() -> None:
    assert (
        _not_there("src/ikyoku/\n  cli.py     the command line: see none.py\n  metrics/   numbers\n    stats.py\n")
        == []
    )
    assert (
        _not_there("├── src/ikyoku/\n│   ├── cli.py  # words\n│   └── jobs/\n│       └── tune.py\n└── LICENSE\n") == []
    )
    assert _not_there("src/ikyoku/\n  none.py cli.py  words\n  metrics/\n    none.py\ntests/\n  cli.py\n") == [
        "src/ikyoku/none.py",
        "src/ikyoku/metrics/none.py",
        "tests/cli.py",
    ]


def test_the_tree_of_the_readme_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    trees = [block for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S) if "src/ikyoku/" in block]
    if not trees:
        pytest.skip("the README shows no tree yet")
    assert [name for tree in trees for name in _not_there(tree)] == []
