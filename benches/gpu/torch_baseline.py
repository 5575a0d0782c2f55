#!/usr/bin/env python3
"""What PyTorch takes on the same GPU for what `gpu time` measures; writes JSON. Medians of CUDA event times, in ms."""
import json
import sys

import torch


def median_ms(run, runs=15, warm=3):
    for _ in range(warm):
        run()
    times = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def quantise(weight):
    """amax → scale → codes, with the F32 quotient."""
    scale = weight.abs().amax().float() / 448.0
    return (weight.float() / scale).clamp(-448.0, 448.0).to(torch.float8_e4m3fn), scale


def quantise_bf16(weight):
    """The same with the BF16 quotient, as ModelOpt has it: less memory traffic when every step is a kernel."""
    scale = weight.abs().amax().float() / 448.0
    return (weight / scale.to(weight.dtype)).clamp(-448.0, 448.0).to(torch.float8_e4m3fn), scale


def error(weight):
    codes, scale = quantise(weight)
    wide = weight.float()
    lost = wide - codes.float() * scale
    return lost.square().sum(), wide.square().sum(), lost.abs().amax(), (codes.view(torch.uint8) & 0x7F == 0).sum()


def linears():
    for _ in range(32):
        yield from ((3840, 1280), (1280, 1280), (3420, 1280), (3420, 1280), (1280, 3420))
    yield from ((5120, 5120), (2048, 5120))
    for _ in range(36):
        yield from ((2048, 2048), (256, 2048), (256, 2048), (2048, 2048), (11008, 2048), (11008, 2048), (2048, 11008))


def main():
    results = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
    large = torch.randn(32768, 65536, device="cuda", dtype=torch.bfloat16) * 0.02
    target = torch.empty_like(large)
    ms = median_ms(lambda: target.copy_(large))
    results["copy_tb_per_s"] = 2 * large.numel() * 2 / ms / 1e9
    del target
    results["eager_ms"] = median_ms(lambda: quantise_bf16(large))
    results["eager_f32_ms"] = median_ms(lambda: quantise(large), runs=5)
    compiled = torch.compile(quantise)
    results["compile_ms"] = median_ms(lambda: compiled(large))
    compiled = torch.compile(quantise_bf16)
    results["compile_bf16_ms"] = median_ms(lambda: compiled(large))
    del large
    torch.cuda.empty_cache()
    weights = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) * 0.02 for shape in linears()]
    results["gb_414"] = sum(w.numel() * 2 for w in weights) / 1e9
    results["eager_414_ms"] = median_ms(lambda: [quantise_bf16(w) for w in weights], runs=5)
    results["error_414_ms"] = median_ms(lambda: [error(w) for w in weights], runs=5)
    del weights
    torch.cuda.empty_cache()
    host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    results["to_gpu_gb_per_s"] = 1.073741824e3 / median_ms(lambda: device.copy_(host, non_blocking=True), runs=5)
    results["to_host_gb_per_s"] = 1.073741824e3 / median_ms(lambda: host.copy_(device, non_blocking=True), runs=5)
    text = json.dumps(results, indent=2)
    print(text)
    with open(sys.argv[1], "w") as file:
        file.write(text)


main()
