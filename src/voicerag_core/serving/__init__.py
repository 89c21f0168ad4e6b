"""The application behind every server: asking, ingesting, tenants, jobs, clips, paths and tokens.

It depends neither on MCP nor on a web framework. A server turns a request into arguments, runs a
method of `Asking` or `Ingesting` on the `Workers`, and turns the value or the error into its
response::

    with open_serving(load_settings(), Limits()) as serving:
        query = Query(QuestionSource(text="Where does the Rhine rise?"))
        asked = await serving.workers.run(lambda job: serving.asking.ask(job, "default", query))
        pieces = serving.workers.stream(lambda job: serving.asking.stream(job, "default", query))
"""

from __future__ import annotations

from voicerag_core.audio import (
    SOUND_FORMATS,
    LiveResampler,
    PcmReader,
    SoundEncoder,
    SoundFormat,
    pcm16,
    samples_of_pcm16,
)
from voicerag_core.heaps import settle
from voicerag_core.languages import LANGUAGES
from voicerag_core.serving.asking import Asking
from voicerag_core.serving.auth import WRITE, Caller, Grant, SignedTokens, TokenFile, TokenTable
from voicerag_core.serving.clips import ClipStore, KeptClip, KeptSpeech
from voicerag_core.serving.exposure import Exposure, is_loopback
from voicerag_core.serving.guard import Guard, Visitor, visitor_of
from voicerag_core.serving.ingesting import Ingesting
from voicerag_core.serving.jobs import Job, Progress, Workers
from voicerag_core.serving.limits import Limits
from voicerag_core.serving.messages import message_for_caller
from voicerag_core.serving.opening import Serving, open_serving
from voicerag_core.serving.paths import AllowedPaths
from voicerag_core.serving.rates import CallRate
from voicerag_core.serving.tenants import Tenants, open_tenants
from voicerag_core.serving.tickets import Tickets
from voicerag_core.serving.values import (
    Asked,
    Found,
    PassageInDocument,
    Query,
    QuestionSource,
    SpeechPlace,
    Spoken,
    TakenIn,
    Transcribed,
    Where,
)

__all__ = [
    "LANGUAGES",
    "SOUND_FORMATS",
    "WRITE",
    "AllowedPaths",
    "Asked",
    "Asking",
    "CallRate",
    "Caller",
    "ClipStore",
    "Exposure",
    "Found",
    "Grant",
    "Guard",
    "Ingesting",
    "Job",
    "KeptClip",
    "KeptSpeech",
    "Limits",
    "LiveResampler",
    "PassageInDocument",
    "PcmReader",
    "Progress",
    "Query",
    "QuestionSource",
    "Serving",
    "SignedTokens",
    "SoundEncoder",
    "SoundFormat",
    "SpeechPlace",
    "Spoken",
    "TakenIn",
    "Tenants",
    "Tickets",
    "TokenFile",
    "TokenTable",
    "Transcribed",
    "Visitor",
    "Where",
    "Workers",
    "is_loopback",
    "message_for_caller",
    "open_serving",
    "open_tenants",
    "pcm16",
    "samples_of_pcm16",
    "settle",
    "visitor_of",
]
