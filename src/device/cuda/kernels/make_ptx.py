#!/usr/bin/env python3
"""Compiles kernels.cu and what it includes to the PTX that is committed beside it and becomes part of the binary.

Needs NVRTC and no GPU:  pip install nvidia-cuda-nvrtc-cu12==12.1.105
NVRTC 12.1 makes PTX 8.1, which drivers from 530 on take. `--nvrtc FILE` names the library if it is not found.
"""
import argparse
import ctypes
import glob
import hashlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
ARCHITECTURES = (80, 89)
OPTIONS = ("--std=c++17", "--fmad=false")  # contraction is asked for by name only


def library(path):
    found = [path] if path else [f for p in sys.path for f in glob.glob(f"{p}/nvidia/cuda_nvrtc/lib/libnvrtc.so.12")]
    return ctypes.CDLL(found[0] if found else "libnvrtc.so.12")


def check(nvrtc, code, program=None):
    if code == 0:
        return
    if program is not None:
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        sys.exit(log.value.decode())
    sys.exit(f"NVRTC error {code}")


def compile_ptx(nvrtc, source, architecture):
    program = ctypes.c_void_p()
    check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None))
    options = [o.encode() for o in (*OPTIONS, f"--include-path={HERE}", f"--gpu-architecture=compute_{architecture}")]
    array = (ctypes.c_char_p * len(options))(*options)
    check(nvrtc, nvrtc.nvrtcCompileProgram(program, len(options), array), program)
    size = ctypes.c_size_t()
    check(nvrtc, nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc, nvrtc.nvrtcGetPTX(program, ptx))
    return ptx.value.decode()


def digest():
    """Of all sources, in the order of their names."""
    sources = sorted(path for path in HERE.iterdir() if path.suffix in (".cu", ".cuh"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvrtc", help="the path of libnvrtc.so.12")
    nvrtc = library(parser.parse_args().nvrtc)
    source = (HERE / "kernels.cu").read_bytes()
    for architecture in ARCHITECTURES:
        ptx = compile_ptx(nvrtc, source, architecture)
        header = f"// Made by make_ptx.py from kernels.cu and what it includes, SHA-256 {digest()}\n"
        (HERE / f"kernels.sm{architecture}.ptx").write_text(header + ptx)


if __name__ == "__main__":
    main()
