"""Instruction pairs and conversations to learn from: one JSONL file, either Alpaca's fields or chat messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from ikyoku.datasets.base import kind_of, read_jsonl, text_field, write_jsonl
from ikyoku.errors import DataError, together
from ikyoku.types import Conversation, Instruction, InstructionSample, Message, Role

_ROLES: Mapping[str, Role] = {role: role for role in get_args(Role)}
_ALPACA = "instruction/output"
_CHAT = "messages"


def read_instructions(path: Path) -> tuple[InstructionSample, ...]:
    """Reads instruction samples, one a line.

    A line is either ``{"instruction": …, "input": … (optional), "output": …}`` or ``{"messages": [{"role": …,
    "content": …}, …]}``; other keys are allowed and ignored. One file holds one kind; a line that has both is read
    as messages.

    Args:
        path: the JSONL file, in UTF-8.

    Returns:
        The samples in the order of the file, all Instruction or all Conversation; a sample's id is ``line-17``.

    Raises:
        DataError: with every fault of the file together (ten are shown), each with its line: broken JSON, a missing
            key, a wrong type, an empty instruction, output or turn, an unknown role, no user turn, a last turn that
            is not the assistant's, both kinds in one file.

    Reference:
        Fields: https://github.com/tatsu-lab/stanford_alpaca (Data Release).
    """
    faults: list[str] = []
    samples: list[InstructionSample] = []
    first: tuple[str, int] | None = None
    for number, row in read_jsonl(path, faults=faults):
        kind = _kind(row)
        where = f"{path}, line {number}"
        if not kind:
            faults.append(
                f"{where}: neither 'instruction' and 'output' nor 'messages'; a line is an instruction pair or a chat"
            )
            continue
        first = first or (kind, number)
        if kind != first[0]:
            faults.append(
                f"{where}: holds {kind}, line {first[1]} holds {first[0]}; one file holds one kind: split the file"
            )
            continue
        sample, found = _read_chat(row, f"line-{number}") if kind == _CHAT else _read_pair(row, f"line-{number}")
        faults.extend(f"{where}: {fault}" for fault in found)
        if sample is not None:
            samples.append(sample)
    if faults:
        raise DataError(together(faults))
    return tuple(samples)


def write_instructions(path: Path, samples: Iterable[InstructionSample]) -> None:
    """Writes samples in the layout that `read_instructions` reads, all or nothing.

    Ids are not written: a sample's id is its line.

    Args:
        path: the file to write; one that exists is replaced.
        samples: all Instruction or all Conversation.

    Raises:
        DataError: when there are none, when both kinds are among them, or the file cannot be written.
    """
    held = tuple(samples)
    if len({type(sample) for sample in held}) != 1:
        found = "no sample" if not held else "both instruction pairs and conversations"
        raise DataError(f"{path}: {found} to write; one file holds one kind, at least one sample")
    write_jsonl(path, (_row(sample) for sample in held))


def _row(sample: InstructionSample) -> dict[str, object]:
    if isinstance(sample, Instruction):
        return {"instruction": sample.instruction, "input": sample.input, "output": sample.output}
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in sample.messages]}


def _kind(row: Mapping[str, object]) -> str:
    if "messages" in row:
        return _CHAT
    return _ALPACA if "instruction" in row or "output" in row else ""


def _read_pair(row: Mapping[str, object], name: str) -> tuple[Instruction | None, list[str]]:
    faults: list[str] = []
    instruction = text_field(row, "instruction", faults)
    output = text_field(row, "output", faults)
    given = row.get("input")
    if given is not None and not isinstance(given, str):
        faults.append(f"'input' is {kind_of(given)}; a text is needed, or no 'input' at all")
    if faults:
        return None, faults
    return Instruction(name, instruction, given if isinstance(given, str) else "", output), []


def _read_chat(row: Mapping[str, object], name: str) -> tuple[Conversation | None, list[str]]:
    turns = row["messages"]
    if not isinstance(turns, list) or not turns:
        found = "an empty list" if isinstance(turns, list) else kind_of(turns)
        return None, [f"'messages' is {found}; a list of turns with 'role' and 'content' is needed"]
    faults: list[str] = []
    messages: list[Message] = []
    for index, turn in enumerate(turns, start=1):
        found_in_turn: list[str] = []
        message = _turn(turn, found_in_turn)
        faults.extend(f"turn {index}: {fault}" for fault in found_in_turn)
        if message is not None:
            messages.append(message)
    if faults:
        return None, faults
    if all(message.role != "user" for message in messages):
        faults.append("no turn of the user")
    if messages[-1].role != "assistant":
        faults.append(f"the last turn is the {messages[-1].role}'s; it must be the assistant's, which is learnt")
    return (None, faults) if faults else (Conversation(name, tuple(messages)), [])


def _turn(turn: object, faults: list[str]) -> Message | None:
    if not isinstance(turn, dict):
        faults.append(f"is {kind_of(turn)}; an object with 'role' and 'content' is needed")
        return None
    role = text_field(turn, "role", faults)
    content = text_field(turn, "content", faults)
    if role and role not in _ROLES:
        faults.append(f"unknown role; allowed are {', '.join(_ROLES)}")
    return None if faults else Message(_ROLES[role], content)
