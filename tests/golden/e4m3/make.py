#!/usr/bin/env python3
"""Write the E4M3 golden vectors beside this file: numpy does the arithmetic, ml_dtypes the rounding.

    python3 -m venv venv && venv/bin/pip install numpy ml_dtypes && venv/bin/python make.py

decode.bin                    256 little-endian float32: the value of every code
bf16_<scale>_<rounding>.bin   65,536 bytes: the code of BF16 bit pattern 0, 1, 2, … under that scale
f16_<scale>_<rounding>.bin    the same for F16

<scale> is the scale's float32 bit pattern in hexadecimal. <rounding> is `exact` (float32 quotient) or `modelopt`
(the float32 quotient rounded to BF16 before it is rounded to E4M3). ml_dtypes turns what exceeds the range into
NaN, so quotients are clipped to ±448 first; clipping keeps NaN.
"""

from pathlib import Path

import ml_dtypes
import numpy as np

HERE = Path(__file__).parent
# 1.0; the scale of an amax of 0.3; one whose quotients overflow F32 and BF16; a huge one, all results subnormal or zero; a
# BF16-rounded one.
BF16_SCALES = [0x3F800000, 0x3A2F8AF9, 0x00800000, 0x7B1E2D3C, 0x3B570000]
F16_SCALES = [0x3C924925]


def codes(values, scale, rounding):
    with np.errstate(over="ignore", invalid="ignore"):
        quotient = values / scale
    assert quotient.dtype == np.float32
    if rounding == "modelopt":
        quotient = quotient.astype(ml_dtypes.bfloat16).astype(np.float32)
    return np.clip(quotient, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)


def main():
    every = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn)
    (HERE / "decode.bin").write_bytes(every.astype("<f4").tobytes())
    patterns = np.arange(65536, dtype=np.uint16)
    for name, dtype, scales in [("bf16", ml_dtypes.bfloat16, BF16_SCALES), ("f16", np.float16, F16_SCALES)]:
        values = patterns.view(dtype).astype(np.float32)
        for bits in scales:
            scale = np.uint32(bits).view(np.float32)
            for rounding in ["exact", "modelopt"]:
                path = HERE / f"{name}_{bits:08x}_{rounding}.bin"
                path.write_bytes(codes(values, scale, rounding).tobytes())


main()
