"""Findings around the lungs: heart and mediastinum, pleura, bones, what lies below, devices; one term a row."""

from __future__ import annotations

from ikyoku.findings.terms import DEVICES, FindingTerm

_LEAD = "(?<![ァ-ヺーA-Za-z])"

CHEST_TERMS = (
    # heart, mediastinum, hila, vessels: see also places.ANATOMY, where "心陰影は軽度拡大" is put together
    FindingTerm(
        "cardiomegaly", "cardiomegaly", "心拡大", ("心拡大", "心肥大", "cardiomegaly"), "the plain name", sided=False
    ),
    FindingTerm(
        "mediastinal_widening",
        "enlarged_cardiomediastinum",
        "縦隔拡大",
        ("縦隔(?:腫瘍|腫瘤)",),
        "a mass there shows as a widened outline; the widening itself comes from anatomy and state",
        sided=False,
        home="mediastinum",
    ),
    FindingTerm(
        "hilar_enlargement",
        "enlarged_cardiomediastinum",
        "肺門腫大",
        ("(?<![A-Z])BHL(?![A-Z])",),
        "CheXpert has no hilum; an enlarged outline of the middle is the nearest of its labels",
        home="hilum",
    ),
    FindingTerm(
        "lymphadenopathy",
        "",
        "リンパ節腫大",
        (
            "リンパ節(?:の|は|が|に(?:は|も)?)?(?:病的|有意|軽度|明らか|著明)?(?:な|に|の)?(?:腫大|腫脹)",
            "腫大(?:した)?リンパ節",
        ),
        "seldom seen on a film by itself; CheXpert has no place for nodes",
    ),
    FindingTerm(
        "mediastinal_shift",
        "",
        "縦隔偏位",
        ("縦隔シフト", "mediastinal shift"),
        "the side is where it goes",
        home="mediastinum",
    ),
    FindingTerm("tracheal_deviation", "", "気管偏位", ("tracheal deviation",), "the side is where it goes"),
    FindingTerm(
        "aortic_calcification",
        "",
        "大動脈石灰化",
        ("(?:大動脈)(?:の)?壁(?:の)?石灰化", "(?<!胸)(?<!嚢胞)壁(?:の)?石灰化"),
        "from anatomy and state; age, not illness, and no label",
        sided=False,
    ),
    FindingTerm("aortic_tortuosity", "", "大動脈蛇行", (), "from anatomy and state", sided=False),
    FindingTerm(
        "aortic_enlargement",
        "enlarged_cardiomediastinum",
        "大動脈拡大",
        ("大動脈瘤", "大動脈弓突出"),
        "widens the middle",
        sided=False,
    ),
    # pleura
    FindingTerm(
        "pleural_effusion",
        "pleural_effusion",
        "胸水",
        (
            "(?:少量|中等量|多量|大量|葉間|被包化|包虫化)?(?:の)?胸水(?:貯留(?!なし)|像)?",
            "胸腔内?液体?貯留",
            "胸膜液(?:貯留)?",
            "葉間胸水",
            "血胸",
            "膿胸",
            "液体貯留",
            "(?:pleural )?effusions?",
        ),
        "any fluid of the pleura",
    ),
    FindingTerm(
        "costophrenic_blunting",
        "pleural_effusion",
        "肋骨横隔膜角の鈍化",
        ("肋横角鈍化",),
        "from anatomy and state: the first sign of fluid",
        home="costophrenic",
    ),
    FindingTerm(
        "pleural_thickening",
        "pleural_other",
        "胸膜肥厚",
        (
            "(?:胸膜|肺尖帽|アピカルキャップ)(?:の)?(?:肥厚|癒着|プラーク)(?:像)?",
            "(?:肺尖|apical)(?:部)? ?(?:cap|キャップ)",
            "胸膜癒着",
            "胸膜プラーク",
            "胸膜斑",
            "胸膜石灰化",
            "胸膜(?:性)?病変",
            "癒着",
            "pleural thickening",
        ),
        "pleura other than fluid and air",
    ),
    # bones, soft tissue, below
    FindingTerm(
        "fracture",
        "fracture",
        "骨折",
        (
            "(?:陳旧性の?|新鮮な?|病的)?(?:(?:肋|鎖|胸|脊|椎|肩甲|上腕)骨?(?:の)?|椎体(?:の)?|圧迫)?骨折(?:線|像|後変化|痕)?",
            "fractures?",
        ),
        "old ones count as well, as in CheXpert",
    ),
    FindingTerm(
        "scoliosis",
        "",
        "側弯",
        ("(?:脊柱|胸椎|脊椎)?(?:の)?側[弯湾彎]症?", "scoliosis"),
        "no label of CheXpert",
        sided=False,
    ),
    FindingTerm(
        "spondylosis",
        "",
        "変形性脊椎症",
        ("変形性(?:脊椎|胸椎|関節)症?", "骨棘(?:形成)?", "(?:胸椎|脊椎|椎体)(?:の)?変形(?:性変化)?"),
        "no label of CheXpert",
        sided=False,
    ),
    FindingTerm("diaphragm_elevation", "", "横隔膜挙上", (), "from anatomy and state"),
    FindingTerm(
        "subcutaneous_emphysema",
        "",
        "皮下気腫",
        ("皮下(?:気腫|の?空気像|air|エアー?)", "縦隔気腫"),
        "air outside the lung, not emphysema of it",
    ),
    FindingTerm(
        "free_air",
        "",
        "腹腔内遊離ガス",
        (
            "(?:横隔膜下|腹腔内)?(?:の)?(?:free ?air|フリーエア[ー]?|遊離(?:ガス|空気|エアー?)|腹腔内ガス)(?:像)?",
            "横隔膜下(?:の)?(?:ガス|空気|air)像?",
            "気腹",
        ),
        "must not be missed though it is not of the chest",
        sided=False,
    ),
    FindingTerm(
        "hiatal_hernia", "", "食道裂孔ヘルニア", ("(?:食道)?裂孔ヘルニア",), "no label of CheXpert", sided=False
    ),
    # devices
    FindingTerm(
        "cv_catheter",
        DEVICES,
        "中心静脈カテーテル",
        (
            "(?:中心静脈|CV|CVC|PICC)(?:カテーテル|カテ|ライン|ポート)?",
            "PICC",
            "(?:皮下)?(?:埋め込み型)?(?:CV)?ポート(?:カテーテル)?",
            "(?:スワンガンツ|Swan-?Ganz|透析(?:用)?|バスキュラーアクセス)(?:・?ガンツ)?(?:カテーテル|カテ)?",
            "(?:内頸|鎖骨下|大腿)?静脈(?:カテーテル|ライン)",
            f"{_LEAD}カテーテル(?:先端)?",
        ),
        "lines of the great veins",
    ),
    FindingTerm(
        "endotracheal_tube",
        DEVICES,
        "気管チューブ",
        (
            "(?:気管(?:内|切開)?|挿管)(?:の)?(?:挿管)?(?:チューブ|カニューレ)",
            "気管挿管(?:中|後)?",
            "気切(?:チューブ|カニューレ)",
            "(?<![A-Za-z])ET(?:T(?![A-Za-z])| ?tube)",
        ),
        "intubated or by tracheotomy",
        sided=False,
    ),
    FindingTerm(
        "gastric_tube",
        DEVICES,
        "胃管",
        (
            "(?:経鼻)?胃管(?:チューブ)?",
            "(?:経鼻|経腸)(?:栄養)?(?:チューブ|胃管)",
            "NG ?(?:チューブ|tube)",
            "EDチューブ",
            "イレウス管",
            "胃瘻",
        ),
        "through nose or mouth, to stomach or gut",
        sided=False,
    ),
    FindingTerm(
        "chest_drain",
        DEVICES,
        "胸腔ドレーン",
        (
            "(?:胸腔|胸部)?(?:ドレーン|ドレナージ)(?:チューブ|管)?",
            "胸腔チューブ",
            "トロッカー(?:カテーテル)?",
            "trocar",
        ),
        "drainage as an act (ドレナージ後) is passed over",
    ),
    FindingTerm(
        "pacemaker",
        DEVICES,
        "ペースメーカー",
        (
            "(?:心臓)?ペースメーカ[ー]?(?:本体|リード)?",
            "ペーシング(?:リード|カテーテル)",
            "植込み型除細動器",
            "(?<![A-Z])(?:ICD|CRT-?[DP]?|PM)(?![A-Za-z])",
            "pacemaker",
        ),
        "with its leads; a defibrillator looks the same",
    ),
    FindingTerm(
        "other_device",
        DEVICES,
        "その他の人工物",
        (
            "(?:胸骨)?(?:ワイヤー?|正中切開(?:後)?ワイヤー?)",
            "人工弁",
            "(?:大動脈|冠動脈)?ステント(?:グラフト)?",
            "(?:外科|手術)?クリップ",
            "IABP",
            "人工関節",
            "(?:人工)?血管グラフト",
            "心電図(?:電極|モニター)",
        ),
        "metal and plastic that a film shows",
        sided=False,
    ),
)
"""Several of the first have no words here: they are put together from anatomy and state (`places.ANATOMY`)."""
