"""Findings of the lungs: opacities, lesions, diagnoses; one term a row."""

from __future__ import annotations

from ikyoku.findings.terms import FindingTerm

_SHADE = "(?:陰影|影|像)"

LUNG_TERMS = (
    # opacities of the lung
    FindingTerm(
        "infiltrate",
        "consolidation",
        "浸潤影",
        (
            f"浸潤(?:性)?(?:の)?{_SHADE}",
            "(?<=[野葉]に)浸潤(?=を認|があ|あり|なし|は)",
            f"斑状{_SHADE}",
            "infiltrat(?:ion|es?)",
            "infiltrative shadow",
        ),
        "Japanese reports call consolidation so; CheXpert's infiltration is looser",
    ),
    FindingTerm(
        "consolidation",
        "consolidation",
        "コンソリデーション",
        (
            "コンソリデーション",
            "consolidation",
            f"均等{_SHADE}",
            f"肺胞性{_SHADE}",
            "air ?bronchogram",
            "エアブロンコグラム",
            "気管支透亮像",
        ),
        "an air bronchogram is seen within consolidation only",
    ),
    FindingTerm(
        "ground_glass",
        "lung_opacity",
        "すりガラス影",
        (
            f"(?:すり|スリ|磨り|擦り)(?:ガラス|硝子)(?:状|様)?(?:の)?(?:{_SHADE}|濃度(?:上昇)?{_SHADE}?)?",
            f"淡い(?:濃度上昇|{_SHADE})",
            "(?<![A-Z])GGO(?![A-Z])",
            "ground[- ]glass(?: opacit(?:y|ies))?",
        ),
        "an opacity without consolidation",
    ),
    FindingTerm(
        "opacity",
        "lung_opacity",
        "陰影",
        (
            "(?<!乳頭)(?<!乳房)(?<!骨)(?<!血管)(?<!軟部)(?<!胃泡)(?<!筋)(?<!胸壁)(?:異常|不透過|濃厚|不整形?|不均等|"
            "多発)?(?:な)?陰影",
            "異常影",
            "濃度(?:の)?上昇(?:域)?",
            "(?:透過性|含気)(?:の|は|が)?(?:軽度|やや|著明に)?(?:低下|減弱|減少)",
            "不透過(?:像|性|域)",
            "混濁",
            "opacit(?:y|ies)",
        ),
        "no more is said than that it is white; a word for what it is (浸潤影, 結節影 …) matches longer and wins",
    ),
    FindingTerm(
        "reticular",
        "lung_opacity",
        "網状影",
        (
            f"(?:(?:線状)?網状|粒状網状|網状粒状|網状結節|蜂巣|蜂窩)(?:の)?{_SHADE}",
            "蜂巣肺",
            "間質(?:性)?(?:の)?(?:変化|陰影|影|肺炎像|肺炎)",
            "肺線維症",
            "線維化(?!巣)",
            "reticular (?:shadow|opacit(?:y|ies))",
            "honeycomb(?:ing)?",
        ),
        "interstitial pattern; 間質性肺炎 is no infection and does not count as pneumonia",
    ),
    FindingTerm(
        "linear",
        "lung_opacity",
        "線状影・索状影",
        (f"(?:線状|索状|帯状|板状)(?:の)?(?:{_SHADE}|変化)", "索状物"),
        "scar or plate; 板状無気肺 matches longer",
    ),
    FindingTerm(
        "nodule",
        "lung_lesion",
        "結節影",
        (
            f"(?:小|微小|多発|粒状|孤立性)?結節(?:状|様|性)?(?:の?{_SHADE})?",
            f"(?:粒状|小粒状){_SHADE}",
            f"(?:円形|類円形)(?:の)?{_SHADE}",
            f"コイン{_SHADE}",
            "coin lesion",
            "nodul(?:e|es|ar)",
        ),
        "round and below 3 cm by definition",
    ),
    FindingTerm(
        "mass",
        "lung_lesion",
        "腫瘤影",
        (
            f"(?<!縦隔)(?<!副)腫(?:瘤|瘍(?!浸潤|により|による|径|マーカー))(?:状|様|性)?(?:の?{_SHADE})?",
            "mass(?:es)?(?![a-z])",
        ),
        "a nodule of 3 cm and more",
    ),
    FindingTerm(
        "malignancy",
        "lung_lesion",
        "肺癌・転移",
        (
            "肺(?:癌|がん|ガン)",
            "転移性(?:の)?(?:肺)?腫瘍",
            "(?:肺|多発)?転移(?:巣)?",
            "悪性(?:腫瘍|病変|所見|疾患)?",
            "癌性リンパ管症",
            "リンパ管症",
        ),
        "named as the cause of a lesion",
    ),
    FindingTerm(
        "cavity",
        "lung_lesion",
        "空洞",
        (
            f"空洞(?:性)?(?:形成|{_SHADE}|病変|結節)?",
            "透亮(?:影|巣)",
            "鏡面(?:像|形成)",
            "ニボー",
            "cavit(?:y|ies|ation)",
        ),
        "a lesion with air in it",
    ),
    FindingTerm(
        "calcification", "", "石灰化", (f"石灰化(?:巣|{_SHADE}|結節)?",), "mostly old; the aorta's is a row of its own"
    ),
    FindingTerm(
        "old_inflammation",
        "",
        "陳旧性変化",
        (
            "陳旧性(?:の)?(?:炎症(?:性)?(?:変化|瘢痕|像|所見)?|変化|病変|陰影|肺結核|結核|病巣|瘢痕)?",
            "炎症(?:後(?:の)?(?:瘢痕|変化)|性瘢痕)",
            f"瘢痕(?:様|性|状)?(?:の)?(?:{_SHADE}|変化)?",
            "線維化巣",
            "器質化(?:巣|陰影|影)?",
        ),
        "a scar that asks for nothing; 陳旧性骨折 matches longer",
    ),
    FindingTerm(
        "tuberculosis",
        "",
        "結核",
        ("(?:活動性)?(?:肺)?結核(?:腫)?(?:性病変)?", "抗酸菌症", "(?<![A-Z])NTM", "非結核性抗酸菌症"),
        "no label of CheXpert",
    ),
    FindingTerm(
        "bronchial_wall",
        "",
        "気管支壁肥厚・拡張",
        ("気管支(?:壁)?(?:の)?(?:肥厚|拡張)(?:症|像)?", "トラムライン", "気管支炎"),
        "no label of CheXpert",
    ),
    # diagnoses
    FindingTerm(
        "edema",
        "edema",
        "肺うっ血・肺水腫",
        (
            "肺(?:の)?(?:うっ血|鬱血|ウッ血|欝血|水腫|浮腫)像?",
            "うっ血(?:像|所見)?(?!性)",
            "鬱血像?",
            f"(?:バタフライ|蝶形|butterfly){_SHADE}?",
            "Kerley(?:'?s)?(?: ?[A-C] ?(?:line|線|ライン)s?)?",
            "カーリー(?:線|ライン|[AB]線)?",
            "(?:角出し|鹿角)(?:像|所見)?",
            "pulmonary (?:edema|congestion)",
            "cuffing(?: sign)?",
        ),
        "congestion is its first stage and CheXpert counts it so",
    ),
    FindingTerm(
        "heart_failure",
        "edema",
        "心不全",
        ("(?:うっ血性|鬱血性)?心不全(?:像|所見)?",),
        "on a film it is seen by congestion",
    ),
    FindingTerm(
        "pneumonia",
        "pneumonia",
        "肺炎",
        (
            "(?:細菌性|誤嚥性|大葉性|気管支|異型|器質化|ウイルス性|コロナ|市中)?肺炎(?:像|所見|様陰影)?",
            "肺臓炎",
            "肺化膿症",
            "肺膿瘍",
            "炎症(?:性)?(?:所見|像|病変|変化)",
            "pneumonia",
        ),
        "named, not inferred from an infiltrate",
    ),
    FindingTerm(
        "atelectasis",
        "atelectasis",
        "無気肺",
        (
            "(?:板状|円形|受動性|圧迫性|閉塞性|線状|円板状)?無気肺(?:像|性変化|様陰影)?",
            "(?<!肺)容[積量](?:の)?(?:減少|低下)",
            "atelectasis",
            "(?<=葉)の?虚脱",
        ),
        "loss of volume is its sign",
    ),
    FindingTerm(
        "pneumothorax",
        "pneumothorax",
        "気胸",
        (
            "(?:緊張性|自然)?気胸(?:腔|像|所見|線|ライン)?",
            "肺(?:の|は)?(?:完全に|高度に|軽度に?|著明に)?虚脱(?:像|所見)?",
            "虚脱(?:肺|した肺)",
            "(?:臓側)?胸膜線",
            "pneumothora(?:x|ces)",
        ),
        "a collapsed lung or a pleural line is how it is described",
    ),
    FindingTerm(
        "emphysema",
        "",
        "肺気腫・ブラ",
        (
            "(?:肺)?気腫(?:性|状)?(?:肺|変化|像)?",
            "(?<![ァ-ヺー])(?:巨大)?(?:ブラ|ブレブ)(?![ァ-ヺー])",
            "(?<![腎肝膵脾巣])(?:巨大)?(?:気腫性)?(?:肺)?嚢胞(?:性(?:病変|変化))?",
            "COPD",
            "慢性閉塞性肺疾患",
            "emphysema",
            "bullae?",
        ),
        "no label of CheXpert; 皮下気腫 matches longer",
    ),
    FindingTerm(
        "hyperinflation",
        "",
        "過膨張",
        (
            "(?:肺(?:の)?)?過膨張",
            "(?:透過性|含気)(?:の|は|が)?(?:軽度|やや|著明に)?亢進",
            "滴状心",
            "肺(?:野)?の膨張(?:亢進|過剰)",
            "hyperinflation",
        ),
        "no label of CheXpert",
    ),
)
"""In the order of the report: what is seen, then what it is called."""
