"""The table of distances that the speech encoder keeps."""

from __future__ import annotations

import pytest
import torch

from voicerag_core.sonar.layers import interleaved_distances
from voicerag_core.sonar.speech_encoder import SonarSpeechEncoder, SpeechSizes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_table_cut_from_a_larger_one_is_the_table(dtype: torch.dtype) -> None:
    encoder = SonarSpeechEncoder(SpeechSizes(160, 64, 1, 1, 64, 3, 8, 1, 64))
    like = torch.zeros(1, dtype=dtype)
    encoder._distance_table(7, torch.zeros(1))  # of another dtype, to be made anew
    for count in (1, 5, 300, 2, 256, 257, 1):
        found = encoder._distance_table(count, like)
        assert found.dtype == dtype
        assert torch.equal(found, interleaved_distances(count, 64).to(dtype))
    largest = encoder._distances
    encoder._distance_table(400, like)
    assert encoder._distances is largest
