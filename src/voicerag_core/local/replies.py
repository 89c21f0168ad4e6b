"""What the local stack says itself, in five languages."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from voicerag_core.languages import ENGLISH, language_name
from voicerag_core.local.caveats import marked

__all__ = ["ENGLISH_REPLIES", "Replies", "no_reader", "replies_in"]


@dataclass(frozen=True, slots=True)
class Replies:
    """The sentences of one language.

    Args:
        not_answered: The documents do not answer.
        closest: The document that comes closest, as ``{title}``.
        asked_back: Was this said: ``{words}``?
        no_documents: Nothing was found to answer from.
        no_reader: There is no reader of ``{language}``, and what to set.
        no_model: The chat model failed, and a quote follows.
        broke_off: The chat model broke off, and a quote follows.
        unsupported: Shown behind a sentence that the documents do not bear.
        other_source: Shown behind a sentence that the documents may bear, but not those it names.
        no_source: Shown for the number ``{number}`` of a source that there is not.
        more: Spoken for ``{count}`` further items of a long list.
    """

    not_answered: str
    closest: str
    asked_back: str
    no_documents: str
    no_reader: str
    no_model: str
    broke_off: str
    more: str
    unsupported: str
    other_source: str
    no_source: str


ENGLISH_REPLIES: Final = Replies(
    not_answered="The documents do not answer this question.",
    closest="The closest passage is from {title}.",
    asked_back='I did not hear that well: did you mean "{words}"?',
    no_documents="There are no documents that I could answer this question from.",
    no_reader="I can find passages in {language}, but only a chat model can answer from them: set "
    "VOICERAG_CHAT.",
    no_model="The chat model did not answer, so this is quoted from the documents.",
    broke_off="The chat model broke off here. Quoted from the documents:",
    more="And {count} more.",
    unsupported=marked("not in the documents"),
    other_source=marked("not in the source named"),
    no_source=marked("there is no source {number}"),
)

_REPLIES: Final = MappingProxyType(
    {
        ENGLISH: ENGLISH_REPLIES,
        "zh": Replies(
            not_answered="文档没有回答这个问题。",
            closest="最接近的段落出自《{title}》。",
            asked_back="我没有听清楚：您是说“{words}”吗？",
            no_documents="没有可以用来回答这个问题的文档。",
            no_reader="我能找到{language}段落，但要回答问题需要聊天模型：请设置 VOICERAG_CHAT。",
            no_model="聊天模型没有回答，以下内容引自文档。",
            broke_off="聊天模型在此中断。以下内容引自文档：",
            more="还有{count}项。",
            unsupported=marked("文档中没有"),
            other_source=marked("所注来源中没有"),
            no_source=marked("没有来源 {number}"),
        ),
        "de": Replies(
            not_answered="Die Dokumente beantworten diese Frage nicht.",
            closest="Am nächsten kommt ein Abschnitt aus {title}.",
            asked_back="Das habe ich nicht gut verstanden: Meinten Sie „{words}“?",
            no_documents="Es gibt keine Dokumente, aus denen ich diese Frage beantworten könnte.",
            no_reader="Ich kann Textstellen auf {language} finden, aber nur ein Chatmodell kann "
            "daraus antworten: Setzen Sie VOICERAG_CHAT.",
            no_model="Das Chatmodell hat nicht geantwortet, daher ein Zitat aus den Dokumenten.",
            broke_off="Hier brach das Chatmodell ab. Aus den Dokumenten:",
            more="Und {count} weitere.",
            unsupported=marked("nicht in den Dokumenten"),
            other_source=marked("nicht in der genannten Quelle"),
            no_source=marked("es gibt keine Quelle {number}"),
        ),
        "fr": Replies(
            not_answered="Les documents ne répondent pas à cette question.",
            closest="Le passage le plus proche vient de {title}.",
            asked_back="Je n'ai pas bien entendu : vouliez-vous dire « {words} » ?",
            no_documents="Il n'y a aucun document qui me permette de répondre à cette question.",
            no_reader="Je peux trouver des passages en {language}, mais seul un modèle de "
            "conversation peut y répondre : définissez VOICERAG_CHAT.",
            no_model="Le modèle de conversation n'a pas répondu ; voici ce que disent les "
            "documents.",
            broke_off="Le modèle de conversation s'est interrompu ici. Extrait des documents :",
            more="Et {count} autres.",
            unsupported=marked("absent des documents"),
            other_source=marked("absent de la source citée"),
            no_source=marked("la source {number} n'existe pas"),
        ),
        "es": Replies(
            not_answered="Los documentos no responden a esta pregunta.",
            closest="El pasaje más cercano es de {title}.",
            asked_back="No le he oído bien: ¿quiso decir «{words}»?",
            no_documents="No hay documentos con los que pueda responder a esta pregunta.",
            no_reader="Puedo encontrar pasajes en {language}, pero solo un modelo de chat puede "
            "responder con ellos: defina VOICERAG_CHAT.",
            no_model="El modelo de chat no respondió; esto es una cita de los documentos.",
            broke_off="El modelo de chat se interrumpió aquí. De los documentos:",
            more="Y {count} más.",
            unsupported=marked("no está en los documentos"),
            other_source=marked("no está en la fuente citada"),
            no_source=marked("no existe la fuente {number}"),
        ),
    }
)

_OWN_NAMES: Final = MappingProxyType(
    {"zh": "中文", "de": "Deutsch", "fr": "français", "es": "español"}
)


def replies_in(code: str) -> Replies:
    """Return what is said in a language; in English for those that are not known here."""
    return _REPLIES.get(code, ENGLISH_REPLIES)


def no_reader(code: str) -> str:
    """Return the sentence that says that only a chat model answers in a language."""
    return replies_in(code).no_reader.format(language=_OWN_NAMES.get(code, language_name(code)))
