from __future__ import annotations

import os
import runpy
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from ikyoku.dicom import read_radiogram, vocabulary
from ikyoku.dicom.decoding import decode, stored_pixels
from ikyoku.dicom.header import read_header
from ikyoku.dicom.parsing import MOST_BYTES, Unreadable, parse, quiet
from ikyoku.dicom.write import CHARACTER_SETS, Subject, write_dx
from ikyoku.errors import DataError
from ikyoku.images import Table, Window
from ikyoku.pictures import read_picture

chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]

SECRET = ("Yamada", "Tarou", "山田", "太郎", "やまだ", "ﾔﾏﾀﾞ", "98765432", "19500102")
NAMES = {
    "none": "Yamada^Tarou",
    "latin": "Yamada^Tarou",
    "kana-kanji": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "rare-kanji": "Yamada^Tarou=山田^丂郎=やまだ^たろう",
}
HTJ2K = (vocabulary.HTJ2K, vocabulary.HTJ2K_LOSSLESS, vocabulary.HTJ2K_RPCL)
WRITTEN = [syntax for syntax in vocabulary.TRANSFER_SYNTAXES if syntax not in HTJ2K]
LOSSLESS = [syntax for syntax in WRITTEN if syntax not in vocabulary.LOSSY]
RAW = (vocabulary.IMPLICIT, vocabulary.EXPLICIT, vocabulary.BIG_ENDIAN, vocabulary.DEFLATED)


PYDICOM_IMAGES = [
    "693_J2KI.dcm",
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_small_odd.dcm",
    "examples_rgb_color.dcm",
    "image_dfl.dcm",
]


def subject(character_set: str = "utf-8") -> Subject:
    name = NAMES.get(character_set, "Yamada^Tarou=山田^太郎=やまだ^たろう")
    return Subject(name, "98765432", "19500102", "M")


def dx(path: Path, pixels: Any = None, **changes: Any) -> Path:
    write_dx(path, chest() if pixels is None else pixels, **{"key": path.name, "subject": subject(), **changes})
    return path


def changed(path: Path, **elements: Any) -> Path:
    """Writes a DX with elements changed after it was made, so that they need not be right."""
    dx(path)
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_picture(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return text.removeprefix(f"{path}: ")


# every transfer syntax


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: str(pydicom.uid.UID(uid).name))
@pytest.mark.parametrize(
    ("bits", "signed"), [(8, False), (10, False), (12, False), (12, True), (16, False), (16, True)]
)
def test_a_lossless_image_is_read_back_bit_for_bit(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    coded = syntax in (vocabulary.JPEG_LOSSLESS, vocabulary.JPEG_LOSSLESS_SV1)  # GDCM encodes no odd number of bytes
    pixels = chest(131, 102 if coded else 101, bits=bits)  # an odd number of bytes has to be padded
    if signed:
        pixels = (pixels.astype(np.int32) - (1 << bits - 1)).astype(np.int16)
    read = read_radiogram(dx(tmp_path / "image.dcm", pixels, transfer_syntax=syntax, bits_stored=bits))
    assert np.array_equal(read.values, pixels)
    assert (read.header.transfer_syntax, read.header.bits_stored, read.header.signed) == (syntax, bits, signed)
    assert not read.header.lossy


LOSSY = [
    (vocabulary.JPEG_BASELINE, 8, 30, 3),
    (vocabulary.JPEG_EXTENDED, 8, 30, 3),
    (vocabulary.JPEG_EXTENDED, 12, 30, 5),
    (vocabulary.JPEG_LS_NEAR, 12, 2, 2),
    (vocabulary.JPEG_2000, 12, 400, 50),
    (vocabulary.JPEG_2000, 16, 6400, 800),
]


def test_no_transfer_syntax_is_left_out() -> None:
    assert {*LOSSLESS, *(syntax for syntax, *_ in LOSSY), *HTJ2K} == set(vocabulary.TRANSFER_SYNTAXES)


@pytest.mark.parametrize(("syntax", "bits", "most", "mean"), LOSSY)
def test_a_lossy_image_is_read_back_nearly(tmp_path: Path, syntax: str, bits: int, most: int, mean: int) -> None:
    pixels = chest(bits=bits)
    read = read_radiogram(dx(tmp_path / "image.dcm", pixels, transfer_syntax=syntax, bits_stored=bits))
    off = np.abs(read.values - pixels)
    assert 0 < off.mean() <= mean
    assert off.max() <= most
    assert read.header.lossy


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("syntax", RAW)
def test_stored_bits_are_taken_from_where_they_stand_beside_old_overlays(
    tmp_path: Path, high: int, syntax: str
) -> None:
    pixels = chest()
    path = dx(tmp_path / "image.dcm", pixels, transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    dataset.HighBit = high
    cells = pixels.astype(np.uint32) << (high - 11)
    if high < 15:
        cells |= 1 << 15
    if high > 11:
        cells |= 1
    order = ">u2" if syntax == vocabulary.BIG_ENDIAN else "<u2"
    dataset.PixelData = (cells & 0xFFFF).astype(order).tobytes()
    dataset.save_as(path)
    assert np.array_equal(read_radiogram(path).values, pixels)


def test_pydicoms_own_images_are_decoded_as_pydicom_does() -> None:
    for name in PYDICOM_IMAGES:
        path = get_testdata_file(name, download=False)
        assert isinstance(path, str), name
        with quiet():
            dataset, syntax = parse(Path(path).read_bytes())
            code, layout = stored_pixels(dataset, read_header(dataset, syntax))
            wanted = pydicom.pixels.pixel_array(pydicom.dcmread(path), raw=True)
        assert np.array_equal(decode(code, layout), wanted), name


def test_jpeg_of_12_bits_which_no_library_here_reads() -> None:
    from ikyoku.dicom.jpeg12 import decode as jpeg12
    from ikyoku.dicom.jpeg12 import encode

    white = np.full((40, 40), 4095, np.uint16)
    white[10:30, 10:30] = 0
    again = jpeg12(encode(white, step=40))
    assert again.min() == 0  # what rings beyond the range is kept in it
    assert again.max() == 4095
    assert np.abs(again.astype(int) - white).max() < 60
    path = Path(str(get_testdata_file("JPGExtended.dcm", download=False)))
    with quiet():
        dataset, syntax = parse(path.read_bytes())
        code, layout = stored_pixels(dataset, read_header(dataset, syntax))
    pixels = decode(code, layout)
    assert pixels.shape == (1024, 256)
    assert 200 < pixels.max() < 300  # counts of a bone scan


@pytest.mark.parametrize("syntax", HTJ2K)
def test_high_throughput_jpeg_2000_is_read(tmp_path: Path, syntax: str) -> None:
    y, x = np.mgrid[:64, :64]  # what OpenJPH encoded into the file beside this one
    pixels = (1500 + 1200 * np.sin(x / 7) * np.cos(y / 9) + (x * 7 + y * 13) % 11).astype(np.uint16)
    dataset = pydicom.dcmread(dx(tmp_path / "image.dcm", pixels, bits_stored=16))
    dataset.PixelData = pydicom.encaps.encapsulate([Path(__file__).with_name("htj2k.j2c").read_bytes()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "image.dcm")
    read = read_radiogram(tmp_path / "image.dcm")
    assert np.array_equal(read.values, pixels)
    assert read.header.lossy == (syntax == vocabulary.HTJ2K)
    with pytest.raises(DataError, match="cannot be written in this transfer syntax"):
        dx(tmp_path / "image.dcm", transfer_syntax=syntax)


def test_every_file_that_pydicom_ships_is_read_or_refused_for_a_reason() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    read, reasons = [], {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            read_picture(path)
            read.append(path.name)
        except DataError as error:
            reasons[path.name] = str(error).removeprefix(f"{path}: ")
    assert read == ["image_dfl.dcm"]  # a scan of unknown kind, read with a warning; no other is a radiograph
    vague = [name for name, reason in reasons.items() if len(reason) < 15]
    assert vague == []
    assert reasons["CT_small.dcm"] == "its modality is CT; a radiograph is CR, DX, RG, OT"
    assert reasons["SC_rgb_jpeg_dcmtk.dcm"].startswith("60% of the image are coloured")
    assert reasons["rtplan.dcm"] == "there is no image in it (no PixelData)"
    assert reasons["6154"] == "its body part is CSPINE; only radiographs of the chest are read"


def test_the_shared_radiographs_are_read(shared: Any) -> None:
    files = [
        file
        for file in sorted(shared("data/cxr").rglob("*"))
        if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm")
    ]
    assert len(files) == 30
    for file in files:
        assert min(read_picture(file).picture.pixels.shape) >= 64


# header, windows, polarity


@pytest.mark.parametrize("character_set", CHARACTER_SETS)
@pytest.mark.parametrize(
    "syntax", [vocabulary.IMPLICIT, vocabulary.EXPLICIT, vocabulary.BIG_ENDIAN, vocabulary.DEFLATED]
)
def test_the_header_tells_nothing_of_the_patient(tmp_path: Path, character_set: str, syntax: str) -> None:
    path = dx(
        tmp_path / "image.dcm", subject=subject(character_set), character_set=character_set, transfer_syntax=syntax
    )
    assert str(pydicom.dcmread(path).PatientName) == subject(character_set).name
    header = read_radiogram(path).header
    assert (header.modality, header.view_position, header.view, header.body_part) == ("DX", "PA", "frontal", "CHEST")
    assert header.character_sets == CHARACTER_SETS[character_set]
    assert header.pixel_spacing == (0.2, 0.2)
    assert header.burned_in is False
    shown = repr(read_picture(path))
    assert [word for word in SECRET if word in shown] == []
    uid = pydicom.dcmread(path).StudyInstanceUID
    assert uid not in shown
    assert len(header.study) == 64


def test_bone_is_bright_whatever_the_polarity(tmp_path: Path) -> None:
    pixels = chest()
    one = read_picture(dx(tmp_path / "1.dcm", 4095 - pixels, photometric="MONOCHROME1")).picture.pixels.astype(int)
    two = read_picture(dx(tmp_path / "2.dcm", pixels)).picture.pixels.astype(int)
    assert np.abs(one - two).max() <= 1
    assert two[120, 100] > two[100, 60] + 80  # spine and lung


def test_the_windows_and_tables_of_a_file(tmp_path: Path) -> None:
    pixels = chest()
    read = read_radiogram(dx(tmp_path / "1.dcm", pixels, window=(1000.5, 501)))
    assert read.voi == Window(1000.5, 501)
    assert np.array_equal(read.pixels() == 255, pixels >= 1250)
    several = changed(tmp_path / "2.dcm", WindowCenter=[900, 2000], WindowWidth=[800, 4000], VOILUTFunction="SIGMOID")
    assert read_radiogram(several).voi == Window(900, 800, "SIGMOID")
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 8])
    item.add_new("LUTData", "OW", (np.arange(4096) // 16).astype("<u2").tobytes())
    table = read_radiogram(changed(tmp_path / "3.dcm", VOILUTSequence=[item]))
    assert isinstance(table.voi, Table)
    assert np.array_equal(table.pixels(), pixels // 16)
    none = read_radiogram(changed(tmp_path / "4.dcm", WindowCenter=None, WindowWidth=None))
    assert none.voi is None
    assert np.ptp(none.pixels().astype(int)) * 4 > 1000  # the whole range of grey
    blind = read_radiogram(changed(tmp_path / "5.dcm", WindowCenter=60000, WindowWidth=2))
    assert blind.voi is None
    assert any("shows nothing" in note for note in blind.warnings)


def test_rescaling_and_padding(tmp_path: Path) -> None:
    pixels = chest()
    pixels[:20] = 4000
    more = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": None, "WindowWidth": None}
    path = dx(tmp_path / "1.dcm", more={**more, "PixelPaddingValue": 0})
    read = read_radiogram(path)
    assert np.array_equal(read.values, chest() * 2.0 - 100)
    assert read.outside is not None
    assert (read.pixels()[read.outside] == 0).all()
    dx(path, pixels, photometric="MONOCHROME1", more={"PixelPaddingValue": 4000})
    assert (read_picture(path).picture.pixels[:20] == 0).all()


def test_a_mirrored_image_is_turned_with_a_warning(tmp_path: Path) -> None:
    pixels = chest()
    for orientation, stored in ((["R", "F"], pixels[:, ::-1]), (["L", "H"], pixels[::-1]), (["L", "F"], pixels)):
        read = read_radiogram(
            dx(tmp_path / "1.dcm", np.ascontiguousarray(stored), more={"PatientOrientation": orientation})
        )
        assert np.array_equal(read.values, pixels)
        assert any("turned" in note for note in read.warnings) == (orientation != ["L", "F"])
    lateral = read_picture(dx(tmp_path / "2.dcm", view_position="LL"))
    assert lateral.header is not None
    assert lateral.header.view == "lateral"
    assert any("lateral view" in note for note in lateral.warnings)


# refusals


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "MR"}, "its modality is MR; a radiograph is CR, DX, RG, OT"),
        ({"Modality": "XC"}, "its modality is XC"),
        ({"Modality": "Yamada Tarou"}, "its modality is no known one"),
        ({"BodyPartExamined": "KNEE"}, "its body part is KNEE"),
        ({"BodyPartExamined": "YAMADA"}, "its body part is none of the chest"),
        ({"NumberOfFrames": "98765432"}, "it has several frames"),
        ({"Rows": 10}, "10 x 200 pixels are too small"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels are too many"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation is PALETTE COLOR"),
        ({"BitsAllocated": 32}, "BitsAllocated is 32"),
        ({"BitsStored": 17}, "BitsStored is another number"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel does not fit"),
        ({"PixelData": b"\0\1" * 100}, "PixelData is cut off: 200 bytes of 96000"),
        ({"PixelData": b"\0\1" * 48000}, "the image is one even field"),
        ({"PixelData": None}, "there is no image in it"),
        ({"RescaleSlope": "1e38"}, "RescaleSlope is no number"),
        ({"RescaleSlope": "0"}, "RescaleSlope is no number"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
def test_what_is_no_chest_radiograph_is_refused_with_the_reason(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    found = refusal(changed(tmp_path / "image.dcm", **elements))
    assert found.startswith(reason)
    assert [word for word in (*SECRET, "YAMADA") if word in found] == []


def test_what_is_unsure_is_read_with_a_warning(tmp_path: Path) -> None:
    read = read_picture(changed(tmp_path / "1.dcm", Modality="OT", BodyPartExamined=None, AnatomicRegionSequence=None))
    assert [note.split(":")[0] for note in read.warnings] == [
        "the modality is OT (other)",
        "the header names no body part",
    ]
    burned = read_picture(changed(tmp_path / "2.dcm", BurnedInAnnotation="YES"))
    assert burned.warnings == ("the header says that text is burned into the image: it may name the patient",)
    secondary = changed(tmp_path / "3.dcm", SOPClassUID=vocabulary.SECONDARY_CAPTURE, BurnedInAnnotation=None)
    assert any("secondary capture" in note for note in read_picture(secondary).warnings)


def test_a_secondary_capture_in_colour_that_is_grey(tmp_path: Path) -> None:
    grey = chest(bits=8)
    path = dx(tmp_path / "1.dcm", grey, bits_stored=8)
    for photometric, planes in (("RGB", (grey, grey, grey)), ("YBR_FULL", (grey, grey * 0 + 128, grey * 0 + 128))):
        for planar in (0, 1):
            dataset = pydicom.dcmread(path)
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, photometric
            dataset.PlanarConfiguration = planar
            dataset.PixelData = np.stack(planes, 0 if planar else 2).astype(np.uint8).tobytes()
            dataset.save_as(tmp_path / "2.dcm")
            assert np.array_equal(read_radiogram(tmp_path / "2.dcm").values, grey)
    dataset.PhotometricInterpretation = "RGB"
    dataset.save_as(tmp_path / "2.dcm")
    assert "coloured" in refusal(tmp_path / "2.dcm")


def test_files_without_preamble_or_meta_information(tmp_path: Path) -> None:
    whole = dx(tmp_path / "1.dcm").read_bytes()
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(whole[132:])
    assert np.array_equal(read_radiogram(bare).values, chest())
    start = whole.index(struct.pack("<HH2s", 8, 5, b"CS"))
    bare.write_bytes(whole[start:])
    assert np.array_equal(read_radiogram(bare).values, chest())
    wrong = bytearray(whole)
    wrong[140:144] = struct.pack("<L", 7)  # the group length, which nobody should believe
    bare.write_bytes(bytes(wrong))
    assert np.array_equal(read_radiogram(bare).values, chest())
    bare.write_bytes(whole[:-1000])
    assert refusal(bare).startswith("PixelData is cut off")


def test_what_inflates_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dx(tmp_path / "1.dcm", transfer_syntax=vocabulary.DEFLATED)
    monkeypatch.setattr("ikyoku.dicom.parsing.MOST_BYTES", 50_000)
    assert refusal(path) == "it inflates to more than 0 MiB"
    monkeypatch.undo()
    with path.open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    assert "is larger than 256 MiB" in refusal(path)


def test_a_header_made_to_cost_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikyoku.dicom.parsing.MOST_READS", 1000)
    whole = dx(tmp_path / "1.dcm").read_bytes()
    start = whole.index(struct.pack("<HH2s", 8, 5, b"CS"))
    many = b"".join(struct.pack("<HH2sH", 9, 0x1000 + i, b"SH", 0) for i in range(2000))
    (tmp_path / "1.dcm").write_bytes(whole[:start] + many + whole[start:])
    assert refusal(tmp_path / "1.dcm") == "it has more elements than any radiograph"


def test_a_code_stream_that_is_larger_than_its_header_says(tmp_path: Path) -> None:
    for syntax in (vocabulary.JPEG_LOSSLESS_SV1, vocabulary.JPEG_LS, vocabulary.JPEG_2000_LOSSLESS, vocabulary.RLE):
        dataset = pydicom.dcmread(dx(tmp_path / "1.dcm", transfer_syntax=syntax))
        dataset.Rows = 100
        dataset.save_as(tmp_path / "1.dcm")
        assert refusal(tmp_path / "1.dcm").startswith("its pixels are damaged, or of another kind or size")


def test_a_decoder_that_breaks_down_or_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ikyoku.dicom import decoding

    path = dx(tmp_path / "1.dcm", transfer_syntax=vocabulary.JPEG_LS)
    first = read_radiogram(path).values
    process = decoding._DECODER._process
    assert process is not None
    process.kill()
    process.wait()
    assert np.array_equal(read_radiogram(path).values, first)
    stopped = decoding._DECODER._process
    assert stopped is not None
    stopped.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(decoding, "MOST_SECONDS", 0.3)
    assert refusal(path) == "its pixels take too long to decode"
    monkeypatch.undo()
    assert np.array_equal(read_radiogram(path).values, first)


def test_threads_and_forked_processes_read_beside_each_other(tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        syntax = LOSSLESS[number % len(LOSSLESS)]
        paths.append(dx(tmp_path / f"{number}.dcm", chest(seed=number), transfer_syntax=syntax))
    wanted = [read_picture(path) for path in paths]
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(read_picture, paths * 3)) == wanted * 3
    child = os.fork()
    if not child:
        os._exit(0 if [read_picture(path) for path in paths] == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [read_picture(path) for path in paths] == wanted


def test_an_abort_inside_gdcm_is_a_refusal(tmp_path: Path) -> None:
    path = dx(tmp_path / "1.dcm", transfer_syntax=vocabulary.JPEG_LOSSLESS_SV1)
    first, data = read_radiogram(path).values, path.read_bytes()
    broken = tmp_path / "2.dcm"
    start = data.index(b"\xff\xd8\xff\xc3")
    broken.write_bytes(data[:start] + data[start:].replace(b"\xff\xc4", b"\xfd\xc4", 1))  # no table of codes
    assert refusal(broken) == "its pixels are damaged: the decoder broke down on them"
    assert np.array_equal(read_radiogram(path).values, first)


def test_what_pydicom_says_is_never_passed_on(tmp_path: Path, capfd: Any, caplog: Any) -> None:
    caplog.set_level(0)
    whole = dx(tmp_path / "1.dcm").read_bytes()
    broken = whole.replace(b"UI", b"PN").replace(b"US", b"DS")
    (tmp_path / "1.dcm").write_bytes(broken)
    found = refusal(tmp_path / "1.dcm")
    heard = found + caplog.text + "".join(capfd.readouterr())
    assert [word for word in SECRET if word in heard] == []


def test_quiet_lets_go_of_what_pydicom_said() -> None:
    with pytest.raises(Unreadable) as caught, quiet():
        raise ValueError("Yamada^Tarou")
    assert "Yamada" not in str(caught.value)
