"""Where a finding is, and the anatomy whose states are findings: tables of words with the reason for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ikyoku.findings.types import Side, Site


@dataclass(frozen=True, slots=True)
class Place:
    """Words for a side, a site or both."""

    words: str
    side: Side
    sites: tuple[Site, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A structure. `denies` is the finding that is absent where the report calls it normal."""

    name: str
    words: str
    denies: str
    reason: str
    site: Site | None = None
    states: Mapping[str, str] = field(default_factory=dict)


_LUNG = "(?:肺野|肺葉|葉|肺)"
_PART = "(?:部|側|優位|主体|中心|領域|野|区域|内側|外側|縁)?"

SIDES = (
    Place(
        "右(?![房室冠心])(?:側|肺野(?!全体)|肺(?![野全門尖底炎癌胞動静血水う鬱気紋結化虚膨過])|"
        "胸腔(?!ドレ|チュ|内?穿)|胸郭(?!比))?",
        "right",
        (),
        "the patient's right, as reports always mean it",
    ),
    Place(
        "左(?![房室冠心])(?:側|肺野(?!全体)|肺(?![野全門尖底炎癌胞動静血水う鬱気紋結化虚膨過])|"
        "胸腔(?!ドレ|チュ|内?穿)|胸郭(?!比))?",
        "left",
        (),
        "the patient's left",
    ),
    Place(
        "両(?:側)?(?:肺野(?!全体)|肺(?![野全門尖底炎癌胞動静血水う鬱気紋結化虚膨過])|胸腔(?!ドレ|チュ|内?穿))?(?!親|"
        "端|者|方向|面|価)",
        "both",
        (),
        "両側, 両肺",
    ),
    Place("左右(?:両側|とも|共に|肺野|肺(?![野門尖底])|差)?|双方", "both", (), "both named at once"),
    Place(
        "(?:右|左)(?:側)?(?: ?[<>≦≧=≒] ?|よりも?|優位の?両)(?:右|左)(?:側)?",
        "both",
        (),
        "右<左: both are meant, one is more",
    ),
    Place("bilateral", "both", (), "English word in a Japanese sentence"),
)
SAME_PLACE = (
    "(?<![一-鿿])(?:その|この)?(?:周囲|内部|近傍|辺縁)(?:の|に(?:は|も)?)|隣接(?:する|した)|同部位?(?:の|に|は|で)?|"
    "同領域(?:の|に)?"
)
"""The place of the finding before: 空洞は縮小し、周囲の浸潤影も改善."""
PREDOMINANT = "(?:右|左)(?:側|肺)?(?:に|が|で|側)?(?:優位|有意(?=[に)、。])|に?(?:より)?(?:強く|強い|多く|多い|目立つ))"
"""右優位: more on one side says that there is some on the other."""

SITES = (
    Place(
        f"上(?:部)?{_LUNG}{_PART}|上中(?={_LUNG})", "", ("upper",), "zone and lobe are not told apart on a frontal film"
    ),
    Place(f"中(?:部)?{_LUNG}{_PART}|中(?=下{_LUNG})|中間部", "", ("middle",), "zone and lobe"),
    Place(f"下(?:部)?{_LUNG}{_PART}|肺底(?:部|区)?|肺基底部", "", ("lower",), "zone, lobe and base"),
    Place(
        f"(?:上中|中上)(?:部)?{_LUNG}{_PART}|上(?:葉|肺野)?[~・、〜\\-及びから]{{1,3}}中(?:部)?{_LUNG}{_PART}",
        "",
        ("upper", "middle"),
        "two zones in one word",
    ),
    Place(
        f"(?:中下|下中)(?:部)?{_LUNG}{_PART}|中(?:葉|肺野)?[~・、〜\\-及びから]{{1,3}}下(?:部)?{_LUNG}{_PART}",
        "",
        ("middle", "lower"),
        "two zones in one word",
    ),
    Place("(?<=[右左側])上(?=[ (:に、は])", "", ("upper",), "右上（＋）: short for the zone"),
    Place("(?<=[右左側])中(?=[ (:に、は])", "", ("middle",), "short for the zone"),
    Place("(?<=[右左側])下(?=[ (:に、は])", "", ("lower",), "short for the zone"),
    Place("舌区|舌葉", "left", ("middle",), "the lingula lies in the left middle zone"),
    Place("肺尖(?:部|野|区)?", "", ("apex",), "apex"),
    Place(
        "(?:全|肺野全体の?)肺野?(?:に|全体)?|(?:肺野|肺)?全体(?=[にのを])|びまん性|瀰漫性|diffuse|"
        "広範(?:囲|な)?(?:に|な|の)?|全体的に",
        "",
        ("diffuse",),
        "all zones at once",
    ),
    Place("肺野(?!に?異常)末梢|末梢(?:側|肺野)?", "", (), "periphery is no site of the table"),
    Place("(?<![A-Za-z])S ?(?:1|2|3)(?![0-9])", "", ("upper",), "segments 1 to 3 are the upper lobe's"),
    Place("S ?1\\+2", "left", ("upper",), "only the left lung has it"),
    Place("S ?[45](?![0-9])", "", ("middle",), "middle lobe or lingula: the middle zone"),
    Place("S ?(?:[6-9]|10)(?![0-9])", "", ("lower",), "segments 6 to 10 are the lower lobe's"),
)

ANATOMY = (
    Anatomy(
        "heart",
        "(?<![中遠肝両])心(?:陰影|影|臓|胸郭比|胸比|胸郭係数|大血管|横径|サイズ)?(?=[・、,と及や/ :]|[のはがに]|拡|"
        "肥|縦隔|大[きで]|正常|異常|腫大|軽|著|やや|に|背側|後方)|CTR",
        "cardiomegaly",
        "its size is what a film tells",
        states={"enlarged": "cardiomegaly"},
    ),
    Anatomy(
        "mediastinum",
        "(?:上|前|中|後)?縦隔(?:陰影|影|部|側)?",
        "mediastinal_widening",
        "normal mediastinum: not widened",
        "mediastinum",
        {"enlarged": "mediastinal_widening", "shifted": "mediastinal_shift"},
    ),
    Anatomy(
        "hilum",
        "肺門(?:部)?(?:陰影|影|血管影)?",
        "hilar_enlargement",
        "normal hilum: not enlarged",
        "hilum",
        {"enlarged": "hilar_enlargement", "increased": "hilar_enlargement"},
    ),
    Anatomy(
        "trachea",
        "気管(?!支|チューブ|切開|挿管|内|カニ)(?:透亮像|影)?",
        "tracheal_deviation",
        "normal trachea: in the middle",
        states={"shifted": "tracheal_deviation"},
    ),
    Anatomy(
        "diaphragm",
        "横隔膜(?!角|下)",
        "diaphragm_elevation",
        "normal diaphragm: at its place",
        states={"elevated": "diaphragm_elevation", "flat": "hyperinflation"},
    ),
    Anatomy(
        "angle",
        "(?:肋骨|肋)?(?:横隔膜?)?角(?=.{0,10}(?:鈍|鋭|清|sharp|dull|不鮮明|異常))|肋骨横隔膜?角|肋横隔?膜?角|"
        "(?<![A-Z])CPA(?![A-Z])|C-?P ?(?:angle|角)|costophrenic angles?",
        "costophrenic_blunting",
        "sharp angle: no fluid in it",
        "costophrenic",
        {"blunt": "costophrenic_blunting"},
    ),
    Anatomy(
        "vessels",
        "肺(?:野)?(?:血管|紋理)(?:陰影|影)?|肺動脈(?:陰影|影)?|(?<!大)血管(?:陰影|影)",
        "edema",
        "normal vessels: no congestion",
        states={"increased": "edema", "enlarged": "edema"},
    ),
    Anatomy(
        "pleura",
        "胸膜(?!肥厚|線|液|癒着|プラ|斑|石灰|腫)",
        "pleural_thickening",
        "normal pleura: not thickened",
        states={"thick": "pleural_thickening"},
    ),
    Anatomy(
        "bone",
        "(?:骨性)?胸郭(?!比|係数)|"
        "骨(?:・?軟部(?:組織|陰影)?|格|構造|成分|性構造|陰影|条件)?(?=[・、,と及や/ :]|[のはがに]|異常|病変)|"
        "肋骨(?!横|骨折|の?骨折)|鎖骨(?!下|骨折|の?骨折|上)|胸椎(?!側|の?圧迫|骨)",
        "fracture",
        "normal bones: no fracture",
    ),
    Anatomy(
        "aorta",
        "(?:胸部)?(?:下行|上行)?大動脈(?:弓部?|陰影|影|壁|基部)?(?!瘤|ステント)",
        "",
        "no single finding is denied",
        states={"enlarged": "aortic_enlargement", "tortuous": "aortic_tortuosity", "calcified": "aortic_calcification"},
    ),
    Anatomy(
        "lung",
        "(?<![右左両上中下他心])(?<!他の)肺(?:野|実質|)(?=[・、,と及 :/]|[のはがに]|清|異常|透過性(?:良好|正常)|内|$)",
        "opacity",
        "a clear lung: no opacity",
    ),
    Anatomy(
        "soft", "軟部(?:組織|陰影|影)?|皮下(?!気|の?空|air|エア|埋)|横隔膜下|腹部", "", "no single finding is denied"
    ),
)

STATES = {
    "enlarged": (
        "拡大|肥大|腫大|開大|拡張|腫脹|大きい|大きく|大きめ|(?<=は)大(?=。|$)",
        "larger than it should be",
    ),
    "shifted": ("偏位|偏移|変位|シフト|圧排|牽引", "not in its place"),
    "elevated": ("挙上|高位", "higher than it should be"),
    "flat": ("平低化|平坦化|低位", "lower than it should be"),
    "blunt": (
        "鈍化|鈍角化?|鈍(?![角化])|dull(?:ing)?|blunt(?:ing)?|不鮮明(?:化)?|不明瞭(?:化)?|閉塞",
        "the angle is filled",
    ),
    "thick": ("肥厚|癒着", "thicker than it should be"),
    "tortuous": ("蛇行|屈曲|延長", "with age"),
    "calcified": ("石灰化(?:像|影)?", "with age"),
    "increased": ("増強|増加|増生|亢進|怒張", "of vessels: more of them are seen; elsewhere these words are a change"),
}
"""The states by name: words, and what they say of a structure."""
