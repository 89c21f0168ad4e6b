"""Backups of all tenants in one file, their restore, and the comparison of both row by row."""

from voicerag_core.store.backups.archive import Part
from voicerag_core.store.backups.restoring import RestoreReport, restore
from voicerag_core.store.backups.saving import BackupReport, backup
from voicerag_core.store.backups.verifying import Difference, VerifyReport, verify

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
