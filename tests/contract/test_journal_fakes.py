"""Journals without a store keep the contract: the in-memory one, and the run directory's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.journal_spec import JournalSpec
from tests.support.fakes import FakeJournal
from tools.journal import RunJournal


class TestFakeJournal(JournalSpec):
    @pytest.fixture
    def journal(self) -> FakeJournal:
        return FakeJournal()


class TestRunJournalWithoutStore(JournalSpec):
    @pytest_asyncio.fixture
    async def journal(self, tmp_path: Path) -> AsyncIterator[RunJournal]:
        journal = RunJournal(tmp_path)
        yield journal
        await journal.aclose()
