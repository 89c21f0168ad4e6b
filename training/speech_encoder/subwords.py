"""Learn the subwords that the encoder emits: byte-pair merges over the training targets.

    python -m training.speech_encoder.subwords texts.txt pieces.json --size 1500

The second file is written in the form of the package `tokenizers`, with a leading "▁" at word
starts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from training.speech_encoder.texts import target_of


def train(targets: list[str], size: int) -> Tokenizer:
    """Learn `size` tokens from lower-case targets."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    letters = [*"abcdefghijklmnopqrstuvwxyz'", "▁"]
    pieces.train_from_iterator(
        targets, trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False)
    )
    return pieces


def listed(pieces: Tokenizer) -> list[str]:
    """Return the tokens in the order of their ids."""
    return [piece for piece, _ in sorted(pieces.get_vocab().items(), key=lambda item: item[1])]


def main() -> None:
    """Learn the tokens and print the mean number per word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=1500)
    arguments = parser.parse_args()
    targets = [target_of(line) for line in arguments.texts.read_text().splitlines()]
    pieces = train(targets, arguments.size)
    pieces.save(str(arguments.out))
    sample = targets[:2000]
    words = sum(len(text.split()) for text in sample)
    count = sum(len(pieces.encode(text).ids) for text in sample)
    print(f"{pieces.get_vocab_size()} pieces, {count / words:.2f} a word")


if __name__ == "__main__":
    main()
