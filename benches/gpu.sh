#!/usr/bin/env bash
# All that is claimed of the GPU, in one go, on a machine with an NVIDIA GPU:  benches/gpu.sh [BINARY [FOLDER]]
# BINARY: the benchmark `gpu`, built here unless given (it needs no CUDA, so it can be carried); FOLDER: where files go.
# No step takes longer than LIMIT seconds. Beside it PyTorch is timed where there is one, and compute-sanitizer looks for bad accesses where there is one.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${1:-} folder=${2:-${TMPDIR:-/tmp}}
steps=${STEPS:-small torch time sanitize check file}
if [ -z "$binary" ]; then
  binary=$(cargo bench --manifest-path "$here/../Cargo.toml" --bench gpu --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
fi
step() { echo "== $1"; shift; local start=$SECONDS; timeout "${LIMIT:-120}" "$@" || echo "FAILED ($?): $*"; echo "   ($((SECONDS - start)) s)"; }
torch=$folder/qlua-torch.json
rm -f "$torch"
for name in $steps; do
  case $name in
    small) step "codes, scales, errors on little data" "$binary" small ;;
    torch) step "PyTorch" python3 "$here/gpu/torch_baseline.py" "$torch" ;;
    time) if [ -e "$torch" ]; then step "kernels" "$binary" time "$torch"; else step "kernels" "$binary" time; fi ;;
    sweep) step "limits of the schedule" "$binary" sweep ;;
    sanitize)
      sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
      if [ -z "$sanitizer" ]; then echo "SKIPPED: compute-sanitizer is not installed"; continue; fi
      for tool in memcheck racecheck initcheck; do
        step "compute-sanitizer $tool" "$sanitizer" --print-limit 3 --tool "$tool" --error-exitcode 9 "$binary" small
      done ;;
    check) step "codes and scales against the CPU" "$binary" check ;;
    file) step "host, GPU, host, file" "$binary" file "$folder" ;;
  esac
done
