"""English words of chest X-ray reports and what a Japanese radiologist writes for them.

A translator is shown the rows whose English occurs in its text. The second word is what reports in Japanese hospitals
use, which often is not what a dictionary gives; the third says why, or how. `docs` may print the table as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Term:
    """A row: `english` as it is searched for (forms split by "/"), the Japanese written for it, and why or how."""

    english: str
    japanese: str
    note: str = ""


_ROWS: tuple[tuple[str, str, str], ...] = (
    # how a report is told
    ("findings", "所見", "heading"),
    ("impression", "診断", "heading; 印象 is understood too"),
    ("technique", "撮影法", ""),
    ("comparison", "比較", "of the earlier film"),
    ("indication", "検査目的", ""),
    ("prior/previous", "前回", "前 + 回: reports count examinations, not time"),
    ("compared with/compared to/in comparison with", "〜と比較して", "前回と比較して"),
    ("frontal view/frontal radiograph", "正面像", ""),
    ("lateral view/lateral radiograph", "側面像", ""),
    ("PA view/PA", "立位正面（PA）", "the projection stays in Latin letters"),
    ("AP view/AP", "AP像", "the projection stays in Latin letters"),
    ("portable", "ポータブル", "bedside film"),
    ("supine", "臥位", ""),
    ("upright/erect", "立位", ""),
    ("rotated/rotation", "体位の回旋", "of the patient, not of the picture"),
    ("low lung volumes", "吸気不十分", "said as the poor breath, not as small lungs"),
    ("inspiration", "吸気", ""),
    ("limited study/limited evaluation", "評価困難", ""),
    ("unremarkable", "異常なし", "never 注目すべきでない"),
    ("within normal limits", "正常範囲内", ""),
    ("normal in size", "大きさは正常", ""),
    ("clear lungs/lungs are clear/clear", "肺野清明", "clear of shadows"),
    ("no evidence of", "〜を認めない", "reports deny in a few words"),
    ("no acute", "急性〜を認めない", "急性 keeps to what it stands before"),
    ("acute cardiopulmonary process", "急性心肺病変", ""),
    ("acute cardiopulmonary abnormality", "急性心肺異常", ""),
    ("is seen/are seen/is noted/are noted/demonstrates", "〜を認める", ""),
    ("cannot be excluded/cannot exclude", "〜は否定できない", "doubt, not denial"),
    ("may represent/may reflect", "〜の可能性がある", "doubt stays doubt"),
    ("suggestive of/suggests", "〜が示唆される", ""),
    ("suspicious for/concerning for/worrisome for", "〜が疑われる", ""),
    ("consistent with/compatible with", "〜として矛盾しない", "weaker than である"),
    ("likely/probable", "〜と考えられる", ""),
    ("possible", "〜の可能性", ""),
    ("versus", "または", "between two readings"),
    ("correlate clinically/clinical correlation", "臨床所見と対比", ""),
    ("follow-up", "経過観察", ""),
    ("unchanged/stable", "著変なし", "of a comparison; stable is not 安定 here"),
    ("increased/worsened/worsening", "増悪・増大", "増悪 of disease, 増大 of size, 増加 of fluid"),
    ("decreased/improved", "改善・減少", "改善 of disease, 減少 of fluid, 縮小 of size"),
    ("resolved/resolution", "消失", ""),
    ("new", "新たに出現した", ""),
    ("interval", "前回から今回まで", "never 間隔"),
    ("persistent", "残存する", ""),
    ("mild", "軽度", ""),
    ("moderate", "中等度", ""),
    ("severe", "高度", "of a finding; 重症 is said of patients"),
    ("minimal/trace", "ごく少量・わずかな", ""),
    ("small", "少量（胸水）・小さな", "of fluid 少量"),
    ("large", "大量（胸水）・大きな", "of fluid 大量"),
    ("bilateral", "両側", ""),
    ("right", "右", "the patient's"),
    ("left", "左", "the patient's"),
    ("greater than", "〜優位", "右優位 for right greater than left"),
    ("focal", "限局性", ""),
    ("diffuse", "びまん性", ""),
    ("patchy", "斑状", ""),
    ("multifocal", "多発性", ""),
    ("linear", "線状", ""),
    ("hazy", "淡い", "of a shadow"),
    ("ill-defined", "境界不明瞭な", ""),
    ("well-defined/well-circumscribed", "境界明瞭な", ""),
    ("spiculated", "棘状の", "スピキュラを伴う is as good"),
    ("chronic", "慢性", ""),
    # heart, vessels, mediastinum
    ("cardiomegaly/enlarged heart", "心拡大", ""),
    ("cardiac silhouette/heart shadow", "心陰影", "the shadow, not the organ"),
    ("cardiomediastinal silhouette", "心縦隔陰影", ""),
    ("heart size", "心陰影の大きさ", ""),
    ("cardiothoracic ratio", "心胸郭比（CTR）", ""),
    ("mediastinum", "縦隔", ""),
    ("mediastinal contour", "縦隔輪郭", ""),
    ("mediastinal widening/widened mediastinum", "縦隔拡大", ""),
    ("mediastinal shift", "縦隔偏位", "偏位, not 偏移"),
    ("hilar/hilum/hila", "肺門", ""),
    ("perihilar", "肺門周囲", ""),
    ("lymphadenopathy/adenopathy", "リンパ節腫大", ""),
    ("pulmonary vasculature/pulmonary vascularity", "肺血管影", ""),
    ("vascular congestion/pulmonary congestion", "肺うっ血", ""),
    ("cephalization", "肺血管影の上肺野再分布", ""),
    ("pulmonary edema", "肺水腫", ""),
    ("interstitial edema", "間質性肺水腫", ""),
    ("heart failure", "心不全", ""),
    ("Kerley B lines/Kerley lines", "Kerley B線", "the name stays in Latin letters"),
    ("aorta", "大動脈", ""),
    ("aortic arch", "大動脈弓", ""),
    ("aortic knob", "大動脈弓部", "the shadow at the left upper border; 左第1弓"),
    ("tortuous aorta/tortuous", "大動脈の蛇行", ""),
    ("aortic calcification/calcified aorta", "大動脈の石灰化", ""),
    ("atherosclerotic/atherosclerosis", "動脈硬化性", ""),
    ("trachea", "気管", ""),
    ("carina", "気管分岐部", ""),
    ("bronchus/bronchi/bronchial", "気管支", ""),
    ("peribronchial cuffing", "気管支周囲肥厚像", "peribronchial cuffing is written too"),
    ("hiatal hernia", "食道裂孔ヘルニア", ""),
    ("pericardial effusion", "心嚢液貯留", "not 心膜液 in most reports"),
    ("pneumomediastinum", "縦隔気腫", ""),
    # lungs
    ("opacity/opacities", "陰影", "透過性低下 where a whole field is darker; 混濁 is the eye's"),
    ("opacification", "透過性低下", ""),
    ("airspace opacity/airspace disease", "肺胞性陰影", ""),
    ("consolidation", "浸潤影", "コンソリデーション is said at CT"),
    ("infiltrate/infiltration", "浸潤影", ""),
    ("ground-glass opacity/ground glass opacity", "すりガラス影", ""),
    ("reticular opacity/reticular", "網状影", ""),
    ("reticulonodular", "網状粒状影", ""),
    ("interstitial markings", "間質影", "肺紋理 of vessels"),
    ("bronchovascular markings", "肺紋理", ""),
    ("interstitial lung disease", "間質性肺疾患", ""),
    ("pulmonary fibrosis/fibrosis", "肺線維症・線維化", ""),
    ("honeycombing", "蜂巣肺", ""),
    ("nodule/nodular opacity", "結節影", "up to 3 cm"),
    ("pulmonary nodule", "肺結節", ""),
    ("mass", "腫瘤影", "above 3 cm"),
    ("cavity/cavitary lesion/cavitation", "空洞", ""),
    ("granuloma", "肉芽腫", ""),
    ("granulomatous disease", "肉芽腫性病変", ""),
    ("calcified granuloma", "石灰化肉芽腫", ""),
    ("calcification", "石灰化", ""),
    ("scarring/scar", "瘢痕", ""),
    ("atelectasis/atelectatic", "無気肺", ""),
    ("bibasilar atelectasis", "両側肺底部の無気肺", ""),
    ("linear atelectasis/plate-like atelectasis/subsegmental atelectasis", "板状無気肺", ""),
    ("lung collapse/collapse", "虚脱", ""),
    ("volume loss", "容積減少", ""),
    ("pneumonia", "肺炎", ""),
    ("aspiration", "誤嚥", "吸引 is of a catheter"),
    ("tuberculosis", "結核", ""),
    ("metastasis/metastases/metastatic", "転移", ""),
    ("malignancy", "悪性腫瘍", ""),
    ("emphysema", "肺気腫", ""),
    ("bulla/bullae/bullous", "ブラ", "嚢胞 at CT"),
    ("COPD", "COPD", "the letters stay"),
    ("hyperinflation/hyperexpanded/hyperinflated", "過膨張", ""),
    ("air trapping", "エアトラッピング", ""),
    ("bronchiectasis", "気管支拡張", ""),
    ("air bronchogram", "気管支透亮像", "エアブロンコグラム is said too"),
    ("silhouette sign", "シルエットサイン", ""),
    ("lung field", "肺野", ""),
    ("lung volume", "肺容積", ""),
    ("upper lobe", "上葉", "上肺野 is a third of the film, 上葉 an anatomical lobe: keep apart"),
    ("middle lobe", "中葉", ""),
    ("lower lobe", "下葉", ""),
    ("upper lung zone/upper zone/upper lung", "上肺野", ""),
    ("mid lung zone/mid zone/mid lung", "中肺野", ""),
    ("lower lung zone/lower zone/lower lung", "下肺野", ""),
    ("lingula/lingular", "舌区", ""),
    ("lung base/base/basilar/basal", "肺底部", ""),
    ("bibasilar", "両側肺底部", ""),
    ("apex/apical/apices", "肺尖部", ""),
    ("biapical", "両側肺尖部", ""),
    ("retrocardiac", "心陰影背側", "where the heart lies over the lung"),
    ("segment", "区域", ""),
    ("fissure", "葉間裂", ""),
    ("minor fissure", "小葉間裂", ""),
    # pleura and diaphragm
    ("pleural effusion/effusion", "胸水", "胸水貯留 is as good"),
    ("layering", "背側に広がる", "of fluid in a lying patient"),
    ("loculated", "被包化した", ""),
    ("subpulmonic effusion", "肺下胸水", ""),
    ("hemothorax", "血胸", ""),
    ("pneumothorax", "気胸", ""),
    ("tension pneumothorax", "緊張性気胸", ""),
    ("hydropneumothorax", "水気胸", ""),
    ("costophrenic angle/costophrenic sulcus", "肋骨横隔膜角（CPA）", ""),
    ("blunting/blunted", "鈍化", "of the costophrenic angle"),
    ("cardiophrenic angle", "心横隔膜角", ""),
    ("pleural thickening", "胸膜肥厚", ""),
    ("pleural plaque", "胸膜プラーク", ""),
    ("apical pleural cap/apical cap", "肺尖部胸膜肥厚", ""),
    ("hemidiaphragm", "横隔膜", "右横隔膜: the half is in the side"),
    ("diaphragm", "横隔膜", ""),
    ("elevated hemidiaphragm/elevation of the hemidiaphragm", "横隔膜挙上", ""),
    ("flattened diaphragm/flattening", "横隔膜の平低化", ""),
    ("eventration", "横隔膜弛緩", ""),
    ("free air/pneumoperitoneum", "腹腔内遊離ガス", "free air is written too"),
    ("subcutaneous emphysema", "皮下気腫", ""),
    # bones and soft parts
    ("osseous structures/bony structures", "骨構造", "骨に, where only bones are meant"),
    ("bony thorax", "骨性胸郭", ""),
    ("rib", "肋骨", "5th rib is 第5肋骨"),
    ("rib fracture", "肋骨骨折", ""),
    ("fracture", "骨折", ""),
    ("compression fracture", "圧迫骨折", ""),
    ("vertebral body/vertebral", "椎体", ""),
    ("clavicle", "鎖骨", ""),
    ("scapula", "肩甲骨", ""),
    ("sternum", "胸骨", ""),
    ("sternotomy wires/median sternotomy", "胸骨正中切開後のワイヤー", ""),
    ("scoliosis", "側弯", ""),
    ("kyphosis", "後弯", ""),
    ("degenerative changes", "変形性変化・退行性変化", ""),
    ("spondylosis", "変形性脊椎症", ""),
    ("osteopenia", "骨濃度低下", "on a film; 骨減少症 is measured"),
    ("thoracic spine", "胸椎", ""),
    ("soft tissue", "軟部組織", ""),
    ("nipple shadow", "乳頭陰影", ""),
    ("mastectomy", "乳房切除術後", ""),
    # devices
    ("endotracheal tube/ET tube", "気管内チューブ", "挿管チューブ is as good"),
    ("tracheostomy tube", "気管切開チューブ", ""),
    ("nasogastric tube/NG tube", "経鼻胃管", ""),
    ("enteric tube/feeding tube/orogastric tube", "胃管・栄養チューブ", ""),
    ("Dobbhoff tube/Dobhoff tube/Dobbhoff/Dobhoff", "栄養チューブ（Dobbhoff）", "its name alone says little here"),
    ("central venous catheter/central line", "中心静脈カテーテル", "CVカテーテル is as good"),
    ("PICC line/PICC", "PICC", "末梢挿入型中心静脈カテーテル in full"),
    ("internal jugular", "内頸静脈", ""),
    ("subclavian", "鎖骨下", ""),
    ("port/Port-A-Cath", "CVポート", ""),
    ("Swan-Ganz catheter/pulmonary artery catheter", "Swan-Ganzカテーテル", "the name stays in Latin letters"),
    ("chest tube/thoracostomy tube", "胸腔ドレーン", ""),
    ("pigtail catheter", "ピッグテールカテーテル", ""),
    ("pacemaker", "ペースメーカー", ""),
    ("ICD/defibrillator", "植込み型除細動器（ICD）", ""),
    ("lead", "リード", "of a pacemaker"),
    ("prosthetic valve/valve replacement", "人工弁", ""),
    ("surgical clips/clips", "手術クリップ", ""),
    ("tip", "先端", "of a catheter or tube"),
    ("terminates/terminating", "先端は〜にある", "never 終了する"),
    ("in place/in situ", "留置されている", ""),
    ("removed/removal", "抜去", "of a tube; 切除 of an organ"),
    ("superior vena cava/SVC", "上大静脈（SVC）", ""),
    ("cavoatrial junction", "上大静脈右房接合部", ""),
    ("right atrium", "右房", ""),
    ("right ventricle", "右室", ""),
    ("stomach", "胃", ""),
    ("gastric bubble", "胃泡", ""),
    ("support device/lines and tubes", "挿入物（チューブ・カテーテル類）", ""),
    ("postoperative/post-surgical", "術後", ""),
    ("intubated/intubation", "挿管", ""),
    ("extubated/extubation", "抜管", ""),
)  # fmt: skip
TERMS: tuple[Term, ...] = tuple(Term(*row) for row in _ROWS)
"""The table: how a report is told, heart and mediastinum, lungs, pleura and diaphragm, bones, devices."""

SECTION_HEADINGS = {"findings": ("FINDINGS", "所見"), "impression": ("IMPRESSION", "診断")}
"""What the sections are called in both languages."""


def terms_in(text: str, terms: Iterable[Term] = TERMS) -> tuple[Term, ...]:
    """Returns the rows whose English stands in a text, in the order in which they first stand there.

    Case is ignored but for abbreviations (two capitals or more), a plural counts as its word, and a word inside a
    longer one that has a row of its own ("effusion" in "pleural effusion") is not given twice.

    >>> [term.japanese for term in terms_in("Small left pleural effusions.")]
    ['少量（胸水）・小さな', '左', '胸水']
    """
    return tuple(dict.fromkeys(term for _, term in _places(text, terms)))


def _places(text: str, terms: Iterable[Term]) -> list[tuple[str, Term]]:
    """The words of a text that have a row, in their order, each with its row."""
    found: list[tuple[int, int, Term]] = []
    for term in terms:
        found += [(m.start(), m.end(), term) for m in _pattern(term.english).finditer(text)]
    taken: list[tuple[int, int, Term]] = []
    for start, end, term in sorted(found, key=lambda f: (f[0] - f[1], f[0])):
        if all(end <= s or e <= start for s, e, _ in taken):
            taken.append((start, end, term))
    return [(text[start:end], term) for start, end, term in sorted(taken, key=lambda f: f[0])]


@lru_cache(maxsize=4096)
def _pattern(english: str) -> re.Pattern[str]:
    forms = []
    for form in filter(None, (part.strip() for part in english.split("/"))):
        words = r"\s+".join(map(re.escape, form.split()))
        forms.append(words if re.search("[A-Z]{2}", form) else f"(?i:{words}(?:s|es)?)")
    return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})(?![\w-])")


def translation_request(text: str, section: str, terms: Iterable[Term] = TERMS) -> str:
    """Returns what a model is told in order to translate one section of a report, with the rows that its words need.

    Args:
        text: The section, in English.
        section: "findings" or "impression".
        terms: The glossary.

    >>> print(translation_request("No pneumothorax.", "findings").splitlines()[-1])
    No pneumothorax.
    """
    english, japanese = SECTION_HEADINGS[section]
    rows = {" ".join(words.lower().split()): term.japanese for words, term in _places(text, terms)}
    table = "\n".join(f"- {words}：{japanese}" for words, japanese in rows.items())
    return (
        f"次の英文は胸部X線検査の報告書のうち{english}（{japanese}）の部分です。"
        "日本の放射線科医が書く報告書の文体で日本語に訳してください。\n"
        "原文の所見は、否定、疑い、左右、部位、数値、前回との変化を変えずに一つも漏らさず訳し、"
        "原文にないことを書き加えないでください。伏せ字（___ や XXXX）はそのまま残してください。"
        "訳文だけを書き、見出し、説明、英語の併記は書かないでください。\n"
        + (f"次の訳語を使ってください（〜は文に合わせて補う）。\n{table}\n" if table else "")
        + f"\n原文：\n{text.strip()}"
    )
