"""What English chest X-ray reports speak of and how they deny and doubt it: the words of the reader, as tables.

All are regular expressions over small letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ikyoku.findings.types import Change, Site

_HEART = r"(?:heart(?: size)?|cardiac (?:silhouette|size|contour|shadow)|cardiomediastinal silhouette|heart shadow)"
_MEDIASTINUM = r"(?:mediastin(?:um|al (?:contours?|silhouette)))"
WORDS: Mapping[str, tuple[str, ...]] = {  # where words overlap, the longest counts; a gap never crosses a comma
    "cardiomegaly": (
        r"cardiomegaly|cardiac enlargement|cardiac decompensation with enlarge\w+",
        rf"enlarged {_HEART}|{_HEART}[^.;,]{{0,45}}?\benlarged|enlargement of the {_HEART}|borderline {_HEART}",
    ),
    "mediastinal_widening": (
        rf"(?:widened|enlarged|wide) (?:superior |upper )?{_MEDIASTINUM}",
        rf"{_MEDIASTINUM}[^.;,]{{0,30}}?\b(?:widened|wide)",
        r"mediastinal widening|widening of the (?:superior |upper )?mediastinum|mediastinal mass",
    ),
    "hilar_enlargement": (
        r"(?:hilar|perihilar) (?:enlargement|prominence|fullness)|hilar (?:lymph)?adenopathy",
        r"(?:enlarged|prominent|full) (?:right |left )?hil(?:um|a|i)\b",
        r"hil(?:um|a|i)\b[^.;,]{0,25}?\b(?:enlarged|prominent)",
        r"(?:fullness|prominence|enlargement) of (?:the |both )?(?:right |left )?hil(?:um|a|i)\b",
    ),
    "lymphadenopathy": (r"(?:lymph)?adenopathy|enlarged (?:\w+ )?lymph nodes?|lymph node enlargement",),
    "mediastinal_shift": (
        r"mediastinal (?:shift|deviation)|(?:shift|deviation) of the mediast\w+(?: structures)?",
        r"mediastinum[^.;,]{0,15}?\b(?:shifted|deviated)",
    ),
    "tracheal_deviation": (
        r"tracheal (?:shift|deviation)|(?:shift|deviation) of the trachea|trachea[^.;,]{0,15}?\b(?:shifted|deviated)",
    ),
    "aortic_calcification": (
        r"aortic (?:arch |knob )?(?:\w+ )?calcifications?|athero(?:sclero|mat)\w+ (?:aortic )?calcifications?",
        r"calcifi(?:ed|cations?)(?: of| in| along)?(?: the)? (?:thoracic |tortuous )?aort(?:a|ic(?: arch| knob)?)",
        r"aort(?:a|ic arch|ic knob)[^.;,]{0,15}? calcified|(?<=tortuous and )calcified|(?<=unfolded and )calcified",
    ),
    "aortic_tortuosity": (
        r"(?:aort\w+[^.;,]{0,20}?)?tortuo(?:us|sity)(?: (?:thoracic )?aorta| of the aorta)?",
        r"unfolded aorta|aorta[^.;,]{0,20}?\bunfolded",
    ),
    "aortic_enlargement": (
        r"aortic (?:enlargement|dilatation|aneurysm|ectasia)|(?:ectatic|dilated|enlarged) (?:thoracic )?aorta",
        r"aorta[^.;,]{0,20}?\b(?:ectatic|dilated|enlarged|aneurysmal)",
    ),
    "infiltrate": (r"infiltrat(?:es?|ions?)",),
    "consolidation": (r"consolidat(?:ions?|ive (?:changes?|opacit(?:y|ies)|process))|consolidated|air bronchograms?",),
    "ground_glass": (r"ground[- ]glass(?: (?:opacit(?:y|ies)|attenuation|change))?",),
    "reticular": (
        r"reticul(?:ar|ation|onodular)(?: (?:opacit(?:y|ies)|pattern|markings|shadows?))?|honeycomb(?:ing)?",
        r"interstitial (?:lung disease|fibrosis|opacit(?:y|ies)|markings|changes?|pattern|prominence|disease)",
        r"(?:pulmonary |lung )?fibrosis|fibrotic changes?|prominen(?:ce of the|t) interstiti\w+",
    ),
    "linear": (r"(?:linear|band-?like|streaky|strand-?like)(?: \w+)? (?:opacit(?:y|ies)|densit(?:y|ies))",),
    "opacity": (
        r"(?:(?:airspace|air space|air-space|parenchymal|basilar|retrocardiac|hazy|patchy|focal|lung) )*"
        r"(?:opacit(?:y|ies)|opacification|densit(?:y|ies)|haziness)|air ?-?space (?:disease|process)",
    ),
    "nodule": (r"(?:micro)?nodul(?:es?|ar (?:opacit(?:y|ies)|densit(?:y|ies)|lesions?)|arity)",),
    "mass": (r"mass(?:es)?(?:-like (?:opacity|lesion|consolidation))?|tumou?rs?",),
    "malignancy": (
        r"malignan(?:cy|t \w+)|neoplas(?:m|tic \w+)|metasta(?:sis|ses|tic(?: \w+)?)",
        r"(?:lung |bronchogenic )?(?:cancer|carcinoma)",
    ),
    "cavity": (r"cavit(?:y|ies|ary (?:lesions?|nodules?)|ation|ating lesions?)",),
    "edema": (
        r"(?:pulmonary |interstitial |alveolar |lung )*o?edema|pulmonary congestion|kerley[- ]?b? lines|septal lines",
        r"(?:pulmonary |central )?(?:vascular|venous) (?:vascular )?congestion",
        r"cephali[sz]ation|(?:pulmonary )?vascular redistribution|peribronchial cuffing",
        r"(?:volume|fluid) overload|congestion",
    ),
    "heart_failure": (r"(?:congestive )?(?:heart|cardiac) failure|congestive failure|chf",),
    "pneumonia": (r"(?:broncho)?pneumonias?|pneumonic (?:process|infiltrates?)|pneumonitis|infectio(?:n|us process)",),
    "tuberculosis": (r"tubercul(?:osis|ous \w+)|\btb\b",),
    "atelectasis": (
        r"atelecta(?:sis|ses|tic (?:changes?|opacit(?:y|ies)))|(?:lobar|lobe) collapse|volume loss|collapsed lobe",
    ),
    "bronchial_wall": (r"bronchiectasis|bronchiectatic changes?|bronchial wall thickening|bronchitis",),
    "pneumothorax": (r"(?:hydro|tension )?pneumothora(?:x|ces)|ptx|(?:lung|pulmonary) collapse",),
    "pleural_effusion": (
        r"(?:subpulmonic |pulmonic |pleural |parapneumonic )?effusions?|pleural fluid|hydrothorax|ha?emothorax",
        r"(?:layering|loculated|fissural) fluid|fluid (?:in|within|along) the (?:\w+ )?fissures?",
    ),
    "costophrenic_blunting": (
        r"blunt(?:ing|ed)(?: of)?(?: the)?(?: (?:right|left|bilateral|both|lateral|posterior))* "
        r"(?:costophrenic|cp) (?:angles?|sulc(?:us|i))",
        r"(?:costophrenic|cp) (?:angles?|sulc(?:us|i))[^.;,]{0,25}?\bblunt(?:ed|ing)",
    ),
    "pleural_thickening": (
        r"(?:pleural|apical|pleuroparenchymal)(?: pleural)? (?:thickening|scarring|cap(?:ping)?|plaques?)",
        r"thickened pleura|pleural calcifications?",
    ),
    "fracture": (
        r"(?:compression |clavicular |vertebral |osseous |bony |sternal |rib |costal )*fractures?|fractured \w+",
        r"fractures? of the [^.;,]{0,30}?ribs?|compression deformit(?:y|ies)",
    ),
    "scoliosis": (r"(?:dextro|levo)?scolio(?:sis|tic (?:curvature|deformity))",),
    "spondylosis": (
        r"degenerative (?:\w+ )?(?:changes?|disease|spurring)(?: (?:of|in) the (?:\w+ )?spine)?",
        r"spondylosis|osteophytes?",
    ),
    "cv_catheter": (
        r"picc(?: line)?|venous catheter|(?:hemo)?dialysis catheter|pa catheter",
        r"(?:central|internal jugular|subclavian|ij|jugular)(?: venous)?(?: access)? (?:lines?|catheters?)",
        r"port-?a-?cath|(?:chest |wall |access |infusion )+port",
        r"mediport|hickman(?: catheter)?|swan[- ]ganz(?: catheter)?",
    ),
    "endotracheal_tube": (r"endotracheal tube|et tube|ett|tracheostomy(?: tube| cannula)?",),
    "gastric_tube": (
        r"(?:naso|oro)gastric tube|(?:enteric|feeding|gastric|ng|og|dobb?hoff|gastrostomy) tube|ngt|ogt|dobb?hoff",
    ),
    "chest_drain": (
        r"(?:chest|thoracostomy) tubes?|chest drain|pleural (?:drain|catheter|tube)|pigtail(?: catheter)?",
        r"drainage catheter",
    ),
    "pacemaker": (
        r"(?:cardiac )?pace(?:maker|r)(?: leads?| generator| wires?)?|pacing (?:leads?|wires?|device)",
        r"icd(?: leads?)?|aicd|(?:implantable cardioverter[- ])?defibrillator",
    ),
    "other_device": (
        r"(?:median )?sternotomy(?: wires?)?|(?:surgical )?clips|(?:prosthetic|artificial|replaced) (?:\w+ )?valve",
        r"(?:aortic |mitral )?valve replacement|stents?(?: graft)?",
    ),
    "emphysema": (r"emphysema(?:tous (?:changes?|lungs?))?|bull(?:a|ae|ous (?:changes?|disease))|blebs?|copd",),
    "hyperinflation": (
        r"hyper-?(?:inflat(?:ion|ed)|expan(?:ded|sion)|aerat(?:ed|ion))|over-?inflat(?:ed|ion)",
        r"flatten(?:ed|ing)[^.;,]{0,25}?diaphragms?",
    ),
    "diaphragm_elevation": (
        r"(?:elevat(?:ed|ion)|eventration)(?: of)?(?: the)?(?: (?:right|left))? (?:hemi-?)?diaphragm",
        r"(?:hemi-?)?diaphragms?[^.;,]{0,20}?\belevated",
    ),
    "hiatal_hernia": (r"hiat(?:al|us) hernia",),
    "subcutaneous_emphysema": (r"(?:subcutaneous|soft tissue) (?:emphysema|gas|air)|pneumomediastinum",),
    "free_air": (
        r"(?:free|intraperitoneal|subdiaphragmatic)(?: intra-?(?:peritoneal|abdominal)| subdiaphragmatic)? (?:air|gas)",
        r"pneumoperitoneum",
    ),
    "calcification": (r"calcifi(?:cations?|ed(?: (?:granulomas?|nodes?|lesions?|lymph nodes?))?)",),
    "old_inflammation": (
        r"(?:old|prior|remote|healed|previous) (?:granulomatous (?:disease|infection)|inflammat\w+(?: changes?)?)",
        r"granulomatous disease|granulomas?|scar(?:ring|s)?|sequelae of [^.;,]{0,30}?(?:infection|inflammation)",
    ),
}
"""The words of each finding, by the name of `findings.FINDINGS`."""


_LUNGS = frozenset(
    ("infiltrate", "consolidation", "opacity", "ground_glass", "reticular", "linear", "nodule", "mass", "cavity")
) | frozenset(("edema", "pneumonia", "atelectasis", "malignancy"))
_MIDDLE = frozenset(("mediastinal_widening", "hilar_enlargement", "mediastinal_shift", "lymphadenopathy"))
_FINE = r"\b(?:normal|unremarkable|within normal|not enlarged)"
NORMAL: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("heart", rf"{_HEART}[^.;]{{0,60}}{_FINE}|normal {_HEART}", frozenset(("cardiomegaly",))),
    (
        "mediastinum",
        rf"(?:{_MEDIASTINUM}|hil(?:um|a|i|ar)\b|cardiomediastinal)[^.;]{{0,60}}{_FINE}|normal (?:cardio)?mediastin\w+",
        _MIDDLE | {"cardiomegaly", "tracheal_deviation", "aortic_enlargement"},
    ),
    (
        "vessels",
        rf"(?:vascul\w+|vascular markings)[^.;]{{0,30}}{_FINE}|normal (?:pulmonary )?vascul\w+",
        frozenset(("edema",)),
    ),
    ("trachea", r"trachea[^.;]{0,20}\b(?:midline|central|unremarkable)", frozenset(("tracheal_deviation",))),
    ("lungs", r"lungs?\b[^.;]{0,60}\b(?:clear|unremarkable|normal)|clear lungs|clear bilaterally", _LUNGS),
    (
        "pleura",
        r"(?:costophrenic|sulci|pleura\w*|cp angles?)[^.;]{0,40}\b(?:sharp|clear|normal|unremarkable)"
        r"|sharp costophrenic",
        frozenset(("pleural_effusion", "costophrenic_blunting", "pleural_thickening", "pneumothorax")),
    ),
    (
        "bones",
        r"(?:bones?|bony|osseous|skelet\w+|ribs?)\b[^.;]{0,50}\b(?:normal|unremarkable|intact|within normal)"
        r"|no (?:acute )?(?:osseous|bony) (?:abnormalit\w+|findings?|lesions?)",
        frozenset(("fracture", "scoliosis", "spondylosis")),
    ),
    (
        "chest",
        r"no (?:acute|active)[^.;]{0,40}\b(?:process|disease|abnormalit\w+|findings?)|normal chest",
        _LUNGS | {"pleural_effusion", "pneumothorax", "cardiomegaly"},
    ),
)
"""Organs, the words that call them normal, and the findings that this denies."""

_SURE = r"(?:definite|convincing|radiographic|obvious|new|other|acute|significant)"
_MUCH = r"(?:entirely |completely |definitely )?"
CUES: Mapping[str, tuple[str, ...]] = {  # the first kind that fits at a place counts
    "maybe_after": (
        rf"(?:cannot|can not|can't|could not) be {_MUCH}(?:excluded|ruled out)",
        rf"(?:is|are) not {_MUCH}excluded|not excluded|(?:is|are) difficult to exclude",
        r"(?:is|are|remains?) (?:possible|suspected|likely|questioned|a (?:possibility|concern|consideration))"
        r"(?! (?!(?:in|on|at|and|but|given|here)\b)\w)",  # not "the opacity is likely atelectasis"
        r"(?:is|are) (?:considered |felt |thought )?less likely(?! than)",
        r"(?:may|might|could) be (?:present|considered)|should be considered|in the differential",
    ),
    "no_after": (
        r"(?:(?:is|are|was|were|has been|have been) )?(?:not|no longer) (?:\w+ )?"
        r"(?:seen|identified|visuali[sz]ed|visible|present|evident|appreciated|demonstrated|detected|noted|apparent)",
        r"(?:has|have) (?:since |now |completely |nearly )*(?:resolved|cleared)|(?:is|are|now) (?:resolved|absent)",
        r"(?:is|was|has been|have been) (?:ruled out|excluded|removed|withdrawn)"
        r"|(?:is |are )?(?:(?:considered|felt|thought|to be|very) )*unlikely",
    ),
    "pseudo": (
        r"no (?:significant |interval |appreciable |definite )*(?:increase|decrease|change)|not only|no improvement",
        r"without (?:significant |interval )*change",
    ),
    "maybe": (
        r"possibl[ey]|probabl[ey]|likely|may|might|could|suspected|suspect|suspicion of",
        r"questionable|question|borderline",
        r"(?:suspicious|concerning|concern|worrisome) for|suggest(?:s|ive of|ing|ion of)?|equivocal|favou?r(?:s|ed)?",
        rf"(?:cannot|can not|can't|could not|not) (?:be )?{_MUCH}(?:exclude|rule out)|versus|vs|differential",
        r"consider|presumed|presumably|potential|rule out|r/o",
    ),
    "no": (
        rf"no (?:longer|(?:{_SURE} )*(?:evidence|sign|suggestion)s?(?: of)?)|no|not|without|nor|neither|none",
        r"(?:free|clear|absence) of|negative for|denies|rather than|resolution of|resolved",
        r"exclud(?:es|ing)|(?:has|have) cleared of|fails? to (?:show|demonstrate)|(?:interval )?removal of",
    ),
    "turn": (
        r"but|however|although|though|except|aside from|apart from|other than|yet|whereas|while|which|otherwise",
        r"despite|there (?:is|are)",
    ),
}
"""Words that deny or doubt what follows, or what went before; that only look like it; that turn to something else."""

_AMOUNT = r"small|mild|moderate|large|minimal|trace|severe|tiny|slight|low|prominent|patchy|enlarged"
_STATE = r"stable|unchanged|persistent|increased|new|chronic|interval|improved|improving|worsening|decreased"
_THERE = r"(?:and |a |an |the |there |is |with )*"
_SEEN = r"(?! (?:not |no longer )?(?:seen|identified|noted|present|evident|visuali))"
ANEW = re.compile(
    rf"\b(?:and|with)\s+(?={_THERE}(?:{_AMOUNT}|{_STATE}|left|right|bilateral|bibasilar)\b)"
    rf"|,\s*(?={_THERE}(?:{_AMOUNT}|{_STATE}|left|right|bilateral|bibasilar)\b(?![^.;]*\bor\b))"
    rf"|,\s*(?=[^,]*\b(?:is|are|has|have|was|were)\b{_SEEN})"
)
"""Where a clause begins anew: a comma or "and" before something that is told to be there."""

CHANGES: tuple[tuple[Change, str], ...] = (
    ("resolved", r"resolved|resolution of|no longer|cleared|removal of|removed"),
    ("decreased", r"decreas\w+|improv\w+|smaller|diminished|reduction"),
    ("unchanged", r"unchanged|stable|persist\w+|no (?:significant |interval )*change|similar|again (?:seen|noted)"),
    ("increased", r"increas(?:ed|ing|e)|worsen\w+|larger|enlarging|progress\w+|more (?:prominent|extensive)"),
    ("new", r"new|newly|(?:interval|recent) (?:development|placement)"),
)
SITES: tuple[tuple[Site, str], ...] = (
    ("upper", r"upper"),
    ("middle", r"mid|middle|lingula\w*|midlung"),
    ("lower", r"lower|basilar|basal|bases?|bibasilar|bibasal"),
    ("apex", r"apex|apices|apical|biapical"),
    ("hilum", r"hil(?:ar|um|a|i)|perihilar"),
    ("costophrenic", r"costophrenic"),
    ("diffuse", r"diffuse|diffusely|throughout"),
)
SIDES = re.compile(
    r"\b(?:(?P<both>bilateral(?:ly)?|both|bibasilar|bibasal|biapical|right and left|left and right"
    r"|(?:right|left)[^.;,]{0,20}?\b(?:greater|more|less|larger) than(?: the)? (?:right|left))"
    r"|(?P<right>right(?:-sided|wards?)?)|(?P<left>left(?:-sided|wards?)?|lingula\w*))\b"
    r"(?! (?:atri|ventric|heart|main))"
)
"""A side that belongs to a chamber of the heart or a main bronchus is not the finding's."""

HEADING = re.compile(
    r"(?im)^[ \t]*(final report|findings|impression|conclusion|comparison|indication|technique|history|examination"
    r"|exam|reason for exam(?:ination)?|clinical history|recommendations?|notification|wet read)[ \t]*:"
)
