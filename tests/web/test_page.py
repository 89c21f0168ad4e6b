"""The page in a real Chromium with a microphone that plays a file, against servers on fakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.fakes import FakeModels, fake_tenants
from tests.waiting import PATIENCE
from tests.web.browsing import MS, Page, launched
from tests.web.conftest import Running, running
from voicerag_core import (
    SPEECH_RATE_HZ,
    Audio,
    Passage,
    Transcription,
    read_audio,
    resample,
    write_wav,
)
from voicerag_core.testing import FakeTranscriber, FakeVoiceModel

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question and a pause, again and again."""
    rate = 48_000
    asked = read_audio(Path(__file__).parents[2] / "examples/sample/audio/dev-04.flac").samples
    spoken = resample(Audio(asked, SPEECH_RATE_HZ), rate).samples
    sound = np.concatenate([np.zeros(rate // 2), spoken, np.zeros(int(1.5 * rate))])
    path = tmp_path_factory.mktemp("microphone") / "word.wav"
    write_wav(path, Audio(np.tile(sound, 4).astype(np.float32), rate))
    return path


@pytest.fixture(scope="module")
def browser(engine: Any, clip: Path) -> Iterator[Any]:
    """A browser whose microphone is the clip."""
    with launched(engine, clip, "--use-fake-ui-for-media-stream") as started:
        yield started


@contextmanager
def opened(browser: Any, server: Running, path: str = "/", **options: Any) -> Iterator[Page]:
    page = Page(browser, server.url.replace("127.0.0.1", "localhost") + path, **options)
    yield page
    page.context.close()
    assert page.errors == []


class LongVoice(FakeVoiceModel):
    """Speaks slowly: with 4 s a word, longer than what the server sends ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._times = round(20 * seconds)

    def respond(self, *given: Any, **options: Any) -> Iterator[Any]:
        for piece in super().respond(*given, **options):
            if piece.audio is None:
                yield piece
            else:
                samples = np.tile(piece.audio.samples, self._times)
                yield type(piece)(audio=Audio(samples, piece.audio.sample_rate))


def test_a_typed_question_is_answered_with_its_sources(browser: Any, server: Running) -> None:
    with opened(browser, server) as page:
        page.connected().ask("where does the rhine rise")
        assert "Swiss Alps" in page.answered().inner_text()
        mark = page.page.wait_for_selector(".source.cited mark", timeout=MS)
        assert mark.inner_text() == "The Rhine rises in the Swiss Alps."
        assert "first text" in page.page.inner_text(".stages")
        page.eventually("voicerag.turns[0].stages.heard", 0.0)
        page.eventually("voicerag.player.received")
        with page.page.expect_download() as download:
            page.page.click("text=Download")
        assert Path(download.value.path()).read_bytes().startswith(b"RIFF")


def test_a_title_that_is_the_first_heading_stands_there_once(browser: Any) -> None:
    tenants, database = fake_tenants()
    database.stores.clear()
    database.fill(**{"other.txt": "Oxygen was discovered in 1774."})
    store = database.stores["default", "default"]
    text = "The Rhine rises in the Swiss Alps."
    metadata: dict[str, Any] = {
        "title": "The Rhine",
        "path": ["The Rhine", "Its source"],
        "blocks": [[0, len(text), "text"]],
    }
    store.add([Passage("rhine", text, metadata)], database.models.embedder.embed_passages([text]))
    with running(tenants=tenants) as server, opened(browser, server) as page:
        page.connected().ask("where does the rhine rise")
        page.answered()
        name = page.page.wait_for_selector(".source.cited .name", timeout=MS)
        assert name.inner_text() == "The Rhine › Its source"
        assert page.page.inner_text(".sources h3") == "Sources: 1 of 2 passages cited"


def test_one_passage_is_counted_as_one(browser: Any) -> None:
    tenants, database = fake_tenants()
    database.stores.clear()
    database.fill(**{"rhine.txt": "The Rhine rises in the Swiss Alps."})
    with running(tenants=tenants) as server, opened(browser, server) as page:
        page.connected().ask("where does the rhine rise")
        page.answered()
        page.page.wait_for_selector(".source.cited", timeout=MS)
        assert page.page.inner_text(".sources h3") == "Sources: 1 of 1 passage cited"


def test_a_spoken_question_is_heard_and_answered(browser: Any, server: Running) -> None:
    with opened(browser, server) as page:
        page.connected()
        page.page.hover("#talk")
        page.page.mouse.down()
        page.page.wait_for_selector("#state[data-kind=live]", timeout=MS)
        page.page.wait_for_timeout(1500)
        page.page.mouse.up()
        assert page.answered().inner_text().startswith(("The Rhine", "Oxygen"))
        assert page.page.inner_text(".asked").strip() == "where does the rhine rise"
        page.eventually("voicerag.turns[0].stages.heard", 0.001)
        stages = page.read("voicerag.turns[0].stages")
        assert stages["heard"] > stages["first_audio"], "what is sent is heard later"


class Held(FakeTranscriber):
    """Makes the words out when it is told to."""

    def __init__(self) -> None:
        super().__init__(otherwise="where does the rhine rise")
        self.go_on = threading.Event()

    def transcribe(self, audio: Audio) -> Transcription:
        assert self.go_on.wait(PATIENCE)
        return super().transcribe(audio)


def test_what_the_sound_found_is_shown_until_the_words_are_known(browser: Any) -> None:
    words = Held()
    with running(FakeModels(transcriber=words)) as server, opened(browser, server) as page:
        page.connected()
        page.page.click("#open-settings")
        page.page.select_option("#strategy", "hybrid")
        page.page.keyboard.press("Escape")
        page.page.click("#hands-free")
        page.page.wait_for_selector(".turn .sources.early .source", timeout=MS)
        assert "found by sound" in page.page.inner_text(".turn .sources h3")
        assert page.page.locator(".turn .source.cited").count() == 0
        words.go_on.set()
        page.page.wait_for_selector(".turn .source.cited mark", timeout=MS)
        page.page.click("#hands-free")
        assert page.page.locator(".turn:first-child .sources.early").count() == 0
        page.eventually("voicerag.turns[0].stages.sources", 0.001)
        stages = page.read("voicerag.turns[0].stages")
        assert stages["early_sources"] < stages["sources"]
        assert "passages by sound" in page.page.inner_text(".turn:first-child .stages")


def test_the_space_bar_talks_and_a_short_press_is_explained(browser: Any, server: Running) -> None:
    with opened(browser, server) as page:
        page.connected()
        page.page.click("#hands-free")  # opens the microphone once
        page.page.wait_for_selector("#talk[aria-pressed=true]", timeout=MS)
        page.page.click("#hands-free")
        page.page.wait_for_selector("#talk[aria-pressed=false]", timeout=MS)
        page.page.focus("#talk")
        page.page.keyboard.down("Space")
        page.page.keyboard.up("Space")
        page.page.wait_for_selector("text=Hold the button while you speak.", timeout=MS)
        page.page.keyboard.down("Space")
        page.page.wait_for_timeout(1500)
        page.page.keyboard.up("Space")
        page.page.wait_for_selector(".answer[data-status]", timeout=MS)


@pytest.mark.parametrize("seconds", [1.5, 4])
def test_who_speaks_up_interrupts_and_only_what_was_heard_is_kept(
    browser: Any, seconds: float
) -> None:
    with running(FakeModels(model=LongVoice(seconds))) as server, opened(browser, server) as page:
        page.connected()
        page.page.click("#hands-free")
        page.page.wait_for_selector("#talk[aria-pressed=true]", timeout=MS)
        page.page.wait_for_selector(".flag", timeout=MS)
        page.page.click("#hands-free")
        page.page.evaluate("document.getElementById('stop').click()")
        for _ in range(MS // 100):
            sound = page.read("voicerag.player")
            if sound["played"] + sound["flushed"] == sound["received"] and not sound["active"]:
                break
            page.page.wait_for_timeout(100)
        assert sound["flushed"] > 0
        assert sound["played"] + sound["flushed"] == sound["received"], sound
        page.page.wait_for_selector(".unheard", timeout=MS)
        assert page.page.locator(".flag").first.inner_text() == "interrupted"


def test_a_refused_microphone_is_explained(engine: Any, clip: Path, server: Running) -> None:
    denying = launched(engine, clip, "--deny-permission-prompts")
    with denying as browser, opened(browser, server) as page:
        page.connected()
        page.page.click("#talk", delay=500)
        page.page.wait_for_selector("text=does not let this page use the microphone", timeout=MS)
        page.ask("where does the rhine rise")
        page.answered()


def test_an_insecure_page_says_what_to_do(browser: Any) -> None:
    with running(allowed_hosts=("kb.test:*",)) as server:
        page = Page(browser, server.url.replace("127.0.0.1", "kb.test"))
        page.connected()
        page.page.click("#talk", delay=500)
        said = page.page.wait_for_selector("#notice:not([hidden])", timeout=MS).inner_text()
        assert "localhost" in said
        assert "HTTPS" in said
        page.context.close()


def test_a_server_that_goes_and_comes_back(browser: Any) -> None:
    with running() as server:
        port = int(server.url.rpartition(":")[2])
        page = Page(browser, server.url.replace("127.0.0.1", "localhost"))
        page.connected().ask("where does the rhine rise")
        page.answered()
    page.page.wait_for_selector("#connection[data-state=closed]", timeout=MS)
    page.ask("who made oxygen")
    page.page.wait_for_selector("text=no connection", timeout=MS)
    with running(port=port) as _:
        page.connected()
        page.page.press("#question", "Enter")
        assert "gas without colour" in page.answered(2).inner_text()
        page.context.close()


def test_two_tabs_talk_for_themselves(browser: Any, server: Running) -> None:
    with opened(browser, server) as one, opened(browser, server) as other:
        one.connected().ask("where does the rhine rise")
        other.connected().ask("where does the rhine rise")
        one.answered()
        other.answered()
        assert one.read("voicerag.turns.length") == other.read("voicerag.turns.length") == 1


def test_no_request_leaves_the_origin_and_text_is_no_markup(browser: Any) -> None:
    tenants, database = fake_tenants()
    database.stores.clear()
    database.fill(
        **{"evil.txt": 'The rhine <img src="http://evil.test/x" onerror="hack()"> rises.'}
    )
    with running(tenants=tenants) as server, opened(browser, server) as page:
        page.connected().ask("the rhine rises <b>where</b>")
        page.answered()
        page.page.wait_for_selector(".source", timeout=MS)
        assert page.page.locator(".turn img, .turn b").count() == 0
        origins = {url.split("/")[2] for url in page.asked}
        assert origins == {server.url.replace("127.0.0.1", "localhost").split("/")[2]}


def test_a_page_from_elsewhere_opens_no_session(browser: Any, server: Running) -> None:
    with running(allowed_hosts=("kb.test:*",)) as other:
        page = Page(browser, other.url.replace("127.0.0.1", "kb.test") + "/docs", bypass_csp=True)
        state = page.page.evaluate(
            "url => new Promise(done => { const socket = new WebSocket(url, 'realtime');"
            " socket.onopen = () => done('open'); socket.onerror = () => done('refused'); })",
            f"{server.ws}/v1/realtime",
        )
        assert state == "refused"
        page.context.close()


def test_documents_are_dropped_on_the_page(browser: Any) -> None:
    drop = """text => {
        const files = new DataTransfer();
        files.items.add(new File([text], "danube.md", {type: "text/markdown"}));
        for (const kind of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(
                new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
    }"""
    with running(allow_ingest=True) as server, opened(browser, server) as page:
        page.connected()
        page.page.evaluate(drop, "# Danube\n\nThe Danube ends in the Black Sea.")
        page.page.wait_for_selector(
            "#notice[data-kind=good]:has-text('danube.md was added: 1 passage.')", timeout=MS
        )
    with running() as server, opened(browser, server) as page:
        page.connected()
        page.page.evaluate(drop, "# Danube")
        page.page.wait_for_selector(
            "#notice[data-kind=bad]:has-text('does not take documents')", timeout=MS
        )


def test_a_recording_is_uploaded_as_a_question(
    browser: Any, server: Running, tmp_path: Path, wav: bytes
) -> None:
    (tmp_path / "asked.wav").write_bytes(wav)
    (tmp_path / "notes.txt").write_text("no sound")
    with opened(browser, server) as page:
        page.connected()
        page.page.set_input_files("#clip-file", tmp_path / "asked.wav")
        assert "Swiss Alps" in page.answered().inner_text()
        assert page.page.inner_text(".asked").strip() == "where does the rhine rise"
        page.page.set_input_files("#clip-file", tmp_path / "notes.txt")
        page.page.wait_for_selector("#notice:has-text('notes.txt')", timeout=MS)


def test_a_question_without_speech_is_told_aloud(engine: Any, tmp_path: Path) -> None:
    mute = tmp_path / "mute.wav"
    write_wav(mute, Audio(np.zeros(48_000, np.float32), 48_000))
    with (
        launched(engine, mute, "--use-fake-ui-for-media-stream") as browser,
        running() as server,
        opened(browser, server) as page,
    ):
        page.connected()
        page.page.set_input_files("#clip-file", mute)
        _told_aloud(page, 1)
        page.page.dispatch_event("#talk", "pointerdown", {"pointerId": 1})
        page.page.wait_for_selector("#state:has-text('Listening')", timeout=MS)
        page.page.wait_for_timeout(1000)
        page.page.dispatch_event("#talk", "pointerup", {"pointerId": 1})
        _told_aloud(page, 2)


def _told_aloud(page: Page, turn: int) -> None:
    before = page.read("voicerag.player.received")
    assert "did not hear" in page.answered(turn).inner_text()
    assert page.page.inner_text(f".turn:nth-child({turn}) .asked").strip() == "Nothing was heard"
    assert page.eventually("voicerag.player.played", before + 1) > before


def test_an_empty_collection_says_how_to_fill_it(browser: Any) -> None:
    tenants, database = fake_tenants()
    database.stores.clear()
    with running(tenants=tenants) as server, opened(browser, server) as page:
        page.connected()
        assert "voicerag index" in page.page.inner_text("#empty")


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_fits_every_width(browser: Any, width: int) -> None:
    tenants, database = fake_tenants()
    name = "minutes-of-the-meeting-of-the-board-of-the-society-of-the-friends-of-the-rhine.txt"
    database.fill(**{name: "The Rhine rises where the Swiss Alps are highest."})
    view = {"width": width, "height": 800}
    with running(tenants=tenants) as server, opened(browser, server, viewport=view) as page:
        page.connected().ask("where does the rhine rise " + "donaudampfschifffahrt" * 6)
        page.answered()
        page.page.wait_for_selector(f".source:has-text('{name[:40]}')", timeout=MS)
        for box in ("document.documentElement", "document.getElementById('conversation')"):
            assert page.read(f"{box}.scrollWidth - {box}.clientWidth") <= 0
        page.page.click("#open-settings")
        settings = page.page.locator("#settings").bounding_box()
        assert settings is not None
        assert settings["width"] <= width


def test_everything_is_named_for_those_who_do_not_see_it(browser: Any, server: Running) -> None:
    with opened(browser, server) as page:
        page.connected().ask("where does the rhine rise")
        page.answered()
        nameless = page.read(
            "[...document.querySelectorAll('button, input, select, textarea, audio')]"
            ".filter(one => !one.hidden && one.type !== 'file')"
            ".filter(one => !(one.textContent.trim() || one.title || one.labels?.length"
            " || one.getAttribute('aria-label'))).map(one => one.id || one.outerHTML)"
        )
        assert nameless == []
        assert page.page.get_attribute("#state", "aria-live") == "polite"
