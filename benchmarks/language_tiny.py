"""How good the small base model is that Modelyard builds itself, on services whose documentation it has not read.

Bits a byte: what the model needs for each byte of their text, in rows of 128 tokens; xz, a plain compressor, beside it.
The time is that of the whole build: reading, learning the tokens, training.
"""

import lzma
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from rounds import Bar, Report, main
from transformers import AutoModelForCausalLM

from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.tiny import SECONDS, bits_per_byte, build

UNSEEN = ("athena", "codepipeline", "glacier", "kms", "lambda", "personalize", "sqs", "workmail")


def run(quick: bool) -> Report:
    """Builds once, on all cores."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    report = Report("The small base model, on services that it never saw")
    passages = [passage for service in read_services(UNSEEN) for passage in service.passages]
    with tempfile.TemporaryDirectory() as folder:
        built = partial(measured, Path(folder, "tiny"), passages, 20.0 if quick else SECONDS)
        report.measure({"modelyard": built, "xz": partial(compressed, passages)}, 1)
    ours = report.medians["modelyard"]
    report.bars += [
        Bar("bits a byte", ours["bits a byte"], high=1.5),
        Bar("seconds", ours["seconds"], high=300.0),
    ]
    return report


def measured(folder: Path, passages: list[str], seconds: float) -> dict[str, float]:
    steps = []
    began = time.monotonic()
    build(folder, services_out=UNSEEN, seconds=seconds, report=lambda step, loss, share: steps.append(step))
    took = time.monotonic() - began
    bits = bits_per_byte(AutoModelForCausalLM.from_pretrained(folder), load_tokenizer(folder), passages)
    return {"bits a byte": bits, "seconds": took, "steps": float(len(steps))}


def compressed(passages: list[str]) -> dict[str, float]:
    text = "\n".join(passages).encode()
    began = time.monotonic()
    small = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    return {"bits a byte": 8 * len(small) / len(text), "seconds": time.monotonic() - began, "steps": 0.0}


if __name__ == "__main__":
    main(run, __doc__)
