"""Backups of all tenants in one file, their restore, and the comparison of both row by row."""

from voicerag_core.store.backup.archive import Part
from voicerag_core.store.backup.restoring import RestoreReport, restore
from voicerag_core.store.backup.saving import BackupReport, backup
from voicerag_core.store.backup.verifying import Difference, VerifyReport, verify

__all__ = [
    "BackupReport",
    "Difference",
    "Part",
    "RestoreReport",
    "VerifyReport",
    "backup",
    "restore",
    "verify",
]
