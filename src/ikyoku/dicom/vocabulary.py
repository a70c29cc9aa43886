"""The words of DICOM that may leave a file: closed lists. Whatever else stands in an element is never repeated."""

from __future__ import annotations

from collections.abc import Mapping

MODALITIES: Mapping[str, str] = {
    "CR": "computed radiography",
    "DX": "digital radiography",
    "RG": "conventional film, scanned",
    "OT": "another device, such as a film scanner",
}
"""What is read as a radiograph. All else is refused: another kind of image, or photographs (XC), however much a body
part may say chest."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OTHER_MODALITIES = _words(
    """
    AR ASMT AU BDUS BI BMD CT DG DOC ECG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT
    OP OPM OPR OPT OPTBSV OPTENF OPV OSS PLAN PR PT PX REG RESP RF RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD
    RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XC DF DS CD DD EC FA FS LP MA MS ST VF CF
    CP CS DM
    """
)
"""The other defined terms of Modality (PS3.3 C.7.3.1.1.1), those retired too."""

CHEST = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "RIB", "RIBS", "MEDIASTINUM", "CHESTABDOMEN", "CHEST_ABDOMEN"})
"""Body parts (PS3.16 annex L, with usual variants) whose radiograph shows the lungs."""

OTHER_BODY_PARTS = _words(
    """
    ABDOMEN ABDOMENPELVIS ANKLE ARM BACK BLADDER BRAIN BREAST CALCANEUS CALF CERVIX CLAVICLE COCCYX COLON CSPINE
    CTSPINE ELBOW EXTREMITY EYE FACE FEMUR FINGER FOOT FOREARM GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS
    JAW KIDNEY KNEE LEG LIVER LSPINE LSSPINE LUMBAR MANDIBLE MAXILLA NECK NOSE ORBIT PANCREAS PATELLA PELVIS
    SACRUM SCALP SCAPULA SHOULDER SINUS SKULL SPINE SPLEEN SSPINE STERNUM STOMACH TESTIS THIGH THUMB TLSPINE TMJ
    TOE TOOTH TSPINE UPPERLIMB UTERUS WHOLEBODY WRIST
    """
)
"""Other body parts that a message may name."""

FRONTAL = frozenset({"PA", "AP"})
LATERAL = frozenset({"LL", "RL", "LATERAL", "LAT"})
"""Views from the side. LLD and RLD are not: the patient lies on a side, the view may be frontal."""
VIEWS = FRONTAL | LATERAL | {"LLD", "RLD", "LLO", "RLO", "RAO", "LAO", "RPO", "LPO", "OBL"}

LATERALITIES = frozenset("LRBU")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_RCT", "YBR_ICT", "YBR_FULL_422")
OTHER_PHOTOMETRIC = frozenset({"PALETTE COLOR", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "ARGB", "CMYK", "XYB"})

CHARACTER_SETS = frozenset(
    [f"ISO_IR {n}" for n in (6, 100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 192)]
    + [f"ISO 2022 IR {n}" for n in (6, 100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 87, 159, 149, 58)]
    + ["GB18030", "GBK", ""]
)
"""Defined terms of Specific Character Set (PS3.3 C.12.1.1.2)."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
RADIOGRAPHS: Mapping[str, str] = {
    "1.2.840.10008.5.1.4.1.1.1": "CR Image Storage",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray Image Storage - For Presentation",
    FOR_PROCESSING: "Digital X-Ray Image Storage - For Processing",
    SECONDARY_CAPTURE: "Secondary Capture Image Storage",
}

CHEST_CODES = frozenset(
    {
        ("SCT", "51185008"),
        ("SCT", "43799004"),
        ("SCT", "39607008"),
        ("SCT", "816094009"),
        ("SCT", "113197003"),
        ("SCT", "416550000"),
    }
    | {("SRT", "T-D3000"), ("SNM3", "T-D3000"), ("SRT", "T-28000"), ("SRT", "T-11300")}
)
"""Codes of Anatomic Region Sequence: chest, thoracic cavity, lung, rib (PS3.16 CID 4031)."""

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE = "1.2.840.10008.1.2.5"

TRANSFER_SYNTAXES: Mapping[str, str] = {
    IMPLICIT: "",
    EXPLICIT: "",
    DEFLATED: "",
    BIG_ENDIAN: "",
    JPEG_BASELINE: "jpeg",
    JPEG_EXTENDED: "jpeg",
    JPEG_LOSSLESS: "jpeg",
    JPEG_LOSSLESS_SV1: "jpeg",
    JPEG_LS: "jpeg-ls",
    JPEG_LS_NEAR: "jpeg-ls",
    JPEG_2000_LOSSLESS: "jpeg-2000",
    JPEG_2000: "jpeg-2000",
    HTJ2K_LOSSLESS: "jpeg-2000",
    HTJ2K_RPCL: "jpeg-2000",
    HTJ2K: "jpeg-2000",
    RLE: "rle",
}
"""The transfer syntaxes that are read, and the decoder each needs ("" where the pixels stand there as they are)."""
LOSSY = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG_2000, HTJ2K})
