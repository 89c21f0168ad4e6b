"""What a Chinese question asks for, and the pairs of characters that it shares with a sentence."""

from __future__ import annotations

import re

from voicerag_core.local.reading.questions import Asked

__all__ = ["asked_in_chinese", "fits_chinese", "numbers", "pairs", "question_pairs"]

_RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+|[a-z0-9.½_-]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ASKING = re.compile(
    r"什么时候|何时|哪一?年|什么|哪里|哪儿|哪个|哪些|哪种|哪位|哪一个|哪|谁|多少|多久|多大|多长|多高|为什么"
    r"|为何|怎么样?|怎样|如何|几|吗|呢|是否"
)
_PARTICLES = frozenset("的了是在吗呢吧和与")
"""Characters that stand between words; a pair with one of them is hardly a word."""
_EMPTY = frozenset(
    "的了是在和与及或有为以被于由对从到中上下着过把向给让使就都也还而且但不这那些个什么谁哪里多少几怎样如何"
    "时吗呢吧啊之其"
)
"""Characters that mean little; a pair of two of them is not counted."""

_FORMS = (
    (
        "date",
        r"什么时候|何时|哪一?年|哪一天|哪个(?:世纪|月|日|年|时期)|什么(?:日期|年份|时间|年代)|多久",
    ),
    ("amount", r"多少|几[个位名次年种家人台]|多大|多长|多高|多远|多重|多快|百分之几"),
    ("person", r"谁|哪位|什么人|哪个人|哪些人"),
    ("place", r"哪里|哪儿|何处|什么地方|哪个(?:城市|国家|地方|州|省|地区|县|洲|岛)|在哪"),
    ("reason", r"为什么|为何|原因"),
)
_HOLDS = {
    "date": r"\d{3,4} ?年|\d+ ?(?:月|日|世纪|年代)|[年月天]|世纪|小时|分钟|时期|时代|期间|\d{4}",
    "amount": r"[0-9０-９一二三四五六七八九十百千万亿两半]",
    "person": r"·|[人者家员王帝]|博士|教授|先生|女士|总统|[A-Z][a-z]+ [A-Z][a-z]+"
    r"|[\u3400-\u9fff]{2,4}[说写]|认为|发现",
    "place": r"[国州市省县区城岛洲山河海港地镇村街路欧美亚]|大学|位于",
    "reason": r"因|由于|所以|导致|以便|为了|使得|从而|造成",
}
_GREETING = re.compile(
    r"\W*(?:你好|您好|大家好|早上好|下午好|晚上好|谢谢|多谢|再见|好的)+[啊呀吗了]?\W*"
)
_MANY = re.compile(r"哪些|哪几|有什么|列出|包括什么|分别")
_HOW_TO = re.compile(r"怎么|如何|怎样")


def pairs(text: str) -> list[str]:
    """Return the pairs of neighbouring Chinese characters of a text, and its other words."""
    found: list[str] = []
    for run in _RUN.findall(text.lower()):
        if run[0] < "\u3400":
            found.append(run.strip(".-_") or run)
        else:
            found += [run[at : at + 2] for at in range(len(run) - 1)] or [run]
    return found


def question_pairs(question: str) -> list[str]:
    """Return the pairs of a question that carry meaning, each once."""
    parts = (pair for part in _ASKING.split(question) for pair in pairs(part))
    return list(
        dict.fromkeys(
            pair
            for pair in parts
            if not _EMPTY.issuperset(pair) and not _PARTICLES.intersection(pair)
        )
    )


def numbers(text: str) -> frozenset[str]:
    """Return the numbers that a text gives in figures."""
    return frozenset(found.replace(",", "") for found in _NUMBER.findall(text))


def fits_chinese(question: str, sentence: str) -> float:
    """Return 1 where a sentence has the form that is asked for, 0 where not, else 0.5."""
    for form, asks in _FORMS:
        if re.search(asks, question):
            return float(re.search(_HOLDS[form], sentence) is not None)
    return 0.5


def asked_in_chinese(question: str) -> Asked:
    """Tell what a question asks for, as far as it decides how much is quoted."""
    how_to = _HOW_TO.search(question) is not None
    return Asked(
        many=_MANY.search(question) is not None and not how_to,
        how_to=how_to,
        greeting=_GREETING.fullmatch(question) is not None,
        reason=re.search(_FORMS[-1][1], question) is not None,
        words=frozenset(question_pairs(question)),
    )
