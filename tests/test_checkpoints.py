"""Checkpoints: read as they are on the disk or refused in one sentence, and written whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import runpy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ikyoku.checkpoints import open_checkpoint, read_header
from ikyoku.checkpoints.room import check_free, check_room, size_in_bytes
from ikyoku.checkpoints.writer import CheckpointWriter, layout, write_folder
from ikyoku.errors import ModelError, RunError

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("merge_folders.py"))))
Damage = Callable[[Path], Any]


def message(path: Path) -> str:
    with pytest.raises(ModelError) as told:
        open_checkpoint(str(path))
    return str(told.value).replace(str(path), "MODEL")


# reading


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shards", [1, 3])
def test_it_reads_what_safetensors_wrote(tmp_path: Path, dtype: torch.dtype, shards: int) -> None:
    folder = folders.llama(tmp_path / "m", dtype=dtype, shards=shards)
    model = open_checkpoint(str(folder))
    wanted = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    assert set(model.tensors) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(model.read(name), tensor)
        assert model.read(name).dtype == dtype
    assert model.bytes == sum(t.numel() * t.element_size() for t in wanted.values())
    assert (model.layers, model.dtype, model.ties_embeddings) == (2, str(dtype)[6:], False)


def test_any_kind_and_shape_of_tensor(tmp_path: Path) -> None:
    odd = {
        "flags": torch.tensor([True, False, True]),
        "whole": torch.arange(5),
        "bytes": torch.arange(3, dtype=torch.uint8),
        "number": torch.tensor(1.5, dtype=torch.float64),
        "none": torch.zeros(0, 4),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    folder = folders.write_model(tmp_path / "m", odd, {}, dtype=torch.float32)
    model = open_checkpoint(str(folder))
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(model.read(name), tensor), name


def test_tensors_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    header = read_header(folders.llama(tmp_path / "m") / "model.safetensors")
    starts = [info.start for info in header.values()]
    assert starts == sorted(starts) and len(starts) == 21


def test_what_is_done_to_a_tensor_reaches_no_file(tmp_path: Path) -> None:
    model = open_checkpoint(str(folders.llama(tmp_path / "m")))
    before = model.read("model.norm.weight").clone()
    model.read("model.norm.weight").zero_()
    assert torch.equal(model.read("model.norm.weight"), before)


def test_a_vocabulary_has_the_added_tokens(tmp_path: Path) -> None:
    folder = folders.llama(tmp_path / "m", words=folders.WORDS, added=("<image>",))
    assert open_checkpoint(str(folder)).vocabulary() == {w: i for i, w in enumerate((*folders.WORDS, "<image>"))}
    pieces = {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["▁の", -1.5]]}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(pieces), encoding="utf-8")
    assert open_checkpoint(str(folder)).vocabulary() == {"<unk>": 0, "▁の": 1}
    (folder / "tokenizer.json").unlink()
    assert open_checkpoint(str(folder)).vocabulary() == {}


def cut(path: Path, keep: int = -10) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


SECOND = "model-00002-of-00003.safetensors"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda m: cut(m / SECOND), f"MODEL/{SECOND}: "),
        (lambda m: cut(m / SECOND, 5), f"MODEL/{SECOND}: not a whole safetensors file (5 bytes). Copy it again."),
        (lambda m: cut(m / SECOND, 100), f"MODEL/{SECOND}: not a whole safetensors file (100 bytes). Copy it again."),
        (lambda m: (m / SECOND).write_bytes(b""), f"MODEL/{SECOND}: not a whole safetensors file (0 bytes)."),
        (lambda m: (m / SECOND).unlink(), f"MODEL/{SECOND}: missing. The model is incomplete; copy it again."),
        (
            lambda m: save_file({"other": torch.ones(2)}, m / SECOND),
            f"MODEL/{SECOND}: no tensor model.layers.0.self_attn.o_proj.weight, which",
        ),
        (lambda m: (m / "config.json").unlink(), "MODEL: no config.json, so this is no model folder."),
        (lambda m: (m / "config.json").write_text("[]"), "MODEL/config.json: not a JSON object. Copy the model again."),
        (lambda m: (m / "model.safetensors.index.json").write_text("{}"), "index.json: no index of shards."),
        (lambda m: (m / "model.safetensors.index.json").unlink(), "MODEL: no weights. Wanted model.safetensors, or"),
        (
            lambda m: config(m, quantization_config={"quant_method": "gptq", "bits": 4}),
            "MODEL: its weights are quantised (gptq), and rounded weights cannot be merged. Name the model in bfloat16",
        ),
        (
            lambda m: config(m, text_config={"quantization_config": {"quant_method": "bitsandbytes"}}),
            "quantised (bitsandbytes)",
        ),
    ],
)
def test_a_broken_model_is_named(tmp_path: Path, damage: Damage, told: str) -> None:
    folder = folders.llama(tmp_path / "m", shards=3)
    damage(folder)
    assert told in message(folder)


def test_a_cut_shard_says_how_long_it_should_be(tmp_path: Path) -> None:
    folder = folders.llama(tmp_path / "m")
    size = (folder / "model.safetensors").stat().st_size
    cut(folder / "model.safetensors")
    assert message(folder) == (
        f"MODEL/model.safetensors: {size - 10} bytes long where its header tells {size}. Copy it again."
    )


def test_all_broken_shards_are_told_at_once(tmp_path: Path) -> None:
    folder = folders.llama(tmp_path / "m", shards=3)
    (folder / SECOND).unlink()
    cut(folder / SECOND.replace("00002", "00003", 1))
    assert [line.partition(": ")[0] for line in message(folder).splitlines()] == [
        "MODEL/model-00002-of-00003.safetensors",
        "MODEL/model-00003-of-00003.safetensors",
    ]


@pytest.mark.parametrize(
    "shard", ["../other/model.safetensors", "/etc/passwd", "a\0b.safetensors", "config.json", ".."]
)
def test_an_index_leads_to_no_file_outside(tmp_path: Path, shard: str) -> None:
    folder = folders.llama(tmp_path / "m", shards=3)
    folders.llama(tmp_path / "other")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["weight_map"]["model.norm.weight"] = shard
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "as a shard, which is no .safetensors file of this folder" in message(folder)


@pytest.mark.parametrize(
    "header",
    [
        '{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        '{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e999]}}',
        '{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}',
        '{"t": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}',
        '{"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        '{"t": {"dtype": "F32", "shape": [2], "data_offsets": [-4, 4]}}',
        '{"t": []}',
        "[" * 100_000,
    ],
)
def test_a_header_that_is_nonsense_is_no_fault_of_ours(tmp_path: Path, header: str) -> None:
    folder = folders.llama(tmp_path / "m")
    text = header.encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    assert "not a whole safetensors file" in message(folder)


@pytest.mark.parametrize("number", ["5", -1, 1 << 40, 1.5, True])
def test_ids_that_are_none_are_refused(tmp_path: Path, number: Any) -> None:
    folder = folders.llama(tmp_path / "m", words=folders.WORDS)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"]["w1"] = number
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ModelError, match="no vocabulary in it"):
        open_checkpoint(str(folder)).vocabulary()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.layers.0.q.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("model.layers.0.q.qweight", "GPTQ or AWQ"),
    ],
)
def test_quantised_weights_are_known_by_their_names(tmp_path: Path, name: str, kind: str) -> None:
    folder = folders.write_model(tmp_path / "m", {name: torch.zeros(4, dtype=torch.uint8)}, {})
    assert f"quantised ({kind})" in message(folder)


def test_other_folders_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert "pytorch_model.bin is a pickle and is not read: convert it" in message(folder)
    adapter = folders.write_lora(tmp_path / "lora", folder)
    assert "It holds an adapter: write BASE+MODEL" in message(adapter)
    assert "no such model folder" in message(tmp_path / "none")
    with pytest.raises(ModelError, match="no such hub id in the local cache"):
        open_checkpoint("nobody/nothing-at-all@main")


# writing


def pieces(count: int = 6, size: int = 500) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"t{i}": torch.randn(size, generator=generator) for i in range(count)}


def announced(tensors: dict[str, torch.Tensor]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, tuple(t.shape), str(t.dtype)[6:]) for name, t in tensors.items()]


def write(folder: Path, tensors: dict[str, torch.Tensor], *, stop: int | None = None, **options: Any) -> list[str]:
    """Writes tensors, or the first of them and then something goes wrong; returns the names that were asked for."""
    with CheckpointWriter(folder, announced(tensors), **{"shard_size": 4000, "key": "k"} | options) as writer:
        asked = writer.pending()
        for number, name in enumerate(asked):
            if number == stop:
                raise InterruptedError
            writer.write(name, tensors[name])
        writer.add({"config.json": b"{}"})
        writer.finish()
    return list(asked)


def test_one_file_and_many(tmp_path: Path) -> None:
    tensors = pieces()
    write(tmp_path / "one", tensors, shard_size=10**6)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["config.json", "model.safetensors"]
    write(tmp_path / "many", tensors)
    for folder in ("one", "many"):
        model = open_checkpoint(str(tmp_path / folder))
        assert list(model.tensors) == list(tensors)
        assert all(torch.equal(model.read(name), tensor) for name, tensor in tensors.items())
    files = sorted((tmp_path / "many").glob("*.safetensors"))
    assert [p.name for p in files] == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert {n: t for p in files for n, t in load_file(p).items()}.keys() == tensors.keys()
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    assert index["metadata"]["total_size"] == 12000
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"


def test_numbers_of_all_widths_lie_where_they_can_be_read(tmp_path: Path) -> None:
    tensors = {
        "odd": torch.ones(3, dtype=torch.uint8),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "whole": torch.arange(2),
        "single": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
    }
    write(tmp_path / "m", tensors)
    found = load_file(tmp_path / "m" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    header = read_header(tmp_path / "m" / "model.safetensors")
    assert all(info.start % torch.empty(0, dtype=tensors[n].dtype).element_size() == 0 for n, info in header.items())


def test_a_shard_holds_what_fits_and_at_least_one() -> None:
    shards = layout([("a", (10,), "float32"), ("b", (1000,), "float32"), ("c", (10,), "float32")], 100)
    assert [[name for name, _ in shard.tensors] for shard in shards] == [["a"], ["b"], ["c"]]
    assert (size_in_bytes("5GB"), size_in_bytes("1.5 KB")) == (5 * 10**9, 1500)


def test_only_what_was_announced_is_written(tmp_path: Path) -> None:
    tensors = pieces(3)
    with (
        pytest.raises(ValueError, match="was not announced"),
        CheckpointWriter(tmp_path / "m", announced(tensors), shard_size=4000, key="k") as writer,
    ):
        writer.write("t0", tensors["t0"].half())
    with (
        pytest.raises(ValueError, match="1 tensors were not written, the first is t2"),
        CheckpointWriter(tmp_path / "m", announced(tensors), shard_size=10**6, key="k") as writer,
    ):
        for name in ("t0", "t1"):
            writer.write(name, tensors[name])
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_same_work_continues_after_its_finished_shards(tmp_path: Path) -> None:
    tensors = pieces()
    with pytest.raises(InterruptedError):
        write(tmp_path / "m", tensors, stop=5)
    assert not (tmp_path / "m").exists()
    aside = tmp_path / ".m.part"
    assert sorted(p.name for p in aside.glob("*.safetensors")) == [
        f"model-0000{i}-of-00003.safetensors" for i in (1, 2)
    ], "a shard that is not whole is taken away: on a full disk its room is wanted"
    before = (aside / "model-00001-of-00003.safetensors").stat().st_ino
    assert write(tmp_path / "m", tensors) == ["t4", "t5"]
    assert (tmp_path / "m" / "model-00001-of-00003.safetensors").stat().st_ino == before
    assert all(torch.equal(open_checkpoint(str(tmp_path / "m")).read(n), t) for n, t in tensors.items())


@pytest.mark.parametrize("other", [{"key": "another"}, {"shard_size": 8000}])
def test_other_work_begins_anew(tmp_path: Path, other: dict[str, Any]) -> None:
    tensors = pieces()
    with pytest.raises(InterruptedError):
        write(tmp_path / "m", tensors, stop=5)
    assert write(tmp_path / "m", tensors, **other) == list(tensors)


def test_a_shard_that_changed_is_written_again(tmp_path: Path) -> None:
    tensors = pieces()
    with pytest.raises(InterruptedError):
        write(tmp_path / "m", tensors, stop=5)
    cut(tmp_path / ".m.part" / "model-00001-of-00003.safetensors")
    assert write(tmp_path / "m", tensors) == ["t0", "t1", "t4", "t5"]


def test_nothing_stays_of_what_was_not_begun_or_is_taken_back(tmp_path: Path) -> None:
    tensors = pieces()
    with pytest.raises(InterruptedError):
        write(tmp_path / "new" / "deep" / "m", tensors, stop=1)
    assert list(tmp_path.iterdir()) == []
    with CheckpointWriter(tmp_path / "m", announced(tensors), shard_size=2000, key="k") as writer:
        for name in writer.pending()[:4]:
            writer.write(name, tensors[name])
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    tensors = pieces()
    with (
        CheckpointWriter(tmp_path / "m", announced(tensors), shard_size=2000, key="k"),
        pytest.raises(RunError, match="another process is writing it"),
    ):
        CheckpointWriter(tmp_path / "m", announced(tensors), shard_size=2000, key="k")


def test_a_name_that_was_taken_meanwhile_costs_no_work(tmp_path: Path) -> None:
    tensors = pieces()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "theirs").touch()
    with pytest.raises(RunError, match=r"cannot be written: Directory not empty\. Mend it; the same command continues"):
        write(tmp_path / "m", tensors)
    (tmp_path / "m" / "theirs").unlink()
    assert write(tmp_path / "m", tensors) == []
    assert sorted(p.name for p in (tmp_path / "m").iterdir() if p.suffix != ".safetensors") == [
        "config.json",
        "model.safetensors.index.json",
    ]


def test_a_lock_whose_folder_got_its_name_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock = fcntl.flock

    def just_then(file: Any, how: int) -> None:
        """Between the opening of the lock and its taking, the other process finishes."""
        (tmp_path / ".m.part").rename(tmp_path / "m")
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", just_then)
    with pytest.raises(RunError, match="another process has just written it"):
        CheckpointWriter(tmp_path / "m", announced(pieces()), shard_size=4000, key="k")


def test_a_small_folder_appears_with_all_its_files_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / ".m.part").mkdir()
    (tmp_path / ".m.part" / "old").touch()
    write_folder(tmp_path / "m", {"a": b"1", "licences/x/LICENSE": b"2"})
    assert sorted(p.name for p in (tmp_path / "m").rglob("*") if p.is_file()) == ["LICENSE", "a"]
    with pytest.raises(RunError, match=r"Directory not empty\. Mend it; the same command does it again"):
        write_folder(tmp_path / "m", {"a": b"3"})
    with pytest.raises(RunError, match="cannot be written"):
        write_folder(tmp_path / "new" / "n", {"x" * 300: b"1"})
    assert [p.name for p in tmp_path.iterdir()] == ["m"] and (tmp_path / "m" / "a").read_bytes() == b"1"


def test_an_output_folder_is_free_or_refused(tmp_path: Path) -> None:
    check_free(tmp_path / "new" / "deep")
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty")
    write(tmp_path / "empty", pieces())
    with pytest.raises(RunError, match="is there already and not empty"):
        check_free(tmp_path / "empty")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="is there already"):
        check_free(tmp_path / "file")
    with pytest.raises(RunError, match="is no folder that can be written to"):
        check_free(tmp_path / "file" / "m")
    for unnamed in (".", "..", "/", "x/.."):
        with pytest.raises(RunError, match="an output folder needs a name of its own"):
            check_free(Path(unnamed))


def test_a_mount_point_is_refused_before_any_work(small_disk: Path) -> None:
    with pytest.raises(RunError, match=r"a disk is mounted here\. Name a folder on it"):
        check_free(small_disk)


# a disk that fills, or refuses


def test_a_write_that_fails_is_told_and_continued(tmp_path: Path) -> None:
    tensors = pieces(count=4, size=50_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(
            RunError, match=r"m: cannot be written: File too large\. Mend it; the same command continues"
        ):
            write(tmp_path / "m", tensors, shard_size=400_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    assert write(tmp_path / "m", tensors, shard_size=400_000) == list(tensors)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skipped where this process may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_leaves_finished_shards_only(small_disk: Path) -> None:
    tensors = pieces(count=8, size=50_000)  # 200 kB each: the sixth does not fit
    with pytest.raises(RunError) as told:
        write(small_disk / "m", tensors, shard_size=400_000)
    assert str(told.value) == (
        f"{small_disk}/m: the disk is full. Make room there; the same command continues after the last finished shard."
    )
    assert not (small_disk / "m").exists()
    assert len(list((small_disk / ".m.part").glob("*.safetensors"))) == 2
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    assert write(small_disk / "m", tensors, shard_size=400_000) == ["t4", "t5", "t6", "t7"]
    assert all(torch.equal(open_checkpoint(str(small_disk / "m")).read(n), t) for n, t in tensors.items())


def test_a_disk_that_fills_in_the_first_shard_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(RunError, match="the disk is full"):
        write(small_disk / "m", pieces(count=8, size=50_000), shard_size=10**7)
    assert list(small_disk.iterdir()) == []


def test_too_little_room_is_told_before_anything_is_written(small_disk: Path) -> None:
    with pytest.raises(RunError) as told:
        check_room(small_disk / "m", 2 * 10**6)
    assert str(told.value) == (
        f"{small_disk}/m: 0.07 GB are needed and 0.00 GB are free. Make room there, or name a folder on another disk."
    )
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "fill").write_bytes(os.urandom(2 * 10**6))
    with pytest.raises(RunError, match=r"and 0.00 GB are free"):
        check_room(small_disk / "m", 1)
