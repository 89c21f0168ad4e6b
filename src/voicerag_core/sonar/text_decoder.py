"""SONAR's text decoder in plain torch: from a vector to text.

Source: arXiv 2308.11466, section 4; facebookresearch/SONAR v0.5.0, sonar/models/sonar_text and
sonar/nn/conditional_decoder_model.py; beam search as in fairseq2 0.8.1, generation/beam_search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from voicerag_core.sonar.layers import FeedForward, MultiHeadAttention, Stack, TokenTable, sinusoid
from voicerag_core.sonar.text_encoder import FIRST_POSITION, TextSizes
from voicerag_core.sonar.tokenizer import END, PADDING

__all__ = ["MAX_DECODED", "TextDecoder", "beam_search"]

MAX_DECODED = 512
"""Most tokens of a text, including the two of the prompt. Source: SONAR v0.5.0, max_seq_len."""

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [beams, heads, tokens so far, head width]."""


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer that attends to its past and to one vector."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_decoder_attn = MultiHeadAttention(width, heads)
        self.encoder_decoder_attn_layer_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, inner, functional.relu)
        self.ffn_layer_norm = nn.LayerNorm(width)

    def seen(self, vector: Tensor) -> Tensor:
        """Return the result of attention to a single vector [1, D]: its value."""
        attention = self.encoder_decoder_attn
        found: Tensor = attention.output_proj(attention.v_proj(vector))
        return found

    def step(
        self, x: Tensor, seen: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map the newest position [B, 1, D]; return it with keys and values up to it."""
        attention = self.self_attn
        normed = self.self_attn_layer_norm(x)
        q, k, v = (
            attention.split(projection(normed))
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        x = x + attention.join(functional.scaled_dot_product_attention(q, k, v))
        x = x + seen
        return x + self.ffn(self.ffn_layer_norm(x)), (k, v)


class DecoderStack(Stack):
    """Layers followed by a normalisation."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__(
            DecoderLayer(sizes.width, sizes.heads, sizes.inner) for _ in range(sizes.layers)
        )
        self.layer_norm = nn.LayerNorm(sizes.width)


class TextDecoder(nn.Module):
    """Predicts the next token; its token table is also its output projection."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.decoder_frontend = TokenTable(sizes.vocabulary, sizes.width)
        self.decoder = DecoderStack(sizes)

    def seen(self, vector: Tensor) -> list[Tensor]:
        """Return what each layer sees of a vector [1, D]."""
        return [layer.seen(vector) for layer in self.decoder.layers]  # type: ignore[operator]

    def step(
        self, tokens: Tensor, place: int, seen: list[Tensor], past: Cache | None
    ) -> tuple[Tensor, Cache]:
        """Return the log probabilities [B, V] of what follows the newest tokens [B].

        Args:
            tokens: One per beam.
            place: Number of tokens before each.
            seen: From `seen`.
            past: Keys and values of the tokens before; None for the first.
        """
        table = self.decoder_frontend.embed.weight
        position = sinusoid(FIRST_POSITION + place, 1, self.sizes.width).to(table)
        x = functional.embedding(tokens[:, None], table) * math.sqrt(self.sizes.width) + position
        cache: Cache = []
        for number, layer in enumerate(self.decoder.layers):
            before = None if past is None else past[number]
            x, kept = layer.step(x, seen[number], before)  # type: ignore[operator]
            cache.append(kept)
        logits = functional.linear(self.decoder.layer_norm(x)[:, 0], table)
        return logits.float().log_softmax(dim=-1), cache


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished text: its tokens without the prompt, and its mean log probability."""

    tokens: list[int]
    score: float


def beam_search(
    decoder: TextDecoder, vector: Tensor, language: int, *, beams: int = 5, limit: int = MAX_DECODED
) -> Hypothesis:
    """Return the most likely text of a vector.

    Args:
        decoder: The model.
        vector: [1, D], raw: not scaled to length 1.
        language: Token of the language to write in.
        beams: Width of the beam search.
        limit: Most tokens, including the two of the prompt; at most `MAX_DECODED`.
    """
    seen = decoder.seen(vector)
    prompt = torch.tensor([[END, language]], device=vector.device)
    first, past = decoder.step(prompt[:, 0], 0, seen, None)
    scores = first[:, language]
    texts = prompt
    finished: list[Hypothesis] = []
    for place in range(prompt.shape[1], limit):
        logs, past = decoder.step(texts[:, -1], place - 1, seen, past)
        if place == limit - 1:
            ending = logs[:, END].clone()
            logs.fill_(-torch.inf)[:, END] = ending
        logs[:, PADDING] = -torch.inf
        vocabulary = logs.shape[1]
        # of twice as many candidates at least `beams` continue: each beam can end only once
        best, flat = (logs + scores[:, None]).flatten().topk(min(2 * beams, vocabulary))
        owners, tokens = flat // vocabulary, flat % vocabulary
        for rank in (tokens[:beams] == END).nonzero().flatten().tolist():
            written = texts[owners[rank], prompt.shape[1] :].tolist()
            finished.append(Hypothesis([*written, END], float(best[rank]) / place))
            if len(finished) == beams:
                return max(finished, key=lambda one: one.score)
        on = (tokens != END).nonzero().flatten()[:beams]
        owners, scores = owners[on], best[on]
        texts = torch.cat((texts[owners], tokens[on, None]), dim=1)
        past = [(k[owners], v[owners]) for k, v in past]
    return max(finished, key=lambda one: one.score)
