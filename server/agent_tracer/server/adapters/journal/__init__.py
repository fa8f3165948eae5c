"""The journal in files: append-only segments, group fsync, durable cursors."""

from agent_tracer.server.adapters.journal.file_journal import FileJournal
from agent_tracer.server.adapters.journal.segment import JournalFormatError
from agent_tracer.server.adapters.journal.stats import JournalState, JournalStats, ReaderStats

__all__ = ["FileJournal", "JournalFormatError", "JournalState", "JournalStats", "ReaderStats"]
