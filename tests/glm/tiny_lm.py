"""A tiny ChatGLM whose weights follow from a seed, so that the reference can be given the same.

How golden/lm.npz and golden/text_ids.npz were made is told in golden/README.md.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN = 3, 64, 4, 2, 16, 112
RANKS = 300
SPECIALS = [
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>",
    "<|assistant|>", "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>",
    "<|begin_of_video|>", "<|end_of_video|>", "<|begin_of_audio|>", "<|end_of_audio|>",
]  # fmt: skip
AUDIO_START, AUDIO_SIZE, VOCAB = 330, 128, 480
"""Ids 316..329 and 458..479 mean nothing, as in the released model."""

CONFIG = {
    "num_layers": LAYERS, "padded_vocab_size": VOCAB, "vocab_size": VOCAB, "hidden_size": HIDDEN,
    "ffn_hidden_size": FFN, "kv_channels": HEAD_DIM, "num_attention_heads": HEADS,
    "seq_length": 512, "layernorm_epsilon": 3.90625e-08, "rmsnorm": True, "add_bias_linear": False,
    "add_qkv_bias": True, "multi_query_attention": True, "multi_query_group_num": KV_HEADS,
    "rope_ratio": 1, "original_rope": True, "post_layer_norm": True,
    "apply_residual_connection_post_layernorm": False, "apply_query_key_layer_scaling": True,
    "attention_softmax_in_fp32": True, "fp32_residual_connection": False, "model_type": "chatglm",
    "architectures": ["ChatGLMModel"], "eos_token_id": [300, 307, 309], "pad_token_id": 300,
    "tie_word_embeddings": False, "torch_dtype": "float32",
}  # fmt: skip


def chatglm_weights() -> dict[str, NDArray[np.float32]]:
    """Weights by the names of the upstream checkpoint, without the rotary table."""
    qkv = (HEADS + 2 * KV_HEADS) * HEAD_DIM
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.embedding.word_embeddings.weight": (VOCAB, HIDDEN),
        "transformer.encoder.final_layernorm.weight": (HIDDEN,),
        "transformer.output_layer.weight": (VOCAB, HIDDEN),
    }
    for layer in range(LAYERS):
        block = f"transformer.encoder.layers.{layer}"
        shapes |= {
            f"{block}.input_layernorm.weight": (HIDDEN,),
            f"{block}.post_attention_layernorm.weight": (HIDDEN,),
            f"{block}.self_attention.query_key_value.weight": (qkv, HIDDEN),
            f"{block}.self_attention.query_key_value.bias": (qkv,),
            f"{block}.self_attention.dense.weight": (HIDDEN, HEADS * HEAD_DIM),
            f"{block}.mlp.dense_h_to_4h.weight": (2 * FFN, HIDDEN),
            f"{block}.mlp.dense_4h_to_h.weight": (HIDDEN, FFN),
        }
    draw = np.random.RandomState(7)
    weights = {}
    for name in sorted(shapes):
        values = draw.standard_normal(shapes[name])
        if "layernorm" in name:
            values = 1 + 0.1 * values
        elif values.ndim == 2:
            values = values * (0.5 if "embedding" in name else 1 / np.sqrt(shapes[name][1]))
        else:
            values = 0.3 * values
        weights[name] = values.astype(np.float32)
    return weights


def glm_weights() -> dict[str, NDArray[np.float32]]:
    """The same weights by the names of transformers' `GlmForCausalLM`."""
    found = chatglm_weights()
    rows = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM)
    cuts = np.cumsum(rows)[:-1]
    given = {
        "model.embed_tokens.weight": found["transformer.embedding.word_embeddings.weight"],
        "model.norm.weight": found["transformer.encoder.final_layernorm.weight"],
        "lm_head.weight": found["transformer.output_layer.weight"],
    }
    for layer in range(LAYERS):
        old, new = f"transformer.encoder.layers.{layer}", f"model.layers.{layer}"
        for kind in ("weight", "bias"):
            parts = np.split(found[f"{old}.self_attention.query_key_value.{kind}"], cuts)
            for name, part in zip("qkv", parts, strict=True):
                given[f"{new}.self_attn.{name}_proj.{kind}"] = part
        given |= {
            f"{new}.self_attn.o_proj.weight": found[f"{old}.self_attention.dense.weight"],
            f"{new}.mlp.gate_up_proj.weight": found[f"{old}.mlp.dense_h_to_4h.weight"],
            f"{new}.mlp.down_proj.weight": found[f"{old}.mlp.dense_4h_to_h.weight"],
            f"{new}.input_layernorm.weight": found[f"{old}.input_layernorm.weight"],
            f"{new}.post_attention_layernorm.weight": found[
                f"{old}.post_attention_layernorm.weight"
            ],
        }
    return given


def prompt_ids() -> NDArray[np.int64]:
    """The 37 ids of the golden logits."""
    draw = np.random.RandomState(11)
    return draw.randint(0, VOCAB, 37).astype(np.int64)


def rank_lines() -> list[bytes]:
    """A rank file: the single bytes, then 44 merges that occur in text of several kinds."""
    words = [bytes([byte]) for byte in range(256)]
    texts = [
        "th", "he", "in", "an", "er", "the", "ing", "and", "on", "re", "t", "a", "th", "the", "ou",
        "ion", "'s", "\n\n", "00", "12", "123", "  ", "   ", " t", " a", " th", " the",
    ]  # fmt: skip
    pieces = [text.encode() for text in texts] + ["中".encode()[:2], "中".encode(), "é".encode()]
    pieces += [b"aa", b"aaa", b"ab", b"ba", b"aba", b"\r\n", b"io", b"ng", b"<|", b"|>", b"us"]
    pieces += [b"use", b"user", b"..", b"...", b"!\n", b"??"]
    spare = [bytes([97 + n % 26, 97 + n // 26]) for n in range(500)]
    known = list(dict.fromkeys(words + pieces + spare))[:RANKS]
    return [base64.b64encode(word) + b" %d" % rank for rank, word in enumerate(known)]


def random_texts(count: int = 3200) -> list[str]:
    """Strings of many scripts, spaces and lines, and of the names of special tokens."""
    draw = random.Random(5)
    pools = [
        "abthe in on and ", "aaab 0123456789.,!?'\n\r\t", "中文汉字的是、。", "äöüßé€😀👍🏽",
        "\u200b\u0301\u3000\xa0\u0085  \n\n\r\n", "'s 'T 'LL I'm we've WHO'D",
        "".join(map(chr, range(0x20, 0x250))),
    ]  # fmt: skip
    texts = []
    for number in range(count):
        text = "".join(draw.choice(draw.choice(pools)) for _ in range(draw.randrange(48)))
        if number % 8 == 0:
            text = draw.choice(SPECIALS) + text + f"<|audio_{draw.randrange(128)}|>"
        texts.append(text)
    return texts


def write_text_files(folder: Path) -> None:
    """Write tokenizer.model and tokenizer_config.json as upstream ships them."""
    (folder / "tokenizer.model").write_bytes(b"\n".join(rank_lines()) + b"\n")
    names = dict(enumerate(SPECIALS, RANKS))
    names |= {AUDIO_START + n: f"<|audio_{n}|>" for n in range(AUDIO_SIZE)}
    decoder = {str(token): {"content": name, "special": True} for token, name in names.items()}
    values = {"added_tokens_decoder": decoder, "tokenizer_class": "ChatGLM4Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
