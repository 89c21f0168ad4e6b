"""Documents are indexed on a cluster of two nodes, of which one dies."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from tests.conftest import new_database
from tests.tcp import reached_by_tcp
from tests.waiting import wait_until
from voicerag_core import ConfigError, load_settings, open_voicerag
from voicerag_core.ingest import FileReport, index_files
from voicerag_core.settings import Settings
from voicerag_core.store import migrate

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
FILES = 200
LINES = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each, on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    path = [str(ROOT / "src"), str(ROOT / "mcp_server"), str(ROOT)]
    patch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]))
    patch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine all takes its time
    patch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "300")
    patch.setenv("RAY_gcs_server_request_timeout_seconds", "300")
    patch.setenv("RAY_health_check_initial_delay_ms", "60000")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()
    patch.undo()


@pytest.fixture
def settings(server: str, tmp_path: Path) -> Iterator[Settings]:
    with reached_by_tcp(new_database(server)) as dsn:
        migrate(dsn)
        yield load_settings(
            database_url=dsn, data_dir=tmp_path / "data", speak=False, sentence_vectors=False
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of a few passages each."""
    made = tmp_path / "documents"
    made.mkdir()
    for number in range(FILES):
        text = "\n\n".join(
            f"# Part {line}\n\nMachine {number} stands in hall {line}, built in {1900 + line}."
            for line in range(LINES)
        )
        (made / f"{number:03}.md").write_text(text)
    return made


def indexed(settings: Settings, folder: Path, cluster: Any, workers: int = 2) -> FileReport:
    from voicerag_integrations.ray import ray_engine

    with (
        ray_engine(settings, address=cluster.address, workers=workers) as engine,
        open_voicerag(settings) as rag,
    ):
        return index_files(rag, [folder], engine=engine, chunk_size=80)


def content(settings: Settings) -> tuple[int, int, int, int]:
    """Passages, how many of them differ, vectors, and documents."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        found = connection.execute(
            "SELECT count(*), count(DISTINCT body), (SELECT count(*) FROM voicerag.vectors), "
            "(SELECT count(*) FROM voicerag.documents) FROM voicerag.passages"
        ).fetchone()
    assert found is not None
    return found


def test_a_node_that_dies_loses_and_doubles_nothing(
    settings: Settings, folder: Path, cluster: Any
) -> None:
    doomed = cluster.add_node(num_cpus=1)
    done: list[FileReport] = []
    run = threading.Thread(
        target=lambda: done.append(indexed(settings, folder, cluster, workers=3))
    )
    run.start()
    wait_until(lambda: content(settings)[3] >= FILES // 4)
    cluster.remove_node(doomed, allow_graceful=False)
    run.join(300)
    assert done, "the run did not finish"
    (report,) = done
    assert (report.new, report.failures) == (FILES, ())
    passages, distinct, vectors, documents = content(settings)
    assert (distinct, vectors, documents) == (passages, passages, FILES)
    again = indexed(settings, folder, cluster)
    assert (again.unchanged, again.passages, again.vectors) == (FILES, 0, 0)


def test_it_comes_to_the_same_as_the_plain_command(
    settings: Settings, folder: Path, cluster: Any, server: str, tmp_path: Path
) -> None:
    for path in sorted(folder.glob("*.md"))[20:]:
        path.unlink()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and no more")
    report = indexed(settings, folder, cluster)
    with reached_by_tcp(new_database(server)) as dsn:
        migrate(dsn)
        alone = settings.model_copy(update={"database_url": SecretStr(dsn)})
        with open_voicerag(alone) as rag:
            plain = index_files(rag, [folder], chunk_size=80)
        assert content(alone) == content(settings)
    assert len(report.failures) == len(plain.failures) == 1
    assert "broken.pdf" in str(report.failures[0])
    assert (report.new, report.passages, report.vectors) == (20, plain.passages, plain.vectors)
    (folder / "000.md").unlink()
    (folder / "001.md").write_text("The machine was scrapped.")
    changed = indexed(settings, folder, cluster)
    assert (changed.removed, changed.changed, changed.unchanged) == (1, 1, 18)
    assert content(settings)[3] == 19


def test_a_fault_of_a_worker_is_told_in_its_own_words(
    settings: Settings, folder: Path, cluster: Any
) -> None:
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("REVOKE INSERT ON voicerag.vectors FROM voicerag_writer")
    from voicerag_core.errors import StoreError

    with pytest.raises(StoreError, match="may not do this"):
        indexed(settings, folder, cluster)


def test_there_is_no_cluster(settings: Settings) -> None:
    from voicerag_integrations.ray import ray_engine

    with (
        pytest.raises(ConfigError, match=r"no Ray cluster at '127\.0\.0\.1:1'"),
        ray_engine(settings, address="127.0.0.1:1"),
    ):
        pass
