"""The Journal contract over the run directory and a real store speaking MongoDB's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from edgewise.control.ports import Journal
from tests.contract.journal_spec import JournalSpec
from tools.journal import RunJournal
from tools.store import DocumentStore, StoreChild


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    child = StoreChild(tmp_path_factory.mktemp("store"))
    child.start()
    try:
        child.wait_ready()
        yield child.url
    finally:
        child.stop()


class TestStoredJournal(JournalSpec):
    @pytest.fixture
    async def journal(self, tmp_path: Path, store_url: str) -> AsyncIterator[Journal]:
        store = DocumentStore(store_url, tmp_path.name.replace(".", "-")[-40:], tmp_path)
        store.start()
        journal = RunJournal(tmp_path, store)
        yield journal
        await journal.aclose()
