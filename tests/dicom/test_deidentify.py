from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from ikyoku.dicom import read_radiogram, vocabulary
from ikyoku.dicom.deidentify import write_deidentified
from ikyoku.dicom.write import CHARACTER_SETS, Subject, write_dx
from ikyoku.errors import DataError, SpecError
from ikyoku.pictures import read_picture

chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]

SECRET = "a secret that is long enough"
ENCODINGS = ("utf-8", "cp932", "euc_jp", "iso2022_jp", "utf-16-le", "utf-16-be")
PLAIN = ("Yamada", "YAMADA", "Tarou", "98765432", "19500102", "Sakura Hospital", "ACC777", "SER-42", "20260401")
KANJI = ("山田", "太郎", "やまだ", "たろう", "桜病院", "佐藤")
KANA = ("ﾔﾏﾀﾞ", "ﾀﾛｳ")
SYNTAXES = [vocabulary.IMPLICIT, vocabulary.BIG_ENDIAN, vocabulary.DEFLATED, vocabulary.RLE, vocabulary.JPEG_LS]


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def patient(path: Path, *, character_set: str = "kanji", syntax: str = vocabulary.EXPLICIT, **more: Any) -> Path:
    """Writes a chest with its patient wherever one can stand: names, comments, sequences, overlays, curves."""
    ascii_only = character_set in ("none", "latin")
    first = "ﾔﾏﾀﾞ^ﾀﾛｳ" if character_set == "kana-kanji" else "Yamada^Tarou"
    name = "Yamada^Tarou" if ascii_only else f"{first}=山田^太郎=やまだ^たろう"
    words = "Sakura Hospital" if ascii_only else "桜病院"
    subject = Subject(name, "98765432", "19500102", "M")
    elements: dict[str, Any] = {
        "AccessionNumber": "ACC777",
        "InstitutionName": words,
        "StationName": "SER-42",
        "OperatorsName": name,
        "ReferringPhysicianName": "Sato" if ascii_only else "Sato=佐藤",
        "PatientComments": f"{words} 98765432",
        "ImageComments": "Yamada 19500102",
        "StudyDescription": f"chest of {words}",
        "OtherPatientIDs": "98765432",
        "AcquisitionDeviceProcessingDescription": "Yamada",
        "WindowCenterWidthExplanation": "for YAMADA",
        "RequestAttributesSequence": [
            item(
                RequestedProcedureDescription=words,
                ScheduledProtocolCodeSequence=[item(CodeMeaning="Yamada 98765432", CodeValue="1")],
            )
        ],
        "ViewCodeSequence": [item(CodeValue="272479007", CodingSchemeDesignator="SCT", CodeMeaning="of Yamada")],
        "OriginalAttributesSequence": [item(ModifiedAttributesSequence=[item(PatientName=name, PatientID="98765432")])],
        **more,
    }
    write_dx(
        path, chest(), key="Yamada", subject=subject, character_set=character_set, transfer_syntax=syntax, more=elements
    )
    dataset = pydicom.dcmread(path)
    dataset.preamble = b"Yamada 98765432".ljust(128, b"\0")
    block = dataset.private_block(0x0009, "YAMADA PRIVATE", create=True)
    block.add_new(1, "LO", "98765432")
    block.add_new(2, "SQ", [item(PatientName="Yamada^Tarou")])
    dataset.add_new(0x60000010, "US", 4)
    dataset.add_new(0x60000011, "US", 4)
    dataset.add_new(0x60000022, "LO", "Yamada overlay")
    dataset.add_new(0x60003000, "OW", b"Yamada98")
    dataset.add_new(0x50000022, "LO", "Yamada curve")
    dataset.add_new(0x000A1099, "LO", "98765432 of no dictionary")
    dataset.add_new(0xFFFCFFFC, "OB", b"Yamada98")
    dataset.save_as(path)
    return path


def found_in(data: bytes, words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Returns the words that stand in the bytes in any encoding, without ASCII escapes around single-byte words."""
    found = []
    for word in words:
        for encoding in ENCODINGS:
            try:
                needle = word.encode(encoding)
            except UnicodeEncodeError:
                continue
            needle = needle.removeprefix(b"\x1b$B").removesuffix(b"\x1b(B")
            if needle in data:
                found.append((word, encoding))
    return found


@pytest.mark.parametrize("character_set", CHARACTER_SETS)
def test_nothing_of_the_patient_is_in_the_copy(tmp_path: Path, character_set: str) -> None:
    source, copy = patient(tmp_path / "source.dcm", character_set=character_set), tmp_path / "copy.dcm"
    there = found_in(source.read_bytes(), PLAIN + KANJI + KANA)
    assert {"98765432", "19500102", "Yamada"} <= {word for word, _ in there}
    if character_set not in ("none", "latin"):
        assert {"山田", "太郎"} <= {word for word, _ in there}  # the search would find them
    report = write_deidentified(source, copy, secret=SECRET)
    data = copy.read_bytes()
    assert found_in(data, PLAIN + KANJI + KANA) == []
    old, new = pydicom.dcmread(source), pydicom.dcmread(copy)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert old[keyword].value.encode() not in data
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert new.PatientIdentityRemoved == "YES"
    assert new.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert [element.tag for element in new.iterall() if element.tag.is_private] == []
    assert [str(element.tag) for element in new.iterall() if element.tag.group >> 8 in (0x50, 0x60)] == []
    assert data[:128] == bytes(128)
    assert report.removed["PatientName"] == 2  # its own, and that in a sequence
    assert report.removed["private"] == 3
    assert report.removed["overlay"] == 4
    assert report.removed["curve"] == 1
    assert report.removed["unknown"] == 1
    assert "PatientComments" in report.removed
    assert {"Rows", "ViewPosition", "WindowCenter", "ImageType"} <= set(report.kept)
    assert [word for word in (*PLAIN, *KANJI, *KANA) if word in repr(report)] == []


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_copy_looks_as_its_source_does(tmp_path: Path, syntax: str) -> None:
    source, copy = patient(tmp_path / "source.dcm", syntax=syntax), tmp_path / "copy.dcm"
    write_deidentified(source, copy, secret=SECRET)
    old, new = read_radiogram(source), read_radiogram(copy)
    assert np.array_equal(old.values, new.values)
    assert (old.voi, old.inverted, new.warnings) == (new.voi, new.inverted, old.warnings)
    assert read_picture(source).picture == read_picture(copy).picture
    assert new.header.view == "frontal"
    assert new.header.transfer_syntax == vocabulary.EXPLICIT


def test_tables_padding_and_signs_stay(tmp_path: Path) -> None:
    table = item(LUTExplanation="Yamada")
    table.add_new("LUTDescriptor", "SS", [4096, -2048, 12])
    table.add_new("LUTData", "OW", np.arange(4096).astype("<u2").tobytes())
    pixels = (chest().astype(np.int32) - 2048).astype(np.int16)
    more = {"VOILUTSequence": [table], "PixelPaddingValue": -2048, "PixelPaddingRangeLimit": -2040}
    write_dx(tmp_path / "a.dcm", pixels, key="1", more={**more, "PhotometricInterpretation": "MONOCHROME1"})
    write_deidentified(tmp_path / "a.dcm", tmp_path / "b.dcm", secret=SECRET)
    old, new = read_radiogram(tmp_path / "a.dcm"), read_radiogram(tmp_path / "b.dcm")
    assert np.array_equal(old.values, pixels)
    assert np.array_equal(new.values, pixels)
    assert old.outside is not None
    assert np.array_equal(old.outside, new.outside)
    assert np.array_equal(old.pixels(), new.pixels())
    assert b"Yamada" not in (tmp_path / "b.dcm").read_bytes()


def test_what_hides_beside_the_stored_bits_or_in_a_code_stream_is_gone(tmp_path: Path) -> None:
    source = tmp_path / "source.dcm"
    write_dx(source, chest(), key="1")
    dataset = pydicom.dcmread(source)
    hidden = chest() | (np.uint16(1) << 15)  # an old overlay in bit 15
    dataset.PixelData = hidden.astype("<u2").tobytes()
    dataset.save_as(source)
    write_deidentified(source, tmp_path / "a.dcm", secret=SECRET)
    assert pydicom.dcmread(tmp_path / "a.dcm").PixelData == chest().astype("<u2").tobytes()
    write_dx(source, chest(bits=8), key="1", bits_stored=8, transfer_syntax=vocabulary.JPEG_BASELINE)
    dataset = pydicom.dcmread(source)
    code = dataset.PixelData
    comment = b"\xff\xfe\x00\x12Yamada 98765432\0"
    start = code.index(b"\xff\xd8") + 2
    size = int.from_bytes(code[start - 6 : start - 2], "little") + len(comment)
    dataset.PixelData = (
        code[: start - 6] + size.to_bytes(4, "little") + code[start - 2 : start] + comment + code[start:]
    )
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(source)
    assert b"Yamada" in source.read_bytes()
    write_deidentified(source, tmp_path / "b.dcm", secret=SECRET)
    assert b"Yamada" not in (tmp_path / "b.dcm").read_bytes()
    assert np.array_equal(read_radiogram(source).values, read_radiogram(tmp_path / "b.dcm").values)
    assert pydicom.dcmread(tmp_path / "b.dcm").LossyImageCompression == "01"


def test_a_secondary_capture_in_colour(tmp_path: Path) -> None:
    grey = chest(bits=8)
    source = tmp_path / "source.dcm"
    for photometric, planes in (("RGB", [grey] * 3), ("YBR_FULL", [grey, grey * 0 + 128, grey * 0 + 128])):
        write_dx(source, grey, key="1", bits_stored=8)
        dataset = pydicom.dcmread(source)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, photometric, 1
        dataset.PixelData = np.stack(planes).astype(np.uint8).tobytes()
        dataset.save_as(source)
        write_deidentified(source, tmp_path / f"{photometric}.dcm", secret=SECRET)
        assert np.array_equal(read_radiogram(tmp_path / f"{photometric}.dcm").values, grey)


def test_files_of_one_study_and_patient_stay_together(tmp_path: Path) -> None:
    for name, view in (("pa", "PA"), ("lat", "LL")):
        write_dx(
            tmp_path / f"{name}.dcm", chest(), key=name, study="one", view_position=view, subject=Subject(id="98765432")
        )
        write_deidentified(tmp_path / f"{name}.dcm", tmp_path / f"{name}-1.dcm", secret=SECRET)
        write_deidentified(tmp_path / f"{name}.dcm", tmp_path / f"{name}-2.dcm", secret=SECRET + "!")
    one, other, foreign = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("pa-1", "lat-1", "pa-2"))
    assert one.StudyInstanceUID == other.StudyInstanceUID != foreign.StudyInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.PatientID == other.PatientID != foreign.PatientID
    assert one.PatientID not in ("", "98765432")
    assert other.ViewCodeSequence[0].CodeMeaning == "left lateral"
    again = tmp_path / "again.dcm"
    write_deidentified(tmp_path / "pa.dcm", again, secret=SECRET)
    assert again.read_bytes() == (tmp_path / "pa-1.dcm").read_bytes()


def test_what_is_refused(tmp_path: Path) -> None:
    source, copy = patient(tmp_path / "source.dcm"), tmp_path / "copy.dcm"
    whole = source.read_bytes()
    with pytest.raises(SpecError, match="at least 16"):
        write_deidentified(source, copy, secret="short")
    with pytest.raises(DataError, match="exists already"):
        write_deidentified(source, source, secret=SECRET)
    copy.write_text("of somebody else")
    with pytest.raises(DataError, match="exists already"):
        write_deidentified(source, copy, secret=SECRET)
    assert (source.read_bytes(), copy.read_text()) == (whole, "of somebody else")
    copy.unlink()
    patient(source, Modality="CT")
    with pytest.raises(DataError, match="its modality is CT"):
        write_deidentified(source, copy, secret=SECRET)
    source.write_bytes(whole[:-5000])
    with pytest.raises(DataError, match="cut off"):
        write_deidentified(source, copy, secret=SECRET)
    for data, reason in ((b"", "it is empty"), ("山田太郎様".encode(), "it is no DICOM file")):
        source.write_bytes(data)
        with pytest.raises(DataError, match=reason):
            write_deidentified(source, copy, secret=SECRET)
    patient(source)
    large = pydicom.dcmread(source)
    large.Rows = large.Columns = 60_000  # a code stream of some bytes can be as large as that
    large.save_as(source)
    with pytest.raises(DataError, match="60000 x 60000 pixels are too many"):
        write_deidentified(source, copy, secret=SECRET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.dcm"]


def test_text_in_the_pixels_has_to_be_allowed(tmp_path: Path) -> None:
    source, copy = patient(tmp_path / "source.dcm", BurnedInAnnotation="YES"), tmp_path / "copy.dcm"
    with pytest.raises(DataError, match="text is burned into the image"):
        write_deidentified(source, copy, secret=SECRET)
    report = write_deidentified(source, copy, secret=SECRET, burned_in_allowed=True)
    assert report.warnings == ("the header says that text is burned into the image: it may name the patient",)
    assert pydicom.dcmread(copy).BurnedInAnnotation == "YES"
    image = Image.fromarray(chest(600, 500, bits=8))
    ImageDraw.Draw(image).text((300, 550), "YAMADA T", fill=255, font=ImageFont.load_default(28))
    write_dx(source, np.asarray(image), key="1", bits_stored=8)
    report = write_deidentified(source, tmp_path / "drawn.dcm", secret=SECRET)
    assert report.warnings == ("1 line(s) of what looks like letters are drawn into the image: look for a name",)


def test_the_copy_is_a_dx_by_the_standard(tmp_path: Path) -> None:
    import shutil
    import subprocess

    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not here")
    source, copy = patient(tmp_path / "source.dcm"), tmp_path / "copy.dcm"
    write_dx(tmp_path / "plain.dcm", chest(), key="1", subject=Subject("Yamada^Tarou=山田^太郎", "1"))
    write_deidentified(source, copy, secret=SECRET)
    for path in (tmp_path / "plain.dcm", copy):
        done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False, timeout=60)
        said = done.stdout + done.stderr
        assert "DXImageForPresentation" in said
        assert [line for line in said.splitlines() if line.startswith("Error")] == []
