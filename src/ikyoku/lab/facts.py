"""Some basic medical facts in Japanese: the stuff of which the lab's pocket exam is made.

The texts are the project's own. A fact is a relation, a subject and one or two right answers, at the level of the
national examination for physicians: textbook knowledge, short enough for a language model trained in minutes. The
facts make a toy exam and are no clinical guidance: doses, exceptions and the patient are left out.

The wrong options of a question are drawn from the other answers of its relation. What might be argued to be right as
well is therefore listed with each fact and never offered as wrong.

Each table below holds facts as `subject | answer + answer | also + also`; `;` stands between facts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact and how it is worded.

    `statements` hold {subject} and {answer} and end with 。; `questions` hold {subject} and end with どれか。, so that
    2つ選べ。 may follow. The third question is kept for the exam. `english` is one statement and one question.
    """

    name: str
    statements: tuple[str, str, str]
    questions: tuple[str, str, str]
    english: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: what `relation` ties to `subject`.

    `answers` are the one or two right answers; `also` are those of the relation's pool that are, or might be argued
    to be, right too, and are no distractors for this subject.
    """

    relation: str
    subject: str
    answers: tuple[str, ...]
    also: tuple[str, ...] = ()


def relation(name: str) -> Relation:
    """Returns the relation of that name.

    Raises:
        KeyError: there is none.

    >>> relation("pathogen").questions[0].format(subject="疥癬")
    '疥癬の病原体はどれか。'
    """
    found = {each.name: each for each in RELATIONS}
    if name not in found:
        raise KeyError(f"no relation {name!r}: there are {', '.join(found)}")
    return found[name]


@cache
def pool(relation_name: str) -> tuple[str, ...]:
    """Returns every distinct answer of the relation's facts, in order of first appearance.

    Raises:
        KeyError: there is no such relation.

    >>> pool("nerve")[:2]
    ('動眼神経', '滑車神経')
    """
    name = relation(relation_name).name
    return tuple(dict.fromkeys(answer for fact in FACTS if fact.relation == name for answer in fact.answers))


def distractors(fact: Fact) -> tuple[str, ...]:
    """Returns the wrong options for a fact: its relation's pool without what is right or might be argued to be.

    >>> "バソプレシン" in distractors(Fact("deficiency", "中枢性尿崩症", ("バソプレシン",)))
    False
    """
    taken = {*fact.answers, *fact.also}
    return tuple(answer for answer in pool(fact.relation) if answer not in taken)


def _table(name: str, text: str) -> Iterator[Fact]:
    """Yields the facts of one table (see the module's docstring for its form)."""
    for row in text.split(";"):
        subject, answers, *also = row.split("|")
        yield Fact(name, subject.strip(), _cell(answers), _cell(also[0]) if also else ())


def _cell(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(" + "))


RELATIONS: tuple[Relation, ...] = (
    Relation(
        "sign",
        (
            "{subject}に特徴的な徴候は{answer}である。",
            "{answer}は{subject}でみられる典型的な所見である。",
            "{subject}の患者ではしばしば{answer}を認める。",
        ),
        (
            "{subject}に特徴的な徴候はどれか。",
            "典型的な{subject}の患者で認められる所見はどれか。",
            "臨床の場で{subject}を疑うきっかけとなるのはどれか。",
        ),
        ("A characteristic sign of {subject} is {answer}.", "Which is a characteristic sign of {subject}?"),
    ),
    Relation(
        "pathogen",
        (
            "{subject}の病原体は{answer}である。",
            "{answer}は{subject}を引き起こす。",
            "{subject}の原因として{answer}の感染が知られている。",
        ),
        (
            "{subject}の病原体はどれか。",
            "{subject}を引き起こす感染因子はどれか。",
            "感染したのち{subject}を発症しうるのはどれか。",
        ),
        ("The pathogen of {subject} is {answer}.", "Which is the pathogen of {subject}?"),
    ),
    Relation(
        "deficiency",
        (
            "{subject}では{answer}が欠乏または欠損している。",
            "{answer}が足りなくなると{subject}をきたす。",
            "{subject}の成因は{answer}の不足である。",
        ),
        (
            "{subject}で欠乏または欠損しているのはどれか。",
            "足りなくなると{subject}をきたすのはどれか。",
            "{subject}の成因として不足が問題となるのはどれか。",
        ),
        ("{subject} is caused by a lack of {answer}.", "Which is lacking in {subject}?"),
    ),
    Relation(
        "marker",
        (
            "{subject}の診断に有用なマーカーは{answer}である。",
            "{subject}では{answer}が陽性または高値となる。",
            "{subject}を疑ったときは{answer}を測定する。",
        ),
        (
            "{subject}の診断に有用なマーカーはどれか。",
            "{subject}で陽性または高値となるのはどれか。",
            "{subject}を疑ったときに測定すべきなのはどれか。",
        ),
        ("A useful marker of {subject} is {answer}.", "Which is a useful marker of {subject}?"),
    ),
    Relation(
        "antidote",
        (
            "{subject}に対する解毒薬・拮抗薬は{answer}である。",
            "{answer}は{subject}の作用を打ち消すために投与する。",
            "{subject}が過量に体内に入ったときは{answer}が有効である。",
        ),
        (
            "{subject}に対する解毒薬・拮抗薬はどれか。",
            "{subject}の作用を打ち消すために投与するのはどれか。",
            "{subject}が過量に体内に入ったときに有効なのはどれか。",
        ),
        ("The antidote to {subject} is {answer}.", "Which is the antidote to {subject}?"),
    ),
    Relation(
        "secreted",
        (
            "{subject}は{answer}から分泌される。",
            "{answer}は{subject}を分泌する。",
            "{subject}の分泌源は{answer}である。",
        ),
        (
            "{subject}を分泌するのはどれか。",
            "{subject}の分泌源はどれか。",
            "体内で{subject}が放出される場として正しいのはどれか。",
        ),
        ("{subject} is secreted by {answer}.", "Which secretes {subject}?"),
    ),
    Relation(
        "nerve",
        (
            "{subject}は{answer}に支配される。",
            "{answer}は{subject}の運動を担う。",
            "{answer}が損傷すると{subject}が麻痺する。",
        ),
        (
            "{subject}を支配する神経はどれか。",
            "どの神経が{subject}の運動を担うか。正しいのはどれか。",
            "損傷すると{subject}が麻痺するのはどれか。",
        ),
        ("The {subject} is innervated by the {answer}.", "Which nerve innervates the {subject}?"),
    ),
    Relation(
        "drug",
        (
            "{subject}の第一選択薬は{answer}である。",
            "{subject}の患者にはまず{answer}を投与する。",
            "{answer}は{subject}の治療で最初に用いる薬である。",
        ),
        (
            "{subject}の第一選択薬はどれか。",
            "{subject}の患者にまず投与すべきなのはどれか。",
            "診断が{subject}と確定したとき、治療で最初に用いるのはどれか。",
        ),
        ("The drug of first choice for {subject} is {answer}.", "Which is the drug of first choice for {subject}?"),
    ),
    Relation(
        "adverse",
        (
            "{subject}の副作用として{answer}が知られている。",
            "{answer}は{subject}に特徴的な有害事象である。",
            "{subject}の投与中は{answer}に注意する。",
        ),
        (
            "{subject}の副作用として特徴的なのはどれか。",
            "{subject}によって起こりやすい有害事象はどれか。",
            "{subject}を投与している患者で出現に注意すべきなのはどれか。",
        ),
        ("A typical adverse effect of {subject} is {answer}.", "Which is a typical adverse effect of {subject}?"),
    ),
    Relation(
        "contraindicated",
        (
            "{subject}では{answer}は禁忌である。",
            "{subject}に対して{answer}は避けなければならない。",
            "{answer}の禁忌には{subject}が含まれる。",
        ),
        (
            "{subject}で禁忌なのはどれか。",
            "{subject}に対して避けなければならないのはどれか。",
            "行うとかえって危険で、{subject}への対応として誤っているのはどれか。",
        ),
        ("{answer} is contraindicated in {subject}.", "Which is contraindicated in {subject}?"),
    ),
)

_TABLES = {
    "sign": """
髄膜炎 | 項部硬直 + Kernig徴候 | 噴水状嘔吐; Parkinson病 | 仮面様顔貌 + 静止時振戦; Horner症候群 | 縮瞳 + 眼瞼下垂;
重症筋無力症 | 眼瞼下垂 | 仮面様顔貌; Behçet病 | 口腔内アフタ + 外陰部潰瘍;
尋常性天疱瘡 | Nikolsky現象 | 口腔内アフタ + 外陰部潰瘍;
強皮症 | Raynaud現象 | 捻髪音 + くも状血管腫 + 仮面様顔貌 + 開口障害 + 手掌紅斑;
皮膚筋炎 | Gottron徴候 | Raynaud現象 + 捻髪音 + 蝶形紅斑;
全身性エリテマトーデス | 蝶形紅斑 | Raynaud現象 + 口腔内アフタ + 手掌紅斑;
感染性心内膜炎 | Osler結節 + Janeway病変 | 速脈; 大動脈弁狭窄症 | 遅脈; 大動脈弁閉鎖不全症 | 速脈;
動脈管開存症 | 連続性雑音 | 速脈; 心タンポナーデ | 奇脈 | Kussmaul徴候; 収縮性心膜炎 | Kussmaul徴候 | 奇脈;
肝硬変 | くも状血管腫 + 手掌紅斑 | 羽ばたき振戦; 肝性脳症 | 羽ばたき振戦 | くも状血管腫 + 手掌紅斑;
急性虫垂炎 | McBurney点の圧痛; 急性胆囊炎 | Murphy徴候; 腸重積症 | イチゴゼリー状便 | 噴水状嘔吐;
肥厚性幽門狭窄症 | 噴水状嘔吐; 低カルシウム血症 | Chvostek徴候 + Trousseau徴候;
Cushing症候群 | 満月様顔貌 | 歯肉の色素沈着; Addison病 | 歯肉の色素沈着; Basedow病 | 眼球突出 | 速脈 + 手掌紅斑;
神経線維腫症1型 | カフェオレ斑; 麻疹 | Koplik斑; 川崎病 | いちご舌 | 手掌紅斑;
破傷風 | 開口障害 | 項部硬直 + Kernig徴候; 多発性硬化症 | Lhermitte徴候; 特発性肺線維症 | 捻髪音;
鉄欠乏性貧血 | スプーン状爪; 尋常性乾癬 | Auspitz現象; Turner症候群 | 翼状頸 | 眼瞼下垂;
Marfan症候群 | 水晶体偏位 | 速脈
""",
    "pathogen": """
突発性発疹 | HHV-6 + HHV-7; 尖圭コンジローマ | HPV-6 + HPV-11 | HPV-16 + HPV-18;
子宮頸癌 | HPV-16 + HPV-18 | HPV-6 + HPV-11 + HIV; 手足口病 | コクサッキーA16型 + エンテロウイルスA71;
伝染性膿痂疹 | 黄色ブドウ球菌 + 化膿レンサ球菌; 丹毒 | 化膿レンサ球菌 | 黄色ブドウ球菌;
猩紅熱 | 化膿レンサ球菌 | 黄色ブドウ球菌; 毒素性ショック症候群 | 黄色ブドウ球菌 | 化膿レンサ球菌;
急性喉頭蓋炎 | インフルエンザ菌 | 化膿レンサ球菌 + 黄色ブドウ球菌; 伝染性紅斑 | パルボウイルスB19;
伝染性単核球症 | EBウイルス | HIV + HHV-6 + アデノウイルス + HHV-7; 水痘 | VZV; Ramsay Hunt症候群 | VZV;
Kaposi水痘様発疹症 | 単純ヘルペスウイルス | コクサッキーA16型; Kaposi肉腫 | HHV-8 | HIV; 咽頭結膜熱 | アデノウイルス;
急性細気管支炎 | RSウイルス | アデノウイルス; 流行性耳下腺炎 | ムンプスウイルス; 成人T細胞白血病 | HTLV-1; AIDS | HIV;
進行性多巣性白質脳症 | JCウイルス | HIV; 亜急性硬化性全脳炎 | 麻疹ウイルス; クロイツフェルト・ヤコブ病 | プリオン;
ガス壊疽 | ウェルシュ菌 | 化膿レンサ球菌 + 大腸菌O157 + 黄色ブドウ球菌; 偽膜性腸炎 | C. difficile | 黄色ブドウ球菌;
溶血性尿毒症症候群 | 大腸菌O157 | HIV; 胃MALTリンパ腫 | ピロリ菌; Hansen病 | らい菌; 在郷軍人病 | レジオネラ;
Lyme病 | ボレリア; Weil病 | レプトスピラ; Q熱 | コクシエラ; 日本紅斑熱 | リケッチア; オウム病 | クラミジア;
トラコーマ | クラミジア; 猫ひっかき病 | バルトネラ; マラリア | プラスモジウム; 疥癬 | ヒゼンダニ; 癜風 | マラセチア;
鵞口瘡 | カンジダ | HIV
""",
    "deficiency": """
壊血病 | ビタミンC; くる病 | ビタミンD; 骨軟化症 | ビタミンD; 夜盲症 | ビタミンA | 亜鉛; 脚気 | チアミン;
Wernicke脳症 | チアミン; ペラグラ | ナイアシン; 新生児メレナ | ビタミンK | 第IX因子; 悪性貧血 | ビタミンB12 | 葉酸;
巨赤芽球性貧血 | ビタミンB12 + 葉酸; 亜急性連合性脊髄変性症 | ビタミンB12 | 銅 + 葉酸; 氷食症 | 鉄 | 亜鉛;
腸性肢端皮膚炎 | 亜鉛; Menkes病 | 銅; 克山病 | セレン;
腎性貧血 | エリスロポエチン | 鉄 + 葉酸 + 銅 + ビタミンB12 + ビタミンD; 血友病A | 第VIII因子; 血友病B | 第IX因子;
血小板無力症 | GPIIb/IIIa; 血栓性血小板減少性紫斑病 | ADAMTS13; 発作性夜間ヘモグロビン尿症 | CD55 + CD59 | 鉄 + 葉酸;
遺伝性球状赤血球症 | スペクトリン + アンキリン | 葉酸; 遺伝性血管性浮腫 | C1インヒビター;
慢性肉芽腫症 | NADPHオキシダーゼ; 中枢性尿崩症 | バソプレシン; 1型糖尿病 | インスリン;
Addison病 | コルチゾール + アルドステロン; 粘液水腫 | 甲状腺ホルモン; 更年期障害 | エストロゲン; Parkinson病 | ドパミン;
乳糖不耐症 | ラクターゼ; 新生児呼吸窮迫症候群 | 肺サーファクタント; Gaucher病 | グルコセレブロシダーゼ;
Fabry病 | α-ガラクトシダーゼ; Lesch-Nyhan症候群 | HGPRT;
先天性副腎過形成症 | 21-水酸化酵素 | コルチゾール + アルドステロン
""",
    "marker": """
重症筋無力症 | 抗AChR抗体 + 抗MuSK抗体;
全身性エリテマトーデス | 抗dsDNA抗体 + 抗Sm抗体 | 抗SS-A抗体 + 抗SS-B抗体 + 抗U1-RNP抗体;
混合性結合組織病 | 抗U1-RNP抗体 | 抗dsDNA抗体 + 抗Sm抗体 + 抗SS-A抗体 + 抗SS-B抗体;
Sjögren症候群 | 抗SS-A抗体 + 抗SS-B抗体 | 抗セントロメア抗体 + 抗U1-RNP抗体 + 抗ミトコンドリア抗体 + 抗TPO抗体
  + 抗サイログロブリン抗体; 関節リウマチ | 抗CCP抗体 | 抗SS-A抗体 + 抗SS-B抗体;
多発性筋炎 | 抗Jo-1抗体 | 抗SS-A抗体 + 抗U1-RNP抗体;
CREST症候群 | 抗セントロメア抗体 | 抗U1-RNP抗体 + 抗SS-A抗体 + 抗ミトコンドリア抗体;
原発性胆汁性胆管炎 | 抗ミトコンドリア抗体 | 抗セントロメア抗体 + 抗SS-A抗体 + 抗平滑筋抗体 + 抗SS-B抗体;
自己免疫性肝炎 | 抗平滑筋抗体 | 抗ミトコンドリア抗体 + 抗dsDNA抗体 + 抗SS-A抗体 + AFP;
Basedow病 | 抗TSH受容体抗体 | 抗TPO抗体 + 抗サイログロブリン抗体 + 抗胃壁細胞抗体;
橋本病 | 抗TPO抗体 + 抗サイログロブリン抗体 | 抗TSH受容体抗体 + 抗胃壁細胞抗体;
1型糖尿病 | 抗GAD抗体 | 抗TPO抗体 + 抗サイログロブリン抗体 + 抗胃壁細胞抗体;
悪性貧血 | 抗内因子抗体 + 抗胃壁細胞抗体 | 抗TPO抗体 + 抗サイログロブリン抗体;
Goodpasture症候群 | 抗GBM抗体 | MPO-ANCA + PR3-ANCA; 顕微鏡的多発血管炎 | MPO-ANCA | PR3-ANCA + 抗GBM抗体;
多発血管炎性肉芽腫症 | PR3-ANCA | MPO-ANCA; 視神経脊髄炎 | 抗AQP4抗体 | 抗SS-A抗体 + 抗SS-B抗体 + 抗AChR抗体;
Fisher症候群 | 抗GQ1b抗体; 水疱性類天疱瘡 | 抗BP180抗体; 特発性膜性腎症 | 抗PLA2R抗体;
肝細胞癌 | PIVKA-II | AFP + CEA + CA19-9; 卵黄囊腫瘍 | AFP | CA125 + hCG; 膵癌 | CA19-9 | CEA + CA125;
大腸癌 | CEA | CA19-9 + CA125; 乳癌 | CA15-3 | CEA + CA125 + CA19-9; 前立腺癌 | PSA; 絨毛癌 | hCG | CA125;
小細胞肺癌 | ProGRP | CEA + カルシトニン + CA125 + CA19-9 + CA15-3 + hCG; 多発性骨髄腫 | M蛋白 | 可溶性IL-2受容体;
肺扁平上皮癌 | SCC抗原 | CEA + CA125 + CA19-9 + CA15-3 + ProGRP; 神経芽腫 | VMA + HVA;
カルチノイド症候群 | 5-HIAA | CEA + カルシトニン; 甲状腺髄様癌 | カルシトニン | CEA + ProGRP + CA19-9 + VMA;
悪性リンパ腫 | 可溶性IL-2受容体 | M蛋白 + CA125; 卵巣癌 | CA125 | CEA + CA19-9 + AFP + hCG + CA15-3 + SCC抗原
""",
    "antidote": """
有機リン系農薬 | プラリドキシム + アトロピン | 炭酸水素ナトリウム + 高濃度酸素; ムスカリン | アトロピン;
シアン化物 | ヒドロキソコバラミン + チオ硫酸ナトリウム | 亜硝酸アミル + 高濃度酸素 + 炭酸水素ナトリウム;
硫化水素 | 亜硝酸アミル | ヒドロキソコバラミン + 高濃度酸素 + チオ硫酸ナトリウム;
一酸化炭素 | 高濃度酸素 | ヒドロキソコバラミン; モルヒネ | ナロキソン | 高濃度酸素;
フェンタニル | ナロキソン | 高濃度酸素; ベンゾジアゼピン | フルマゼニル | 高濃度酸素; ヘパリン | プロタミン;
ワルファリン | ビタミンK; ダビガトラン | イダルシズマブ | トラネキサム酸; アルテプラーゼ | トラネキサム酸;
インスリン | ブドウ糖 + グルカゴン; スルホニル尿素薬 | ブドウ糖 | グルカゴン;
不凍液 | ホメピゾール | ビタミンB6 + 炭酸水素ナトリウム; 無機鉛 | エデト酸カルシウム | ジメルカプロール;
ヒ素 | ジメルカプロール; 無機水銀 | ジメルカプロール | エデト酸カルシウム; 鉄剤 | デフェロキサミン;
タリウム | プルシアンブルー; 放射性セシウム | プルシアンブルー; メトトレキサート | 活性型葉酸 | 炭酸水素ナトリウム;
イソニアジド | ビタミンB6 | 炭酸水素ナトリウム;
プロプラノロール | グルカゴン | アトロピン + 脂肪乳剤 + グルコン酸カルシウム + ブドウ糖 + 炭酸水素ナトリウム;
ベラパミル | グルコン酸カルシウム | グルカゴン + アトロピン + 脂肪乳剤 + ブドウ糖 + 炭酸水素ナトリウム;
フッ化水素酸 | グルコン酸カルシウム; ロクロニウム | スガマデクス + ネオスチグミン | フィゾスチグミン;
ベクロニウム | スガマデクス | ネオスチグミン + フィゾスチグミン; チョウセンアサガオ | フィゾスチグミン | ネオスチグミン;
三環系抗うつ薬 | 炭酸水素ナトリウム | フィゾスチグミン + 脂肪乳剤; ブピバカイン | 脂肪乳剤 | 炭酸水素ナトリウム;
アニリン | メチレンブルー | 高濃度酸素
""",
    "secreted": """
成長ホルモン | 下垂体前葉 | 胎盤; プロラクチン | 下垂体前葉 | 胎盤; バソプレシン | 下垂体後葉 | 視床下部;
オキシトシン | 下垂体後葉 | 視床下部 + 黄体 + 胎盤; ソマトスタチン | 視床下部 + 膵δ細胞 | 甲状腺傍濾胞細胞;
メラトニン | 松果体; サイロキシン | 甲状腺濾胞細胞; カルシトニン | 甲状腺傍濾胞細胞; パラトルモン | 副甲状腺;
アルドステロン | 副腎皮質球状層; コルチゾール | 副腎皮質束状層; アドレナリン | 副腎髄質;
ノルアドレナリン | 副腎髄質 + 交感神経終末; インスリン | 膵β細胞; グルカゴン | 膵α細胞; ガストリン | 胃G細胞;
ペプシノゲン | 胃主細胞; キャッスル内因子 | 胃壁細胞; セクレチン | 十二指腸S細胞; コレシストキニン | 十二指腸I細胞;
GLP-1 | 小腸L細胞 | 膵α細胞; トリプシノゲン | 膵腺房細胞; レニン | 傍糸球体細胞; エリスロポエチン | 腎間質細胞 | 肝細胞;
IGF-1 | 肝細胞 | 骨細胞 + 胎盤; 胆汁酸 | 肝細胞; FGF23 | 骨細胞;
プロゲステロン | 黄体 + 胎盤 | 副腎皮質束状層 + 顆粒膜細胞;
インヒビン | Sertoli細胞 + 顆粒膜細胞 | 胎盤 + 黄体 + Leydig細胞;
テストステロン | Leydig細胞 | 副腎皮質束状層 + 黄体 + 胎盤; hCG | 胎盤; レプチン | 脂肪細胞 | 胎盤 + 胃主細胞;
免疫グロブリン | 形質細胞; 脳脊髄液 | 脈絡叢; 眼房水 | 毛様体; サーファクタント | II型肺胞上皮細胞
""",
    "nerve": """
内側直筋 | 動眼神経; 上眼瞼挙筋 | 動眼神経; 上斜筋 | 滑車神経; 外側直筋 | 外転神経; 咬筋 | 三叉神経; 眼輪筋 | 顔面神経;
アブミ骨筋 | 顔面神経; 顎二腹筋 | 三叉神経 + 顔面神経; 茎突咽頭筋 | 舌咽神経; 輪状甲状筋 | 上喉頭神経;
後輪状披裂筋 | 反回神経; 胸鎖乳突筋 | 副神経; オトガイ舌筋 | 舌下神経; 前鋸筋 | 長胸神経; 広背筋 | 胸背神経;
三角筋 | 腋窩神経; 棘上筋 | 肩甲上神経; 大円筋 | 肩甲下神経 | 胸背神経; 上腕二頭筋 | 筋皮神経;
上腕三頭筋 | 橈骨神経 | 腋窩神経; 総指伸筋 | 橈骨神経; 円回内筋 | 正中神経; 母指対立筋 | 正中神経 | 尺骨神経;
母指内転筋 | 尺骨神経; 小指外転筋 | 尺骨神経; 深指屈筋 | 正中神経 + 尺骨神経; 手の虫様筋 | 正中神経 + 尺骨神経;
縫工筋 | 大腿神経; 恥骨筋 | 大腿神経 + 閉鎖神経; 長内転筋 | 閉鎖神経 | 大腿神経; 薄筋 | 閉鎖神経; 中殿筋 | 上殿神経;
大殿筋 | 下殿神経; 大腿二頭筋 | 脛骨神経 + 総腓骨神経; ヒラメ筋 | 脛骨神経; 前脛骨筋 | 深腓骨神経 | 総腓骨神経;
外肛門括約筋 | 陰部神経
""",
    "drug": """
梅毒 | ペニシリンG | ミノサイクリン; つつが虫病 | ミノサイクリン | クラリスロマイシン;
百日咳 | クラリスロマイシン | ST合剤;
レジオネラ肺炎 | レボフロキサシン | クラリスロマイシン + ミノサイクリン + リファンピシン;
アメーバ赤痢 | メトロニダゾール; 偽膜性腸炎 | バンコマイシン + メトロニダゾール;
肺結核 | イソニアジド + リファンピシン | レボフロキサシン; ニューモシスチス肺炎 | ST合剤 | プレドニゾロン;
クリプトコッカス髄膜炎 | アムホテリシンB; 侵襲性アスペルギルス症 | ボリコナゾール | アムホテリシンB;
帯状疱疹 | アシクロビル; インフルエンザ | オセルタミビル; 疥癬 | イベルメクチン; Parkinson病 | レボドパ | カベルゴリン;
欠神発作 | バルプロ酸 + エトスクシミド; 三叉神経痛 | カルバマゼピン; てんかん重積状態 | ジアゼパム | バルプロ酸;
躁病 | 炭酸リチウム | バルプロ酸 + カルバマゼピン; 強迫性障害 | SSRI;
アナフィラキシー | アドレナリン | プレドニゾロン + ヒドロコルチゾン;
気管支喘息 | 吸入ステロイド | プレドニゾロン + ヒドロコルチゾン + アドレナリン; 微小変化型ネフローゼ | プレドニゾロン;
関節リウマチ | メトトレキサート | プレドニゾロン + アスピリン + ペニシラミン + ミノサイクリン;
糖尿病ケトアシドーシス | インスリン; Basedow病 | チアマゾール; 甲状腺機能低下症 | レボチロキシン;
中枢性尿崩症 | デスモプレシン; プロラクチノーマ | カベルゴリン; 副腎クリーゼ | ヒドロコルチゾン | プレドニゾロン;
褐色細胞腫 | ドキサゾシン; 発作性上室頻拍 | ATP + ベラパミル | ジルチアゼム; 冠攣縮性狭心症 | ジルチアゼム | ベラパミル;
子癇 | 硫酸マグネシウム | ジアゼパム; 慢性骨髄性白血病 | イマチニブ; 急性前骨髄球性白血病 | トレチノイン;
悪性高熱症 | ダントロレン; 肝性脳症 | ラクツロース | メトロニダゾール; 原発性胆汁性胆管炎 | ウルソデオキシコール酸;
潰瘍性大腸炎 | メサラジン | プレドニゾロン; Wilson病 | ペニシラミン; Alzheimer型認知症 | ドネペジル; 胃食道逆流症 | PPI;
川崎病 | アスピリン + 免疫グロブリン | プレドニゾロン
""",
    "adverse": """
エタンブトール | 視神経炎 | 末梢神経障害 + 高尿酸血症 + 網膜症;
イソニアジド | 末梢神経障害 | 視神経炎 + 無顆粒球症 + 血小板減少; ピラジナミド | 高尿酸血症 | 腎障害;
ゲンタマイシン | 難聴 + 腎障害 | 低カリウム血症;
バンコマイシン | レッドマン症候群 | 腎障害 + 難聴 + 血小板減少 + 無顆粒球症; テトラサイクリン | 歯の着色 | 腎障害;
レボフロキサシン | アキレス腱断裂 | 横紋筋融解症 + 腎障害 + 末梢神経障害 + 高血糖 + 間質性肺炎 + 無顆粒球症;
ブレオマイシン | 間質性肺炎; ドキソルビシン | 心筋障害 | 血小板減少 + 無顆粒球症 + 重篤な下痢;
シクロホスファミド | 出血性膀胱炎 | 間質性肺炎 + 心筋障害 + 低ナトリウム血症 + 血小板減少 + 無顆粒球症;
ビンクリスチン | 末梢神経障害 | 低ナトリウム血症 + 難聴 + 視神経炎 + 無顆粒球症 + 血小板減少;
イリノテカン | 重篤な下痢 | 間質性肺炎 + 血小板減少 + 無顆粒球症;
トラスツズマブ | 心筋障害 | 間質性肺炎 + 血小板減少 + 無顆粒球症 + 重篤な下痢;
ゲフィチニブ | 間質性肺炎 | 重篤な下痢 + 出血性膀胱炎; ジゴキシン | 黄視 | 女性化乳房 + 網膜症 + 視神経炎;
アミオダロン | 間質性肺炎 + 甲状腺機能異常 | 末梢神経障害 + 視神経炎 + 網膜症 + 低ナトリウム血症 + 心筋障害
  + 錐体外路症状; チアマゾール | 無顆粒球症 | 甲状腺機能異常 + 血小板減少 + 間質性肺炎;
ハロペリドール | 錐体外路症状 | 横紋筋融解症 + 高血糖 + 無顆粒球症 + 女性化乳房 + 静脈血栓症 + 低ナトリウム血症;
オランザピン | 高血糖 | 錐体外路症状 + ケトアシドーシス + 横紋筋融解症 + 静脈血栓症 + 無顆粒球症 + 女性化乳房
  + 低ナトリウム血症; 炭酸リチウム | 腎性尿崩症 | 甲状腺機能異常 + 腎障害 + 重篤な下痢 + 下腿浮腫 + 錐体外路症状;
シクロスポリン | 腎障害 + 歯肉増殖 | 高尿酸血症 + 高血糖 + 横紋筋融解症;
フェニトイン | 歯肉増殖 | 無顆粒球症 + 血小板減少 + 骨粗鬆症 + 末梢神経障害 + 間質性肺炎 + 高血糖 + 甲状腺機能異常;
バルプロ酸 | 高アンモニア血症 | 血小板減少 + 錐体外路症状 + 低ナトリウム血症 + 横紋筋融解症 + 骨粗鬆症 + 無顆粒球症
  + 間質性肺炎; カルバマゼピン | 低ナトリウム血症 | 無顆粒球症 + 血小板減少 + 間質性肺炎 + 骨粗鬆症 + 甲状腺機能異常;
スピロノラクトン | 女性化乳房 | 低ナトリウム血症 + 腎障害;
エナラプリル | 空咳 | 腎障害 + 無顆粒球症 + 低ナトリウム血症 + 血小板減少;
甘草 | 低カリウム血症 | 横紋筋融解症 + 下腿浮腫;
プラバスタチン | 横紋筋融解症 | 末梢神経障害 + 間質性肺炎 + 高血糖 + 血小板減少 + 腎障害;
メトホルミン | 乳酸アシドーシス | 重篤な下痢 + 末梢神経障害;
ピオグリタゾン | 下腿浮腫 | 骨粗鬆症 + 横紋筋融解症 + 心筋障害 + 網膜症; ダパグリフロジン | ケトアシドーシス | 腎障害;
プレドニゾロン | 骨粗鬆症 + 高血糖 | 低カリウム血症 + 下腿浮腫 + 静脈血栓症 + 横紋筋融解症 + 網膜症 + ケトアシドーシス
  + アキレス腱断裂; ヘパリン | 血小板減少 | 骨粗鬆症 + 静脈血栓症;
ヒドロキシクロロキン | 網膜症 | 心筋障害 + 横紋筋融解症 + 視神経炎 + 無顆粒球症 + 血小板減少 + 難聴;
タモキシフェン | 子宮体癌 | 静脈血栓症 + 網膜症 + 視神経炎 + 間質性肺炎;
経口避妊薬 | 静脈血栓症 | 高血糖 + 下腿浮腫 + 網膜症
""",
    "contraindicated": """
閉塞隅角緑内障 | 抗コリン薬 | ニトログリセリン + スキサメトニウム + SSRI; 前立腺肥大症 | 抗コリン薬;
気管支喘息 | β遮断薬 | アスピリン; 両側腎動脈狭窄 | ACE阻害薬 | スピロノラクトン + アスピリン;
高カリウム血症 | スピロノラクトン | ACE阻害薬 + スキサメトニウム + ジギタリス + β遮断薬 + キニジン;
褐色細胞腫 | メトクロプラミド | β遮断薬 + 経皮的針生検 + ハロペリドール + SSRI + スマトリプタン + スキサメトニウム;
Parkinson病 | ハロペリドール | メトクロプラミド;
急性ポルフィリン症 | バルビツレート | 経口避妊薬 + スピロノラクトン + ACE阻害薬 + メトクロプラミド;
G6PD欠損症 | プリマキン | アスピリン + キニジン;
閉塞性肥大型心筋症 | ニトログリセリン | ジギタリス + ACE阻害薬 + スピロノラクトン + アルテプラーゼ;
WPW症候群の心房細動 | ジギタリス + ベラパミル | β遮断薬;
完全房室ブロック | β遮断薬 + ベラパミル | ジギタリス + キニジン;
頭蓋内圧亢進 | 腰椎穿刺 | ニトログリセリン + スキサメトニウム + 催吐 + 陽圧換気 + セボフルラン;
免疫不全患者 | 生ワクチン;
高度腎機能障害 | メトホルミン | スピロノラクトン + ACE阻害薬 + ジギタリス + アスピリン + ピオグリタゾン
  + スキサメトニウム + 経口避妊薬;
うっ血性心不全 | ピオグリタゾン | β遮断薬 + ベラパミル + メトホルミン + キニジン + 抗コリン薬 + ハロペリドール
  + アスピリン + 経口避妊薬;
消化管穿孔 | バリウム造影 | メトクロプラミド + アスピリン + 抗コリン薬 + 催吐 + 胃洗浄 + アルテプラーゼ + ロペラミド
  + ソルビトール;
出血性大腸炎 | ロペラミド | 抗コリン薬 + アスピリン + アルテプラーゼ + ソルビトール + メトクロプラミド;
小児のインフルエンザ | アスピリン | 生ワクチン; 前兆のある片頭痛 | 経口避妊薬 | ニトログリセリン;
虚血性心疾患 | スマトリプタン | 経口避妊薬 + キニジン + ハロペリドール + 抗コリン薬 + メトホルミン;
脳出血 | アルテプラーゼ | アスピリン + 腰椎穿刺 + ニトログリセリン + 経口避妊薬 + スマトリプタン + スキサメトニウム
  + 催吐 + SSRI;
QT延長症候群 | キニジン | ハロペリドール + メトクロプラミド + SSRI + プリマキン + ロペラミド + オキシトシン
  + セボフルラン; 遺伝性果糖不耐症 | ソルビトール | 生ワクチン;
悪性高熱症の既往 | スキサメトニウム + セボフルラン | ハロペリドール;
前置胎盤 | 内診 | オキシトシン + ACE阻害薬 + アスピリン + 生ワクチン + メトホルミン + ハロペリドール + 経口避妊薬
  + ピオグリタゾン + ベラパミル + β遮断薬 + バルビツレート + スピロノラクトン + プリマキン + バリウム造影
  + アルテプラーゼ;
児頭骨盤不均衡 | オキシトシン | ACE阻害薬 + アスピリン + 生ワクチン + メトホルミン + ハロペリドール + 経口避妊薬
  + ピオグリタゾン + ベラパミル + β遮断薬 + バルビツレート + スピロノラクトン + プリマキン + バリウム造影;
MAO阻害薬内服例 | SSRI | スマトリプタン + メトクロプラミド + ハロペリドール + バルビツレート;
血友病A | 筋肉内注射 | アスピリン + アルテプラーゼ + 腰椎穿刺 + 経皮的針生検 + SSRI;
急性喉頭蓋炎 | 舌圧子の使用 | 催吐 + 胃洗浄 + バルビツレート; 灯油の誤飲 | 催吐 | 胃洗浄;
強酸の誤飲 | 催吐 + 胃洗浄 | バリウム造影 + アスピリン; 精巣腫瘍 | 経皮的針生検; 緊張性気胸 | 陽圧換気 | セボフルラン;
深部静脈血栓症 | 間欠的空気圧迫 | 経口避妊薬 + 筋肉内注射
""",
}

FACTS: tuple[Fact, ...] = tuple(fact for name, text in _TABLES.items() for fact in _table(name, text))
