"""README.md of a merged model: its parents, their licences together, the recipe, and what the model is not.

No path of this machine stands in it: models are named by their hub id or their folder's name. What comes from elsewhere
(names, licences, templates) is escaped, so that it can neither format the page nor add to its front matter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikyoku.licences import DISCLAIMER, Terms, combined, find, recognised
from ikyoku.recipe import method_of, model_reference, models_of, recipe_yaml
from ikyoku.specs.recipe import RecipeSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?", re.ASCII)
_MARKDOWN = re.compile(r"https?://[\w./%-]+|([\\`*_\[\]<>#|~&])", re.ASCII)  # addresses stay as they are
_KEYS = ("model", "base_model", "tokenizer_source", "source")  # of a recipe, that name a model
_TERMS = "terms-of-all-parents"
"""The `license_name` of a merge under several licences; `parent_licenses` lists them, for a merge of this merge."""
_READ = 1 << 16  # characters; a front matter and a licence's title stand well before
_TEXT = re.compile(r"licen[cs]e|copying|terms|notice|.*use[-_ ]?policy", re.IGNORECASE)
_LONGEST_TEXT = 1 << 20  # bytes; what is longer is no licence
_TEXTS_HERE = "What the parents' folders hold of licences, notices and rules of use lies in `licences/`."
_NO_TEXTS = "No parent's folder holds a licence's text: add the texts from where the models come from."
_NOT_A_DEVICE = (
    "**Not a medical device.** This model was put together from others by arithmetic on their weights. Nothing on this "
    "page says how good it is, or safe. What it writes is a draft, which a physician checks before it is used.",
    "**医療機器ではありません。** 本モデルの出力は下書きです。使用する前に必ず医師が内容を確認してください。",
)


@dataclass(frozen=True, slots=True)
class CardParent:
    """A model that was merged, or that the output was built on.

    Attributes:
        model: as the recipe names it, `PATH` or `PATH+ADAPTER`.
        licences: what `licence_of` found in the model's folder, and in the adapter's.
        sha256: of the model's files, and of the adapter's; see `provenance.sha256_of`.
    """

    model: str
    licences: tuple[str, ...]
    sha256: tuple[str, ...]


def licence_of(*folders: Path) -> tuple[str, ...]:
    """Returns the licences that the folders of a model and its adapter state, as `licences.find` takes them.

    Of each folder the front matter of README.md is read (`license`, and `license_name` where that is "other"), then the
    beginning of a file named LICENSE, COPYING or the like; "" stands for a folder that states none.
    """
    return tuple(dict.fromkeys(name for folder in folders for name in _stated(folder)))


def _stated(folder: Path) -> tuple[str, ...]:
    matter = _front_matter(folder / "README.md")
    given = matter.get("parent_licenses" if matter.get("license_name") == _TERMS else "license")
    given = given if isinstance(given, list) else [given]
    names = [str(name).strip() for name in given if isinstance(name, str | int | float)]
    if matter.get("license_name") == _TERMS:
        return tuple(names) or ("",)
    names = [name for name in names if name.lower() not in ("", "other", "unknown")]
    if not names and isinstance(name := matter.get("license_name"), str) and name.strip():
        names = [name.strip()]
    if names and all(find(name) for name in names):
        return tuple(names)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    texts = [file for file in files if re.match(r"licen[cs]e|copying|terms", file.name, re.IGNORECASE)]
    for file in texts:
        if known := recognised(_beginning(file)):
            return (*names, known)
    return tuple(names) or ((f"in {texts[0].name}",) if texts else ("",))


def licence_texts(folders: Mapping[str, Iterable[Path]]) -> dict[str, bytes]:
    """Returns the licences, notices and rules of use that lie in the models' folders, to lay beside the merged model.

    Args:
        folders: of each model, by its name in the recipe: where it lies, and where the adapter in it does.

    Returns:
        What each file holds, by its path in the output, `licences/MODEL/FILE`; a text that several models have stands
        under the first of them. A merge's own `licences/` are carried on.
    """
    names = _names(folders)
    found: dict[str, bytes] = {}
    for model, places in folders.items():
        for place in places:
            for file in _texts(place):
                data = file.read_bytes()
                if data not in found.values():
                    owner = names[model] if file.parent == place else file.parent.name
                    found.setdefault(f"licences/{_file_name(owner)}/{_file_name(file.name)}", data)
    return found


def _texts(folder: Path) -> list[Path]:
    """The files of a model that are to go with what is made of it."""
    own = [path for path in folder.iterdir() if _TEXT.match(path.name)] if folder.is_dir() else []
    return [path for path in sorted((*own, *folder.glob("licences/*/*"))) if _is_text(path)]


def _is_text(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _LONGEST_TEXT and os.access(path, os.R_OK)
    except OSError:
        return False


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.+()-]+", "--", text).strip(".-") or "model"


def model_card(
    recipe: RecipeSpec,
    parents: Sequence[CardParent],
    *,
    name: str,
    version: str,
    into: str | None = None,
    seed: int = 0,
    coverage: str = "",
    notes: Iterable[str] = (),
    texts: Collection[str] = (),
) -> str:
    """Returns the model card of a merged model as Markdown with the Hub's front matter.

    Args:
        recipe: the recipe.
        parents: every model that was read, the base and the one that the output is built on among them.
        name: of the merged model; its folder's name.
        version: of ikyoku.
        into: the model that the output is built on, as `parents` names it.
        seed: of random masks; said where the method draws.
        coverage: what was merged and what was kept, from the plan.
        notes: what the recipe says without effect.
        texts: the files of `licence_texts` that lie beside the card.
    """
    names = _names([*(parent.model for parent in parents), *_references(recipe)])
    terms = combined(licence for parent in parents for licence in parent.licences or ("",))
    method = method_of(recipe)
    title = _escaped(name)
    parts = [
        _head(parents, terms),
        f"# {title}",
        f"A merge of {len(parents)} models, made with ikyoku {_escaped(version)}.",
        *((_escaped(_renamed(coverage, names)),) if coverage else ()),
        "\n\n".join(f"> {line}" for line in _NOT_A_DEVICE),
        "## Parents",
        _table(recipe, parents, names, into),
        "Licences are those that the models' own folders state; a tuned model also owes what its base asks for.",
        "## Licence",
        DISCLAIMER,
        _listed(_licence_sentences(name, terms)),
        _TEXTS_HERE if texts else _NO_TEXTS,
        "## Method",
        _method(recipe, method.title, method.reference, seed if method.draws else None),
        "## Recipe",
        "Models are named by their hub id, or by the last part of their path.",
        _fenced(recipe_yaml(_with_names(recipe, names))),
        *((_listed(_escaped(_renamed(note, names)) for note in notes),) if (notes := tuple(notes)) else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _head(parents: Sequence[CardParent], terms: Terms) -> str:
    """The front matter: identifiers of the Hub's, and licences' names without any character that means something."""
    paths = [path for parent in parents for path in model_reference(parent.model) if path]
    hub = [path.partition("@")[0] for path in dict.fromkeys(paths) if _on_the_hub(path)]
    lines = ["---"]
    if hub:
        lines += ["base_model:", *(f"- {path}" for path in hub)]
    lines += ["library_name: transformers", f"license: {terms.label}"]
    if terms.label == "other":
        known = [licence.id for licence in terms.licences]
        other = [" ".join(re.sub(r"[^\w.+-]", " ", name).split()) for name in terms.unknown]
        lines += [f"license_name: {_TERMS}", "parent_licenses:", *(f'- "{name}"' for name in (*known, *other))]
    return "\n".join([*lines, "tags:", "- merge", "- ikyoku", "---"])


def _table(recipe: RecipeSpec, parents: Sequence[CardParent], names: Mapping[str, str], into: str | None) -> str:
    bases = {recipe.base_model, *(piece.base_model for piece in recipe.slices)}
    merged = set(models_of(recipe))
    rows = ["| Model | Part | Licence | SHA-256 |", "| --- | --- | --- | --- |"]
    for parent in parents:
        part = ["base" if parent.model in bases else "merged"] if parent.model in merged else []
        part += ["the output is built on it"] if parent.model == into else []
        licences = ", ".join(_licence(name) for name in dict.fromkeys(parent.licences or ("",)))
        shown = _escaped(names[parent.model])
        rows.append(
            f"| {shown} | {', '.join(part) or 'read'} | {licences} | {' + '.join(map(_escaped, parent.sha256))} |"
        )
    return "\n".join(rows)


def _licence(name: str) -> str:
    known = find(name)
    if known is None:
        return _escaped(name) or "not stated"
    return f"[{_escaped(known.name)}]({known.url})" if known.url else _escaped(known.name)


def _licence_sentences(name: str, terms: Terms) -> list[str]:
    sentences = [_escaped(sentence) for sentence in terms.sentences]
    if terms.begins and not name.startswith(terms.begins):
        sentences.insert(
            0, f"**Rename it before it is passed on**: {_escaped(name)} does not begin with {terms.begins}."
        )
    return sentences or ["The parents' licences ask for nothing."]


def _method(recipe: RecipeSpec, title: str, reference: str, seed: int | None) -> str:
    drawn = "" if seed is None else f" What is dropped at random follows from the seed, {seed}."
    return f"{title} (`{recipe.merge_method}`): {_escaped(reference)}.{drawn} Arithmetic in float32."


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def _escaped(text: str) -> str:
    """A text on one line in which nothing is Markdown or HTML."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text).strip()
    return _MARKDOWN.sub(lambda found: f"\\{found[1]}" if found[1] else found[0], line)


def _front_matter(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", _beginning(path), re.DOTALL)
    if not found:
        return {}
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True
    try:
        value = yaml.load(found[1])
    except (YAMLError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_READ)
    except OSError:
        return ""


def _on_the_hub(path: str) -> bool:
    return bool(_HUB_ID.fullmatch(path)) and not Path(path).exists()


def _references(recipe: RecipeSpec) -> list[str]:
    """Every text of a recipe that names a model, union and base among them."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in _KEYS and isinstance(inner, str):
                    found.append(inner)
                else:
                    walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)

    walk(recipe.model_dump())
    return list(dict.fromkeys(found))


def _names(models: Iterable[str]) -> dict[str, str]:
    """What each model is called: hub ids as they are, folders by the last part, or up to three that tell them apart."""
    models = list(dict.fromkeys(models))
    paths = list(dict.fromkeys(path for model in models for path in model_reference(model) if path))
    ends = {path: Path(path).parts or Path(path).resolve().parts for path in paths if not _on_the_hub(path)}
    ends = {path: tuple(p.strip("@") for p in parts if p.strip("/\\~.@")) or ("model",) for path, parts in ends.items()}
    shown: dict[str, str] = {}
    for path in paths:
        if path not in ends:
            shown[path] = path
            continue
        tried = ["/".join(ends[path][-count:]) for count in (1, 2, 3)]
        others = [["/".join(end[-count:]) for count in (1, 2, 3)] for p, end in ends.items() if p != path]
        taken = {path for path in paths if path not in ends}  # hub ids
        alone = [text for at, text in enumerate(tried) if text not in {one[at] for one in others} | taken]
        shown[path] = alone[0] if alone else f"{tried[0]}-{len(shown) + 1}"
    return {model: "+".join(shown[path] for path in model_reference(model) if path) for model in models}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """A sentence with the models' names in place of their paths, the longest first, and no other path from the root."""
    for model in sorted(names, key=len, reverse=True):
        if names[model] != model:
            whole = rf"(?<![\w./~+-]){re.escape(model)}(?![\w/-])"  # "." is a model too, and ends sentences
            text = re.sub(whole, names[model].replace("\\", r"\\"), text)
    return re.sub(r"(?<![\w.~/])~?/(?:[^\s/]+/)*([^\s/]+)", r"\1", text)


def _with_names(recipe: RecipeSpec, names: Mapping[str, str]) -> RecipeSpec:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: names[inner] if key in _KEYS and isinstance(inner, str) else walk(inner)
                for key, inner in value.items()
            }
        return [walk(inner) for inner in value] if isinstance(value, list | tuple) else value

    values = walk(recipe.model_dump())
    template = recipe.chat_template or ""
    if template.endswith(".jinja") and not re.search(r"[\n{]", template):
        values["chat_template"] = Path(template).name
    return RecipeSpec.model_validate(values)
