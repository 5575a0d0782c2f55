"""Makes PNG files with every kind of transparency, and says what Pillow and Transformers make of them.

Run once in each line of Transformers, `python transparency.py`: the answers of a line are added to `transparency.json`. A file is read
as `examples/autoquant/calibration.py` reads it, `Image.open(path).convert("RGB")`, and then given to the image processor of Qwen2-VL.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import transformers
from PIL import Image
from transformers import Qwen2VLImageProcessor

HERE = Path(__file__).parent
FOLDER = HERE / "transparency"
SIDE = 56
COLOURS = [10, 20, 30, 200, 100, 50, 0, 255, 0, 10, 20, 31]


def pictures() -> None:
    """The files, all from one seed."""
    FOLDER.mkdir(exist_ok=True)
    noise = np.random.default_rng(3)
    entries = noise.integers(0, 4, (SIDE, SIDE)).astype(np.uint8)
    alpha = noise.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    palette = Image.fromarray(entries, "P")
    palette.putpalette(COLOURS)
    colour, grey = palette.convert("RGB"), Image.fromarray(entries * 60 + 5, "L")
    palette.save(FOLDER / "palette_one.png", transparency=1)
    palette.save(FOLDER / "palette_several.png", transparency=bytes([255, 0, 128, 255]))
    palette.save(FOLDER / "palette_two.png", transparency=bytes([0, 255, 0]))
    palette.save(FOLDER / "palette_opaque.png", transparency=bytes([255, 255]))
    colour.save(FOLDER / "colour.png", transparency=(200, 100, 50))
    grey.save(FOLDER / "grey.png", transparency=65)
    Image.fromarray(np.dstack([np.array(colour), alpha])).save(FOLDER / "colour_alpha.png")
    Image.fromarray(np.dstack([entries * 60, alpha])).save(FOLDER / "grey_alpha.png")


def levels(processor: Qwen2VLImageProcessor, image: Image.Image) -> np.ndarray:
    """The 8-bit levels that the patches are made of."""
    values = np.asarray(processor(images=[image], return_tensors="pt")["pixel_values"], dtype=np.float64)
    mean, deviation = (np.array(value)[None, :, None] for value in (processor.image_mean, processor.image_std))
    return ((values.reshape(len(values), 3, -1) * deviation + mean) * 255).round().astype(int)


def main() -> None:
    pictures()
    answers = HERE / "transparency.json"
    found = json.loads(answers.read_text()) if answers.exists() else {"pixels": {}, "transformers": {}}
    processor = Qwen2VLImageProcessor(min_pixels=SIDE * SIDE, max_pixels=SIDE * SIDE)
    made: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.png")):
        image = Image.open(path)
        below = np.array(image.convert("RGBA"))[..., :3]
        pixels = np.array(image.convert("RGB"))
        given, dropped = levels(processor, image.convert("RGB")), levels(processor, Image.fromarray(below))
        differs = (given != dropped).any(1)
        is_white = (given.transpose(0, 2, 1)[differs] == 255).all()
        made[path.name] = "keeps the colour" if not differs.any() else "makes it white" if is_white else "blends it"
        found["pixels"][path.name] = pixels[:2].reshape(-1).tolist()
    found["transformers"][transformers.__version__] = made
    answers.write_text(json.dumps(found, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
