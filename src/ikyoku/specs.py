"""What is asked of a job: the specs. The same object is the YAML file, the Python argument and the record of a run.

Unknown keys are refused with the nearest valid one; values are not guessed ("fast" is not a learning rate, `no` stays a
text). Relative paths in a spec file are taken from the folder the command runs in.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from ikyoku.errors import SpecError, together

PromptFormatName = Literal[
    "alpaca-ja", "medical-top-ja", "medical-inside-ja", "alpaca-en", "medical-top-en", "chat", "chat-ja"
]
ItemListName = Literal[
    "all",
    "text-only",
    "text-only-5-choice",
    "text-only-5-choice-1024",
    "text-only-5-choice-single",
    "text-only-5-choice-multiple",
]
# A value is what it is written as: "100" and true are no numbers.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Field(default="run", pattern=NAME)


class Spec(BaseModel):
    """What all specs share: frozen, unknown keys refused, attribute docstrings as field descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )


class ModelSpec(Spec):
    """A model: a folder in Hugging Face's layout or a hub id, with an optional adapter on it."""

    path: str = Field(min_length=1)
    """Folder of a model, or a hub id that the local cache holds."""
    adapter: str | None = None
    """Folder of a PEFT adapter."""
    label: str | None = Field(default=None, min_length=1, max_length=60)
    """How tables name the model; by default the folder's name, with the adapter's."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights; auto is bfloat16 on a GPU, float32 on a CPU."""
    quantization: Literal["none", "nf4"] = "none"
    """nf4: 4-bit NormalFloat with double quantisation (QLoRA's format)."""
    trust_remote_code: Flag = False
    """Run Python code that comes with the model. Recorded in the run's provenance."""

    @property
    def name(self) -> str:
        """The label, or one made of the folder's names."""
        if self.label:
            return self.label
        base = Path(self.path).name or self.path
        base = base if self.quantization == "none" else f"{base} ({self.quantization})"
        return f"{base}+{Path(self.adapter).name}" if self.adapter else base


class ExamSpec(Spec):
    """An exam: a file or folder in IgakuQA's layout and which of its questions to ask."""

    path: str = Field(min_length=1)
    """File or folder."""
    label: str | None = Field(default=None, min_length=1, max_length=60)
    """How tables name the exam; by default the file's name."""
    items: ItemListName = "text-only-5-choice"
    """Named item list; its count and hash are printed with every result."""
    years: tuple[Integer, ...] = ()
    """IgakuQA years to take, all by default."""
    demonstrations: str | None = None
    """File with the questions shown in 1- and 3-shot prompts; by default ikyoku's own three."""
    case_text: Flag = True
    """Give follow-up questions of a case series the text of their case (the studies' harness does not)."""

    @property
    def name(self) -> str:
        """The label, or the file's name."""
        return self.label or Path(self.path).stem or self.path


class EvaluateSpec(Spec):
    """`ikyoku evaluate`: models × prompt formats × shots × exams, one table."""

    name: str = Name
    """Names the run folder."""
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    """Models to compare."""
    exams: tuple[ExamSpec, ...] = Field(min_length=1)
    """Exams to ask."""
    formats: tuple[PromptFormatName, ...] = Field(default=("alpaca-ja",), min_length=1)
    """Prompt formats."""
    shots: tuple[Literal[0, 1, 3], ...] = Field(default=(0,), min_length=1)
    """Answered questions before the asked one."""
    max_new_tokens: Integer = Field(default=256, ge=1, le=8192)
    """Longest reply in tokens."""
    batch_size: Integer = Field(default=16, ge=1, le=1024)
    """Questions in one batch."""
    limit: Integer | None = Field(default=None, ge=1)
    """Ask only the first so many questions of each exam: for trying out, shown in the table."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of the resampling behind the intervals. Decoding is greedy and needs none."""

    def model_post_init(self, _: object) -> None:
        """Checks what no single field can."""
        twice = [
            f"{key}: the same one twice in {', '.join(map(str, values))}. Name each once."
            for key, values in (("formats", self.formats), ("shots", self.shots))
            if len(set(values)) < len(values)
        ]
        if twice:
            raise SpecError(together(twice))


class LoraSpec(Spec):
    """The low-rank update W + (alpha / rank)·B·A of LoRA (Hu et al. 2021, eq. 3)."""

    rank: Integer = Field(default=8, ge=1, le=4096)
    """r: rank of the update."""
    alpha: Number = Field(default=32, gt=0)
    """Scale; the update is multiplied by alpha / rank."""
    dropout: Number = Field(default=0.05, ge=0, lt=1)
    """Dropout before A, in training."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = ("q_proj", "k_proj", "v_proj")
    """Module names that get an update, or all-linear: every linear layer but the output head."""


class TuneSpec(Spec):
    """`ikyoku tune`: a base model and instruction pairs in, LoRA adapters out."""

    name: str = Name
    """Names the run folder."""
    model: ModelSpec
    """The base. `quantization: nf4` makes it QLoRA."""
    data: str
    """Instruction pairs: Alpaca JSONL (instruction, input, output) or chat JSONL (messages)."""
    format: PromptFormatName = "alpaca-ja"
    """Layout of Alpaca pairs; chat data go through the model's own chat template."""
    lora: LoraSpec = LoraSpec()
    """The adapter."""
    learning_rate: Number = Field(default=2e-4, gt=0, lt=10)
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up."""
    warmup: Number = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from zero."""
    max_length: Integer = Field(default=1024, ge=8)
    """Longest sample in tokens; a longer one is refused by name."""
    batch_size: Integer = Field(default=8, ge=1)
    """Samples per optimizer step."""
    micro_batch_size: Integer | None = Field(default=None, ge=1)
    """Samples in memory at a time; must divide batch_size. All of them by default."""
    steps: Integer = Field(default=1000, ge=1)
    """Optimizer steps."""
    keep_steps: tuple[Integer, ...] = ()
    """Steps whose adapter is kept beside the last one."""
    checkpoint_every: Integer = Field(default=100, ge=1)
    """Steps between the points from which an interrupted run continues."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of initialisation, order and dropout."""

    def model_post_init(self, _: object) -> None:
        """Checks what no single field can."""
        faults = []
        micro = self.micro_batch_size
        if micro is not None and self.batch_size % micro:
            faults.append(f"micro_batch_size: {micro} does not divide batch_size {self.batch_size}.")
        if beyond := [s for s in self.keep_steps if not 1 <= s <= self.steps]:
            faults.append(f"keep_steps: {beyond} not within 1 to steps ({self.steps}).")
        if faults:
            raise SpecError(together(faults))


class DemoSpec(Spec):
    """`ikyoku demo`: pocket models made on this machine, evaluated, tuned, evaluated again."""

    name: str = Field(default="pocket-lab", pattern=NAME)
    """Names the run folder."""
    size: Literal["tiny", "pocket"] = "pocket"
    """tiny shows the mechanism in under a minute; pocket shows the effect."""
    cache: str = "~/.cache/ikyoku"
    """Where pocket models are kept between runs."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of everything that is random."""


AnySpec = TypeVar("AnySpec", bound=Spec)

_PLAIN = {
    "Input ": "it ",
    "Keys ": "keys ",
    "Tuple ": "it ",
    "String ": "it ",
    " after validation": "",
    "a valid tuple": "a list",
    "a valid dictionary or instance of": "keys and values of",
}
"""pydantic's words for a fault, and those of a YAML file's author."""


def parse(kind: type[AnySpec], values: Mapping[str, Any], *, source: str) -> AnySpec:
    """Returns the checked spec of plain values.

    Raises:
        SpecError: every fault with its field, the value found and what is allowed, one a line.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        # A list whose only entry is faulty counts as too short as well: the fault of the entry is the one to mend.
        inner = {e["loc"][:n] for e in errors for n in range(len(e["loc"]))}
        faults = [_fault(kind, e) for e in errors if e["type"] != "too_short" or e["loc"] not in inner]
        raise SpecError(f"{source}:\n{together(faults)}") from None
    except SpecError as error:
        raise SpecError(f"{source}:\n{error}") from None


def load(kind: type[AnySpec], path: Path, overrides: Sequence[str] = ()) -> AnySpec:
    """Returns the spec in a YAML file, with `key.key=value` overrides laid over it.

    Raises:
        SpecError: the file is missing or no YAML mapping, or a value is not allowed.
    """
    return parse(kind, override(read_yaml(path), overrides), source=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns a YAML 1.2 mapping as plain values (`no` stays a text, 1e-4 is a number)."""
    from ruamel.yaml.error import YAMLError

    try:
        value = _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file. Give the path of a YAML spec; examples/ has one per verb.") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder, a YAML file is wanted.") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 (byte {error.start}). Save the file as UTF-8.") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise SpecError(f"{path}{where}: not valid YAML: {problem}.") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise SpecError(
            f"{path}: holds a value that cannot be read: a number too long, or too deeply nested."
        ) from None
    if not isinstance(value, dict):
        raise SpecError(f"{path}: holds {'nothing' if value is None else type(value).__name__}, not keys and values.")
    return value


def override(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns values with `a.b=value` laid over them; list entries are named by number, values are YAML.

    >>> override({"lora": {"rank": 8}}, ["lora.rank=16", "seed=3"])
    {'lora': {'rank': 16}, 'seed': 3}
    """
    result: dict[str, Any] = _copied(values)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {text}: write it as key=value, for example lora.rank=16.")
        target: Any = result
        *path, last = key.split(".")
        for part in path:
            target = _entered(target, part, text)
        _assign(target, last, _value(value, text), text)
    return result


def _value(value: str, text: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(value)
    except (YAMLError, ValueError, RecursionError):
        raise SpecError(f"--set {text}: the value is not valid YAML. Quote a text that holds : [ or {{.") from None


def to_yaml(spec: Spec) -> str:
    """Returns the resolved spec as YAML, every default written out."""
    import io

    values = spec.model_dump(mode="json")
    text = ""
    for readable in (True, False):  # text with a rare separator such as U+0085 comes back only where it is escaped
        yaml, stream = _yaml(), io.StringIO()
        yaml.allow_unicode = readable
        yaml.dump(values, stream)
        text = stream.getvalue()
        if yaml.load(text) == values:
            break
    return text


def _yaml() -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

    class Plain(SafeConstructor):
        """YAML 1.2's own values: it knows no dates, so they stay the texts they are."""

    Plain.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Constructor = Plain
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    return yaml


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _entered(target: Any, part: str, text: str) -> Any:
    if isinstance(target, dict):
        return target.setdefault(part, {})
    if isinstance(target, list) and part.isdecimal() and int(part) < len(target):
        return target[int(part)]
    raise SpecError(f"--set {text}: there is nothing at {part!r}.")


def _assign(target: Any, key: str, value: Any, text: str) -> None:
    if isinstance(target, dict):
        target[key] = value
    elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
        target[int(key)] = value
    else:
        raise SpecError(f"--set {text}: there is nothing at {key!r}.")


def _fault(kind: type[Spec], error: ErrorDetails) -> str:
    """One line for one fault: the field, what was found, what is allowed, the nearest valid key."""
    # pydantic also names the branch of a union, such as tuple[str, ...]: no key that a reader could look for
    place = ".".join(str(part) for part in error["loc"] if "[" not in str(part))
    if error["type"] == "extra_forbidden":
        allowed = _fields_at(kind, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), allowed, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Allowed: {', '.join(allowed)}."
        return f"{place}: no such key.{hint}"
    if error["type"] == "missing":
        return f"{place}: missing, and there is no default."
    message = error["msg"]
    for theirs, plain in _PLAIN.items():
        message = message.replace(theirs, plain)
    return f"{place}: found {error['input']!r}; {message}."


def _fields_at(kind: type[Spec], path: Sequence[int | str]) -> list[str]:
    """The keys that are allowed where a path of field names and list positions leads."""
    for part in path:
        if isinstance(part, int):
            continue
        nested = kind.model_fields.get(part)
        found = _spec_within(nested.annotation) if nested else None
        if found is None:
            return []
        kind = found
    return list(kind.model_fields)


def _spec_within(annotation: Any) -> type[Spec] | None:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    if get_origin(annotation) is None:
        return None
    return next((s for a in get_args(annotation) if (s := _spec_within(a))), None)
