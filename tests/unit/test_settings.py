"""Settings by argument and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicerag_core import ConfigError, load_settings
from voicerag_core.local.reading.reader import FIRST_PASSAGES
from voicerag_core.settings import LOCAL_STRATEGY


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICERAG_COLLECTION", "env")
    monkeypatch.setenv("VOICERAG_LIMIT", "7")
    settings = load_settings(collection="given", tenant=None)
    assert (settings.collection, settings.limit, settings.tenant) == ("given", 7, "default")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit": 0}, "limit: .*greater than or equal to 1"),
        ({"no_such_setting": 1}, "no_such_setting: .*not permitted"),
        ({"stack": "cloud"}, "stack: .*'local'"),
        ({"collection": "a\0b"}, "collection"),
        ({"max_question_seconds": -1}, "max_question_seconds"),
    ],
)
def test_wrong_values_name_the_setting(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(**values)


def test_the_embedder_chooses_the_strategy_unless_one_is_given() -> None:
    assert load_settings().question_strategy == LOCAL_STRATEGY
    assert load_settings(stack="glm").question_strategy == LOCAL_STRATEGY
    assert load_settings(embedder="sonar").question_strategy == "e2e"
    assert load_settings(embedder="sonar", strategy="hybrid").question_strategy == "hybrid"


def test_the_network_of_the_reader_sorts_where_it_is_loaded_anyway() -> None:
    assert load_settings().chosen_reranker == "local"
    assert load_settings().reranked == FIRST_PASSAGES
    assert load_settings(reranker_passages=9).reranked == 9
    assert load_settings(stack="glm").chosen_reranker == "none"
    assert load_settings(language="zh").chosen_reranker == "none"
    chat = {"chat": "http", "chat_url": "http://127.0.0.1:9/v1", "chat_model": "m"}
    assert load_settings(**chat).chosen_reranker == "none"
    assert load_settings(**chat, chat_rewords=True).chosen_reranker == "local"
    assert load_settings(reranker="http").reranked == 20
    assert load_settings(reranker="http").choice("reranker") == "http"


def test_a_bad_variable_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICERAG_LIMIT", "many")
    with pytest.raises(ConfigError, match="limit"):
        load_settings()


def test_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICERAG_DATABASE_URL", "postgresql://u:hunter2@h/db")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value().endswith("h/db")


def test_the_data_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOICERAG_DATA_DIR", str(tmp_path))
    assert load_settings().data_dir == tmp_path
