#!/usr/bin/env python3
"""Loads a scheme directory with Transformers and lets it answer: does the model still make sense?

    sanity_check.py quantized/fp8_autoquant_all_layers_top50_coco2017 --image cat.png
    sanity_check.py quantized/fp8_autoquant_top50_coco2017 --prompt "Write a caption."

Needs torch, transformers and compressed-tensors, and for pictures torchvision and pillow. Exit code 1 when weights are missing
or left over, when logits are not finite, or when nothing is generated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="a scheme directory, or any checkpoint")
    parser.add_argument("--image", type=Path, help="a picture to ask about")
    parser.add_argument("--prompt", help="what to ask (default: a description of the picture, or a caption)")
    parser.add_argument("--tokens", type=int, default=48, help="how many tokens at most (default: 48)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def encode(options: argparse.Namespace) -> tuple[Any, dict[str, torch.Tensor]]:
    """What decodes answers, and the inputs."""
    prompt = options.prompt or ("Describe the image." if options.image else "Write a caption.")
    if options.image:
        from PIL import Image

        processor = AutoProcessor.from_pretrained(options.directory)
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
        with Image.open(options.image) as image:
            inputs = processor(text=[text], images=[image.convert("RGB")], return_tensors="pt")
        return processor, dict(inputs)
    tokenizer = AutoTokenizer.from_pretrained(options.directory)
    if tokenizer.chat_template:
        message = [{"role": "user", "content": prompt}]
        prompt = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    return tokenizer, dict(tokenizer(prompt, return_tensors="pt"))


def main() -> None:
    options = arguments()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    vision = hasattr(AutoConfig.from_pretrained(options.directory), "vision_config")
    auto = AutoModelForImageTextToText if vision else AutoModelForCausalLM
    model, report = auto.from_pretrained(options.directory, dtype="auto", output_loading_info=True)
    for kind, names in report.items():
        if names:
            raise SystemExit(f"loading reports {kind}, such as {sorted(map(str, names))[0]} ({len(names)} in all)")
    decoder, inputs = encode(options)
    inputs = {name: tensor.to(options.device) for name, tensor in inputs.items()}
    model = model.to(options.device).eval()
    with torch.no_grad():
        logits = model(**inputs).logits
        if not torch.isfinite(logits).all():
            raise SystemExit("the logits are not finite")
        tokens = model.generate(**inputs, max_new_tokens=options.tokens, do_sample=False)
    answer = decoder.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    if not answer:
        raise SystemExit("the model generates nothing")
    print(answer)


if __name__ == "__main__":
    main()
