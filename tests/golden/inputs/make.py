"""Makes the small checkpoints (without weights), pictures and texts of this folder, and what Transformers makes of them.

Run with Transformers 5.24, torchvision and Pillow: `python make.py`. The answers of captions and pairs come from
`examples/autoquant/calibration.py` itself. Everything is made from a seed; the pictures are of noise and slopes.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoProcessor, AutoTokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "examples"))
from autoquant import calibration  # noqa: E402

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
]
CAPTIONS = (
    "A man about to return a serve with his tennis racket\n"
    "\n"
    "  Two gray fire hydrants, sitting next to each other at a park.  \r\n"
    "Caf\u00e9 \u2014 na\u00efve \U0001f9d1\u200d\U0001f680 \u65e5\u672c\u8a9e e\u0301\n"
    "one\u2028two\x0bthree\u00a0\x1f\n"
    "It's 1234 o'clock;\tdon't  be   late!! <|im_end|> </s> end\n"
    + "A very long caption that goes on and on, " * 20 + "\n"
)
QWEN_TEMPLATE = """{%- set n = namespace(pictures=0) -%}
{%- if tools %}
    {{- '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}
{%- endif %}
{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
<|im_start|>system
You are a helpful assistant.<|im_end|>
    {% endif %}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}{% set n.pictures = n.pictures + 1 %}{% if add_vision_id %}Picture {{ n.pictures }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LLAMA_TEMPLATE = """{{ bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "[SYS]" + "Today Date: " + date_string + "\\n\\n" + system_message.strip().replace("  ", " ") + "[/SYS]" }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant!') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' ~ message.content.split('|')[-1].lstrip('\\n') ~ ' [/INST]' }}
    {%- else %}
        {%- generation %}
        {{- ' ' + message['content'] | trim + ' ' + eos_token }}
        {%- endgeneration %}
    {%- endif %}
{%- endfor %}"""
PROMPTS = ["Write a caption.", "  first | last\nline  ", "caf\u00e9 <b> & \"q\" \U0001f680"]


def save(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def qwen() -> Path:
    """A byte-level tokenizer, a vision tower with patches of 14, CLIP's mean, and a template in a file of its own."""
    folder = HERE / "qwen"
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(__import__("tokenizers").Regex(QWEN_SPLIT), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([CAPTIONS, QWEN_TEMPLATE], trainer)
    tokenizer.add_special_tokens(QWEN_SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokenizer.token_to_id(name) for name in QWEN_SPECIAL}
    save(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    })
    save(folder / "config.json", {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
        "vocab_size": tokenizer.get_vocab_size(),
        "vision_config": {"patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2, "in_chans": 3},
    })
    save(folder / "preprocessor_config.json", {
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "min_pixels": 3136, "max_pixels": 9408,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
    (folder / "chat_template.jinja").write_text(QWEN_TEMPLATE, encoding="utf-8")
    return folder


def llama() -> Path:
    """A tokenizer of pieces with bytes to fall back on and a BOS, whose template stands in its configuration."""
    folder = HERE / "llama"
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    trainer = trainers.BpeTrainer(
        vocab_size=420, show_progress=False, special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))],
        limit_alphabet=60,
    )
    ascii_only = "".join(c for c in CAPTIONS.replace("\n", " ") if 32 <= ord(c) < 127).replace("</s>", "")
    tokenizer.train_from_iterator(ascii_only.split(), trainer)
    parts = json.loads(tokenizer.to_str())
    # Bytes are pieces that may be found by merging, not names of special tokens.
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["content"] in ("<unk>", "<s>", "</s>")]
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1),
    ])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    save(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "truncation_side": "left", "unk_token": "<unk>",
        "bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False},
        "eos_token": "</s>",
        "chat_template": [{"name": "tool_use", "template": "none"}, {"name": "default", "template": LLAMA_TEMPLATE}],
    })
    save(folder / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.get_vocab_size(),
    })
    return folder


def pictures() -> Path:
    """Small pictures of every kind that is read."""
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(14)

    def picture(height: int, width: int, channels: int, rough: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        slopes = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (height + width), x * 0 + 128.0], -1)
        return np.clip(slopes[..., :channels] + noise.integers(-rough, rough + 1, (height, width, channels)), 0, 255).astype(np.uint8)

    Image.fromarray(picture(56, 84, 3, 60)).save(folder / "kept.png")
    Image.fromarray(picture(130, 75, 3, 40)).save(folder / "shrunk.png")
    Image.fromarray(picture(9, 31, 3, 40)).save(folder / "grown.png")
    Image.fromarray(picture(40, 45, 4, 40)).save(folder / "transparent.png")
    Image.fromarray(picture(50, 70, 1, 40)[..., 0]).save(folder / "grey.png")
    Image.fromarray(picture(60, 60, 3, 40)).quantize(16).save(folder / "palette.png")
    Image.fromarray(picture(90, 120, 3, 10)).save(folder / "colours.jpg", quality=85)
    Image.fromarray(picture(70, 66, 3, 10)).save(folder / "fine.jpg", quality=95, subsampling=0, progressive=True)
    Image.fromarray(picture(64, 80, 1, 10)[..., 0]).save(folder / "grey.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(56, 84, 3, 10)).save(folder / "turned.jpg", quality=90, exif=exif)
    return folder


def windows(folder: Path, text: str, length: int) -> list[list[int]]:
    """As `perplexity` of llama.cpp cuts a text that tokenises to these tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    tokens = tokenizer(text.removesuffix("\n"))["input_ids"]
    chunks = [tokens[i * length : (i + 1) * length] for i in range(len(tokens) // length)]
    if tokenizer.bos_token_id is not None:
        chunks = [[tokenizer.bos_token_id, *chunk[1:]] for chunk in chunks]
    return chunks


def main() -> None:
    seeing, text = qwen(), llama()
    (HERE / "captions.txt").write_bytes(CAPTIONS.encode())
    names = sorted(path.name for path in pictures().iterdir())
    answers: dict[str, object] = {}
    for folder in (seeing, text):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        found: dict[str, object] = {
            f"captions_{length}": [
                batch["input_ids"][0].tolist()
                for batch in calibration.captions(folder, HERE / "captions.txt", length, 100, 1).batches
            ]
            for length in (512, 8)
        }
        found["windows_32"] = windows(folder, (HERE / "captions.txt").read_bytes().decode(), 32)
        found["prompts"] = []
        for prompt in PROMPTS:
            chat = [{"role": "user", "content": prompt}]
            rendered = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
            found["prompts"].append({"prompt": prompt, "text": rendered, "ids": ids})
        answers[folder.name] = found

    processor = AutoProcessor.from_pretrained(seeing)
    tensors = {}
    for name in names:
        with Image.open(HERE / "pictures" / name) as image:
            encoded = processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")
        tensors[f"{name}.pixel_values"] = levels(encoded["pixel_values"], processor.image_processor)
        tensors[f"{name}.image_grid_thw"] = encoded["image_grid_thw"]
    # A file is turned as its camera noted only where Transformers opens it.
    chat = [{"role": "user", "content": [
        {"type": "image", "path": str(HERE / "pictures" / "turned.jpg")}, {"type": "text", "text": "What is it?"},
    ]}]
    encoded = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    tensors["prompt.pixel_values"] = levels(encoded["pixel_values"], processor.image_processor)
    tensors["prompt.image_grid_thw"] = encoded["image_grid_thw"]
    answers["picture_prompt"] = encoded["input_ids"][0].tolist()
    with Image.open(HERE / "pictures" / "grown.png") as image:
        exact = processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")["pixel_values"]
    tensors["exact.pixel_values"] = exact[:4].contiguous()
    save_file(tensors, HERE / "pictures.safetensors")

    database = HERE / "pairs.db"
    database.unlink(missing_ok=True)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TABLE vlm_calib_samples (id INTEGER PRIMARY KEY AUTOINCREMENT, split TEXT NOT NULL, image_relpath TEXT NOT NULL,"
            " image_id INTEGER NOT NULL, caption_id INTEGER NOT NULL, caption TEXT NOT NULL)"
        )
        rows = [("calib" if i % 2 else "test", name, i, i, f"A caption of {name} \u2014 {i}.\n") for i, name in enumerate(names)]
        connection.executemany(
            "INSERT INTO vlm_calib_samples (split, image_relpath, image_id, caption_id, caption) VALUES (?, ?, ?, ?, ?)", rows
        )
    connection.close()
    for split in (None, "calib"):
        batches = calibration.pairs(seeing, database, HERE / "pictures", split, 512, 100).batches
        answers[f"pairs_{split}"] = [batch["input_ids"][0].tolist() for batch in batches]
    save(HERE / "answers.json", answers)


def levels(pixels: torch.Tensor, processor: object) -> torch.Tensor:
    """The 8-bit levels that normalised patches were made of, without the second frame."""
    patches = pixels.reshape(pixels.shape[0], 3, 2, -1)
    assert torch.equal(patches[:, :, 0], patches[:, :, 1])
    mean, deviation = (torch.tensor(value).reshape(1, 3, 1) for value in (processor.image_mean, processor.image_std))
    values = (patches[:, :, 0] * deviation + mean) * 255
    assert (values - values.round()).abs().max() < 1e-3
    return values.round().to(torch.uint8).contiguous()


if __name__ == "__main__":
    main()
