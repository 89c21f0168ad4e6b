"""One of several replicas: its process, and the next one after that was lost."""

from __future__ import annotations

import logging
import threading

from voicerag_core.closing import Closing
from voicerag_core.errors import VoiceRAGError
from voicerag_core.glm.replicas.process import Loader, LostError, VoiceProcess

__all__ = ["Replica"]

_logger = logging.getLogger(__name__)

PAUSES = (1.0, 10.0, 60.0, 300.0)
"""Seconds before a lost process is started again: the first time since a call was answered, the
second, and so on."""


class Replica(Closing):
    """A voice on a device, in a process that is started again when it is lost. Thread-safe.

    Args:
        name: The device.
        loader: Loads the voice in the process.
        hangs_after: See `VoiceProcess`.
    """

    def __init__(self, name: str, loader: Loader, *, hangs_after: float) -> None:
        self.name, self._loader, self._hangs_after = name, loader, hangs_after
        self.active = 0
        """Calls that it runs now; kept by whoever chooses among replicas."""
        self.broken: str | None = "it is being loaded"
        """Why it is out of service."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._warmed = False
        self._losses = 0
        self.process = self._started()

    def _started(self) -> VoiceProcess:
        return VoiceProcess(self.name, self._loader, self._lost, hangs_after=self._hangs_after)

    def wait(self) -> None:
        """Wait until the voice is loaded for the first time; see `VoiceProcess.wait`."""
        self.process.wait()
        self._in_service()

    def warm(self) -> None:
        """Prepare what the first replies would wait for, also in later processes."""
        self._warmed = True
        self.process.warm()

    def answered(self) -> None:
        """Note that the process works."""
        self._losses = 0

    def close(self) -> None:
        """End the process."""
        self._closing.set()
        with self._lock:
            process = self.process
        process.close()

    def _lost(self, reason: str) -> None:
        """Take the replica out of service, and start it again in a thread of its own."""
        with self._lock:
            if self.broken is not None or self._closing.is_set():
                return
            self.broken = reason
        _logger.error("%s is out of service: %s; it is started again", self.name, reason)
        threading.Thread(
            target=self._start_again, args=(reason,), name="voicerag-replica-start", daemon=True
        ).start()

    def _start_again(self, reason: str) -> None:
        while not self._closing.wait(PAUSES[min(self._losses, len(PAUSES) - 1)]):
            self._losses += 1
            self.process.close()  # until it has gone, with the memory of the device
            try:
                with self._lock:
                    if self._closing.is_set():
                        return
                    process = self.process = self._started()
                process.wait()
                if self._warmed:
                    process.warm()
            except (LostError, VoiceRAGError, OSError) as error:
                if not self._closing.is_set():
                    self.broken = f"{reason}; starting it again failed: {error}"
                    _logger.error("%s: %s", self.name, self.broken)
                continue
            _logger.warning("%s is in service again", self.name)
            self._in_service()
            return

    def _in_service(self) -> None:
        self.broken = None
        reason = self.process.lost
        if reason is not None:  # it was lost before anybody was to be told
            self._lost(reason)
