"""GLM-4-Voice as the settings want it: in this process, or in one for each device."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from voicerag_core.errors import CheckpointError
from voicerag_core.settings import Settings

if TYPE_CHECKING:
    from voicerag_core.glm.replicas import ReplicatedGLMVoice
    from voicerag_core.glm.voice import GLMVoice
    from voicerag_core.remote.endpoint import Endpoint

__all__ = ["glm_folder", "load_glm_voice", "open_glm_voice"]

IN_PROCESS = ("auto", "cpu", "cuda", "cuda:0")
"""Devices that are the current one of every thread anyway."""


def open_glm_voice(
    settings: Settings, served: Endpoint | None, stack: ExitStack
) -> GLMVoice | ReplicatedGLMVoice:
    """Load GLM-4-Voice according to the settings.

    Args:
        settings: How it runs.
        served: Where its language model is, if a server runs it.
        stack: Closes what is opened.

    Raises:
        CheckpointError: There are no weights, or a tree is missing or damaged.
        ModelError: A device has too little memory.
    """
    devices = settings.glm_device.split(",")
    if len(devices) == 1 and devices[0] in IN_PROCESS:
        return load_glm_voice(settings, served, devices[0], stack)
    from voicerag_core.glm.replicas import ReplicatedGLMVoice

    loaders = [partial(load_glm_voice, settings, served, device) for device in devices]
    hangs_after = settings.glm_replica_timeout
    if served is not None:  # whose answers it may wait for
        hangs_after += settings.glm_server_timeout
    return stack.enter_context(ReplicatedGLMVoice(loaders, devices, hangs_after=hangs_after))


def load_glm_voice(
    settings: Settings, served: Endpoint | None, device: str, stack: ExitStack
) -> GLMVoice:
    """Load GLM-4-Voice on one device, in this process.

    Args:
        settings: How it runs.
        served: Where its language model is, if a server runs it.
        device: Where its networks run.
        stack: Closes what is opened.
    """
    from voicerag_core.glm import GLMVoice
    from voicerag_core.glm.lm.server.server_lm import connected_lm

    folder = glm_folder(settings)
    lm = None
    if served is not None:
        lm = stack.enter_context(
            connected_lm(
                served,
                folder,
                max_context=settings.glm_max_context,
                english_only=settings.glm_english_only,
            )
        )
    return GLMVoice.load(
        folder,
        lm=lm,
        device=device,
        dtype=settings.glm_dtype,
        quantization=settings.glm_quantization,
        speak=settings.speak,
        english_only=settings.glm_english_only,
        max_context=settings.glm_max_context,
        rows=settings.glm_rows,
    )


def glm_folder(settings: Settings) -> Path:
    """Return the folder of GLM-4-Voice's weights.

    Raises:
        CheckpointError: It is not there.
    """
    folder = settings.glm_dir or settings.data_dir / "weights" / "glm"
    if not os.path.isdir(folder):
        raise CheckpointError(
            f"there are no weights of GLM-4-Voice in {folder}; fetch them with: voicerag download "
            "glm, or name their folder in VOICERAG_GLM_DIR"
        )
    return folder
