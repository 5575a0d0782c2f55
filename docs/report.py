#!/usr/bin/env python3
"""Makes docs/report.png anew: a screenshot of the report of the demo, with measured quality.

    python3 docs/report.py target/debug/qlua

Needs Chromium. The picture is kept small by a palette of its most frequent colours.
"""

from __future__ import annotations

import collections
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

WIDTH, HEIGHT = 1100, 1530
"""Down to the end of the charts of sizes."""
COLOURS = 128
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def screenshot(qlua: Path, folder: Path) -> Path:
    """Writes and measures the ten schemes of the demo, and takes a picture of their report."""
    for words in (["all_layers_topx"], ["evaluate"], ["report", "qlua-demo/quantized"]):
        subprocess.run([qlua, "-q", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    browser = next(name for name in BROWSERS if shutil.which(name))
    picture, page = folder / "report.png", folder / "qlua-demo/quantized/report.html"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--virtual-time-budget=3000"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)
    return picture


def pixels(picture: Path) -> tuple[int, int, list[bytes]]:
    """Width, height and the colours of an 8-bit RGB or RGBA picture, row by row."""
    data, at, packed = picture.read_bytes(), 8, b""
    width = height = kind = 0
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if name == b"IHDR":
            width, height, _, kind = struct.unpack(">IIBB", body[:10])
        packed += body if name == b"IDAT" else b""
        at += 12 + length
    step = {2: 3, 6: 4}[kind]
    raw, previous, found = zlib.decompress(packed), bytes(width * step), []
    for row in range(height):
        begin = row * (width * step + 1)
        method, line = raw[begin], bytearray(raw[begin + 1 : begin + 1 + width * step])
        for i in range(len(line)):
            left, up = (line[i - step] if i >= step else 0), previous[i]
            corner = previous[i - step] if i >= step else 0
            line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[method]) & 255
        found += [bytes(line[i : i + 3]) for i in range(0, len(line), step)]
        previous = bytes(line)
    return width, height, found


def paeth(left: int, up: int, corner: int) -> int:
    """The neighbour that a PNG filter predicts a byte from."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda near: abs(guess - near))


def palette(colours: list[bytes]) -> tuple[list[bytes], dict[bytes, int]]:
    """The most frequent colours, and the nearest of them for each."""
    counts = collections.Counter(colours)
    kept = [colour for colour, _ in counts.most_common(COLOURS)]
    nearest = {c: min(range(len(kept)), key=lambda k: sum((a - b) ** 2 for a, b in zip(c, kept[k]))) for c in counts}
    return kept, nearest


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def main() -> None:
    qlua = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        width, height, colours = pixels(screenshot(qlua, Path(folder)))
    kept, nearest = palette(colours)
    rows = b"".join(b"\0" + bytes(nearest[c] for c in colours[row * width : (row + 1) * width]) for row in range(height))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), chunk(b"PLTE", b"".join(kept))]
    parts += [chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    target = Path(__file__).with_name("report.png")
    target.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    print(f"{target}: {width}×{height}, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
