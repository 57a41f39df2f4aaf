"""Train the bundled model from nothing but generated text, and write it in every format.

Run from the repository's root, with torch, tokenizers, safetensors and gguf installed::

    python -m scripts.train_tiny_model aprqa_ci/data/models/aprqa-tiny

One thread is used, which makes a run repeatable on one kind of processor; other processors round
differently, and give a model of other bytes and the same quality.
"""

import argparse
import time
from pathlib import Path

import torch

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from scripts.tiny_model.checksums import write_checksums
from scripts.tiny_model.export import write_model
from scripts.tiny_model.llama import Shape
from scripts.tiny_model.tokenizer import Encoder, train_tokenizer
from scripts.tiny_model.training import Recipe, train

NAME = "aprqa-tiny"
QUANTIZATIONS = ("f16", "q8_0", "q4_0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="where the model is written")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="steps of training")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="of weights and samples")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    tokenizer = train_tokenizer(recipe.vocabulary)
    shape = Shape(vocabulary=tokenizer.get_vocab_size())
    started = time.process_time()
    weights = train(recipe, shape, Encoder(tokenizer), print)
    parameters = sum(value.numel() for value in weights.values())
    print(f"{parameters:,} parameters, {(time.process_time() - started) / 60:.1f} CPU minutes")

    write_model(arguments.directory, shape, weights, tokenizer)
    for quantization in QUANTIZATIONS:
        target = arguments.directory / f"{NAME}-{quantization}.gguf"
        convert_safetensors_to_gguf(arguments.directory, target, quantization)
    write_checksums(arguments.directory)


if __name__ == "__main__":
    main()
