"""Batches to calibrate and to score with: captions, pictures with captions, or prepared tensors."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer

Batch = dict[str, torch.Tensor]
QUESTION = "Describe the image."
IGNORED_LABEL = -100


@dataclass
class Calibration:
    """Batches, and what a manifest says of where they came from."""

    batches: list[Batch]
    shows_pictures: bool
    dataset: dict[str, Any] = field(default_factory=dict)


def captions(model: Path, file: Path, max_length: int, samples: int, batch_size: int) -> Calibration:
    """The first `samples` lines of a text file, cut to `max_length` tokens."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()][:samples]
    if not lines:
        raise SystemExit(f"{file} holds no captions")
    tokenizer = AutoTokenizer.from_pretrained(model)
    batches = []
    for start in range(0, len(lines), batch_size):
        encoded = tokenizer(
            lines[start : start + batch_size], padding=batch_size > 1, truncation=True, max_length=max_length,
            return_tensors="pt",
        )
        labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, IGNORED_LABEL)
        batches.append({**encoded, "labels": labels})
    dataset = {"kind": "captions", "file": file.name, "num_samples": len(lines), "max_length": max_length}
    return Calibration(batches, False, dataset)


def pairs(model: Path, database: Path, images: Path, split: str | None, max_length: int, samples: int) -> Calibration:
    """The first `samples` rows of the SQLite table `vlm_calib_samples`: a picture as the user's message, its caption as the
    answer. A pair longer than `max_length` stops the run: cut, it would lose the picture's tokens."""
    query = "SELECT image_relpath, caption FROM vlm_calib_samples WHERE ?1 IS NULL OR split = ?1 ORDER BY id LIMIT ?2"
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query, (split, samples)).fetchall()
    if not rows:
        raise SystemExit(f"{database} holds no pairs" + (f" of the split {split}" if split else ""))
    processor = AutoProcessor.from_pretrained(model)
    batches = []
    for path, caption in rows:
        question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
        answer = {"role": "assistant", "content": [{"type": "text", "text": caption}]}
        # What follows the end of the answer is no part of it, and would be scored.
        text = processor.apply_chat_template([question, answer], tokenize=False).rstrip("\n")
        with Image.open(images / path) as image:
            encoded = dict(processor(text=[text], images=[image.convert("RGB")], return_tensors="pt"))
        length = encoded["input_ids"].shape[1]
        if length > max_length:
            raise SystemExit(f"{path} with its caption takes {length} tokens; give a larger --max-length")
        batches.append({**encoded, "labels": encoded["input_ids"]})
    dataset = {"kind": "pairs", "file": database.name, "split": split, "num_samples": len(rows), "max_length": max_length}
    return Calibration(batches, True, dataset)


def prepared(file: Path, pictures: bool, samples: int) -> Calibration:
    """Tensors named `vlm.N.<input>` (with pictures) or `text.N.<input>`; the labels are the input tokens."""
    kind = "vlm" if pictures else "text"
    numbered: dict[int, Batch] = {}
    for name, tensor in load_file(file).items():
        if found := re.fullmatch(rf"{kind}\.(\d+)\.(\w+)", name):
            numbered.setdefault(int(found[1]), {})[found[2]] = tensor
    batches = [numbered[number] for number in sorted(numbered)][:samples]
    if not batches:
        raise SystemExit(f"{file} holds no `{kind}.N.*` tensors")
    batches = [{**batch, "labels": batch.get("labels", batch["input_ids"])} for batch in batches]
    return Calibration(batches, pictures, {"kind": "prepared", "file": file.name, "num_samples": len(batches)})
