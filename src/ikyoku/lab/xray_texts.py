"""What the X-ray lab's models read and are asked: prompts, passages and the tokenizer.

A finding list stands in a text model's prompt exactly where the picture stands in a vision model's, so that what a
picture turns into can be read by everything that was tuned from the same base.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ikyoku.findings.types import Finding
from ikyoku.lab.phantoms.truth import Phantom, phantom
from ikyoku.lab.phantoms.wording import Language, all_texts, listed, report, sentence, shown
from ikyoku.lab.world import Passage
from ikyoku.prompts import PROMPT_FORMATS, REPORT_INSTRUCTION, PromptFormat, instruction_prompt
from ikyoku.types import IMAGE_MARK, Instruction

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CONTEXT = 2048
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ eos_token + '\n' if message['role'] == 'assistant' else '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
FORMAT = PROMPT_FORMATS["vicuna"]
FORMS: tuple[PromptFormat, ...] = (FORMAT, FORMAT, PROMPT_FORMATS["alpaca-ja"])

INSTRUCTIONS: dict[Language, tuple[str, ...]] = {
    "ja": (
        REPORT_INSTRUCTION,
        "この胸部X線写真の所見を日本語で書いてください。",
        "胸部単純X線写真を読影し、所見を述べてください。",
    ),
    "en": (
        "Read this chest X-ray and write the findings in English.",
        "Describe the findings of this chest radiograph.",
        "You are a radiologist. Report what this chest X-ray shows, with side and zone.",
    ),
}
"""What is asked for a report; the first Japanese one is that of a spec that names none."""

_TRANSLATE = {"ja": "次の英文を日本語に訳してください。", "en": "Translate the following Japanese into English."}
_CONCLUDE = {"ja": "診断を日本語で書いてください。", "en": "Write the impression in English."}
_MEANINGS: dict[str, tuple[str, str, str]] = {
    "infiltrate": (
        "浸潤影",
        "肺炎などで肺胞が満たされてできる、境界の不明瞭な陰影",
        "an ill-defined shadow of filled air spaces",
    ),
    "nodule": ("結節影", "径3cm以下の円形の陰影", "a round shadow of up to three centimetres"),
    "mass": ("腫瘤影", "径3cmを超える円形の陰影", "a round shadow of more than three centimetres"),
    "atelectasis": (
        "無気肺",
        "空気が抜けて肺の容積が減った状態",
        "a part of the lung that has lost its air and volume",
    ),
    "pleural_effusion": ("胸水", "胸腔にたまった液体", "fluid in the pleural space"),
    "costophrenic_blunting": (
        "肋骨横隔膜角の鈍化",
        "少量の胸水で角が丸くなること",
        "an angle that is rounded by a little fluid",
    ),
    "pneumothorax": ("気胸", "胸腔に空気が入り肺が縮んだ状態", "air in the pleural space with a collapsed lung"),
    "cardiomegaly": ("心拡大", "心胸郭比が50%を超えること", "a heart wider than half of the chest"),
    "edema": ("肺うっ血", "心不全などで肺門周囲に広がる陰影", "haze around both hila as in heart failure"),
    "cv_catheter": (
        "中心静脈カテーテル",
        "先端を上大静脈に置く細い管",
        "a thin line with its tip in the superior vena cava",
    ),
    "pacemaker": (
        "ペースメーカー",
        "前胸部の本体と心臓への導線からなる装置",
        "a generator in the chest wall with a lead to the heart",
    ),
    "endotracheal_tube": ("気管挿管チューブ", "気管に入れる管", "a tube in the trachea"),
    "gastric_tube": ("胃管", "食道を通り胃に至る管", "a tube through the oesophagus into the stomach"),
    "chest_drain": (
        "胸腔ドレーン",
        "胸腔から空気や液体を抜く管",
        "a tube that drains air or fluid from the pleural space",
    ),
}
Lesson = Callable[[random.Random], Passage]


def framed(item: str, instruction: str, form: PromptFormat) -> str:
    """Returns the prompt that puts an item and an instruction about it: a picture's mark, or a text in its place."""
    return instruction_prompt(Instruction("", f"{item}\n{instruction}", "", ""), form).text


def picture_prompt(language: Language, *, form: PromptFormat = FORMAT, instruction: int = 0) -> str:
    """Returns the prompt that asks for the report of one picture."""
    return framed(IMAGE_MARK, INSTRUCTIONS[language][instruction], form)


def answer(text: str, form: PromptFormat) -> str:
    """Returns a reply as it follows a prompt of that format."""
    return form.lead + text


def lessons(name: str, *, seed: int) -> Lesson:
    """Returns a function that draws a training text of the base or of a text model tuned from it.

    Args:
        name: "base", "report-ja" or "medical".
        seed: of the phantoms whose truth the texts tell; no picture of them is ever drawn.
    """
    shares: dict[str, list[tuple[float, Lesson]]] = {
        "base": [
            (0.34, _report("en")),
            (0.16, _report("ja")),
            (0.12, _translation("ja")),
            (0.12, _translation("en")),
            (0.06, _conclusion("en")),
            (0.10, _prose("en")),
            (0.10, _prose("ja")),
        ],
        "report-ja": [(0.75, _report("ja")), (0.15, _translation("ja")), (0.10, _prose("ja"))],
        "medical": [
            (0.20, _meaning("ja")),
            (0.20, _meaning("en")),
            (0.20, _conclusion("ja")),
            (0.20, _conclusion("en")),
            (0.10, _report("en")),
            (0.10, _report("ja")),
        ],
    }
    weights, kinds = zip(*shares[name], strict=True)
    return lambda rng: rng.choices(kinds, weights)[0](rng)


def passages(name: str, *, seed: int, block: int, count: int = 256) -> list[Passage]:
    """Returns one block of a model's training texts."""
    rng = random.Random(f"{seed}/{name}/{block}")
    draw = lessons(name, seed=seed)
    return [draw(rng) for _ in range(count)]


def _told(rng: random.Random) -> Phantom:
    return phantom(rng.getrandbits(40), "text")


def _report(language: Language) -> Lesson:
    def draw(rng: random.Random) -> Passage:
        form, truth = rng.choice(FORMS), _told(rng)
        # The list's order tells nothing, so that a picture has no order to tell either.
        findings = rng.sample(truth.findings, len(truth.findings))
        prompt = framed(listed(findings), rng.choice(INSTRUCTIONS[language]), form)
        return Passage(prompt, answer(report(truth, language).findings, form))

    return draw


def _translation(into: Language) -> Lesson:
    source: Language = "en" if into == "ja" else "ja"

    def draw(rng: random.Random) -> Passage:
        form, truth = rng.choice(FORMS), _told(rng)
        if truth.findings and rng.random() < 0.6:
            finding: Finding = rng.choice(shown(truth.findings))
            texts = {each: sentence(finding, each, rng) for each in (source, into)}
        else:
            texts = {each: report(truth, each).findings for each in (source, into)}
        return Passage(framed(texts[source], _TRANSLATE[into], form), answer(texts[into], form))

    return draw


def _conclusion(language: Language) -> Lesson:
    def draw(rng: random.Random) -> Passage:
        form, truth = rng.choice(FORMS), _told(rng)
        item = report(truth, language).findings if rng.random() < 0.5 else listed(truth.findings)
        return Passage(framed(item, _CONCLUDE[language], form), answer(report(truth, language).impression, form))

    return draw


def _prose(language: Language) -> Lesson:
    return lambda rng: Passage(report(_told(rng), language).findings, "")


def _meaning(language: Language) -> Lesson:
    def draw(rng: random.Random) -> Passage:
        form, name = rng.choice(FORMS), rng.choice(list(_MEANINGS))
        japanese, said, english = _MEANINGS[name]
        term = name.replace("_", " ")
        question, reply = {
            "ja": (f"{japanese}とは何ですか。", f"{japanese}とは、{said}である。"),
            "en": (f"What is meant by {term}?", f"It is {english}."),
        }[language]
        if rng.random() < 0.25:
            question, reply = (
                (f"{term}を日本語で何といいますか。", japanese)
                if language == "ja"
                else (f"What is {japanese} in English?", term)
            )
        return Passage(instruction_prompt(Instruction("", question, "", ""), form).text, answer(reply, form))

    return draw


def make_tokenizer(*, vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """Returns a fast tokenizer of the lab's texts that encodes any text; `<image>` is one token of it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [f"{p.prompt}{p.answer}" for name in ("base", "report-ja", "medical") for p in _sample(name, seed)]
    texts += all_texts() * 3
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
    # A word with what is written in kana behind it; a side is a piece of its own before whatever place it names.
    words = Regex(
        r"両側|[右左](?=[上中下])|[上中下]肺野|\p{Han}+\p{Hiragana}*|\p{Hiragana}+|[\p{Katakana}ー]+| ?[A-Za-z]+|.|\s"
    )
    backend.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    special = [PAD, BOS, EOS, IMAGE_MARK]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 256, special_tokens=special, max_token_length=16, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    # Bytes are plain entries of the vocabulary: special ones would be read out of texts and left out of replies.
    state = json.loads(backend.to_str())
    for byte in range(256):
        state["model"]["vocab"][f"<0x{byte:02X}>"] = len(state["model"]["vocab"])
    backend = Tokenizer.from_str(json.dumps(state))
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, backend.token_to_id(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE_MARK},
        model_max_length=CONTEXT,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _sample(name: str, seed: int) -> Iterator[Passage]:
    for block in range(6):
        yield from passages(name, seed=seed, block=block)
