#!/usr/bin/env bash
# A family of ten schemes of Qwen2.5-VL-3B, and one scheme, side by side with `cp` of the same bytes and with PyTorch.
#
#   benches/family.sh
#
# What is compared runs in turns in the same minutes on the same disk, inputs in the page cache, so that the ratios say
# something on any machine. qlua forces everything to the disk before it ends; `cp` does not. So that like is compared with
# like as well, both are timed until `sync` after them has ended, and qlua runs once more with a library before it whose
# fsync does nothing (where there is a C compiler). A first round is not timed; in it qlua's memory is sampled.
#
# Needs 30 GB of disk. Environment:
#   QLUA_BENCH_DIR     where checkpoint and outputs go (default target/bench); the checkpoint is kept
#   QLUA_BENCH_ROUNDS  timed rounds (default 3)
#   QLUA_BENCH_BIN     a qlua to measure instead of building this one (absolute path)
#   QLUA_BENCH_PYTHON  a Python with torch and safetensors (default python3); without them that row says so
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
bench=${QLUA_BENCH_DIR:-$target/bench}
rounds=${QLUA_BENCH_ROUNDS:-3}
python=${QLUA_BENCH_PYTHON:-python3}
manifest=../shared/data/manifests/qwen2_5_vl_3b_all_layers_fp8.json
model=$bench/model
out=$bench/out         # what qlua writes in a round
source=$bench/source   # the same files once more, each once, for cp to copy
copy=$bench/copy       # what cp writes in a round

[[ -r $manifest ]] || { echo "error: the published manifest '$manifest' is not there" >&2; exit 1; }
if [[ -n ${QLUA_BENCH_BIN:-} ]]; then
  qlua=$QLUA_BENCH_BIN
else
  cargo build --release --quiet --bin qlua
  qlua=$target/release/qlua
fi
mkdir -p "$bench"
[[ -d $model ]] || cargo run --release --quiet --example synthetic_checkpoint -- "$model"

remove_outputs() { rm -rf "$out" "$copy" "$source" "$bench/large"; }
trap remove_outputs EXIT
remove_outputs

failed() { cat "$bench/qlua.log" >&2; echo "error: qlua failed, see above" >&2; exit 1; }
policy() {  # policy MODEL MANIFEST POINTS
  "$qlua" scripts/all_layers_topx.lua --device cpu --model "$1" --manifest "$2" --top "$3" --out "$out" >"$bench/qlua.log" 2>&1
}
sweep() { policy "$model" "$manifest" "$1" || failed; }
unforced="$PWD/$bench/unforced.so"
[[ $bench == /* ]] && unforced=$bench/unforced.so
sweep_unforced() { LD_PRELOAD=$unforced sweep "$1"; }
copy_all() { cp -R --reflink=never "$source" "$copy"; }
now() { echo "${EPOCHREALTIME/./}"; }  # microseconds
warm() { find "$@" -type f -exec cat {} + >/dev/null; }
settle() { sync; sleep 1; }

# Seconds from the start: until the command ends, and until its data is on the disk.
measure() {  # measure COMMAND…
  local start ended
  settle
  start=$(now); "$@"; ended=$(now); sync
  awk -v a="$start" -v b="$ended" -v c="$(now)" 'BEGIN { printf "%.3f %.3f", (b - a) / 1e6, (c - a) / 1e6 }'
}

# Every weight file that qlua wrote, once, whatever the number of its names.
keep_unique() {
  mkdir "$source"
  find "$out" -name '*.safetensors' -printf '%i %p\n' | sort -u -k1,1 | while read -r inode file; do
    ln "$file" "$source/$inode.safetensors"
  done
  rm -rf "$out"
}
bytes_in() { find "$1" -name '*.safetensors' -printf '%i %s\n' | sort -u | awk '{ s += $2 } END { printf "%.0f", s }'; }
names_in() { find "$1" -name '*.safetensors' -printf '%s\n' | awk '{ s += $1 } END { printf "%.0f", s }'; }

# The peak of anonymous memory in KiB while COMMAND runs.
peak_anonymous() {  # peak_anonymous COMMAND…
  "$@" &
  local shell=$! pid anonymous=0 key value _
  exec {never}<> <(:)
  sleep 0.05
  pid=$(pgrep -P "$shell" | head -n 1)
  while kill -0 "$shell" 2>/dev/null; do
    while read -r key value _; do
      [[ $key == RssAnon: ]] && ((value > anonymous)) && anonymous=$value
    done 2>/dev/null <"/proc/${pid:-$shell}/status" || true
    # A read that times out is a sleep that starts no process.
    read -rt 0.01 -u "$never" _ || true
  done
  wait "$shell" || failed
  echo "$anonymous"
}

# A model of one linear layer with 20 GB of BF16 weights; the file is sparse.
large_model() {
  local rows=625000 columns=16000 header
  mkdir -p "$bench/large"
  header=$(printf '{"model.layers.0.mlp.down_proj.weight":{"dtype":"BF16","shape":[%d,%d],"data_offsets":[0,%d]}}' \
    $rows $columns $((rows * columns * 2)))
  while ((${#header} % 8)); do header+=" "; done
  { printf "\\x$(printf %x $((${#header} % 256)))\\x$(printf %x $((${#header} / 256)))\\0\\0\\0\\0\\0\\0"; printf %s "$header"; } \
    >"$bench/large/model.safetensors"
  head -c 64M "$model"/model-00001-of-*.safetensors | tail -c 60M >>"$bench/large/model.safetensors"
  truncate -s $((8 + ${#header} + rows * columns * 2)) "$bench/large/model.safetensors"
  echo '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}' >"$bench/large/config.json"
  echo '{"layer_sensitivity": {"model.layers.0.mlp.down_proj.quant_recipe": {"formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)",
    "NONE(effective-bits: 16.0)"], "scores": [1.0, 0.0], "costs": [5000000000.0, 10000000000.0]}},
    "amax": {"model.layers.0.mlp.down_proj.input_quantizer": 1.0}}' >"$bench/large.json"
}

contenders=(qlua cp)
if cc -shared -fPIC -o "$unforced" -x c - <<<'int fsync(int f) { return 0; } int fdatasync(int f) { return 0; }
  int sync_file_range(int f, long a, long b, unsigned c) { return 0; }' 2>/dev/null; then
  contenders+=(unforced)
else
  echo "note: there is no C compiler, so the rows that force neither side are left out" >&2
fi

results=$bench/rounds.txt
: >"$results"
for points in 10..100:10 50; do
  echo "$points %: a round that is not timed…" >&2
  warm "$model"
  peak=$(peak_anonymous sweep "$points")
  bytes=$(bytes_in "$out")
  all=$(names_in "$out")
  keep_unique
  copy_all
  rm -rf "$copy"
  echo "$points peak $peak $bytes $all" >>"$results"
  for ((round = 1; round <= rounds; round++)); do
    for turn in "${!contenders[@]}"; do
      # Who begins changes from round to round.
      contender=${contenders[(round + turn) % ${#contenders[@]}]}
      case $contender in
        cp)
          warm "$source"
          timed=$(measure copy_all)
          rm -rf "$copy" ;;
        *)
          warm "$model"
          command=sweep
          [[ $contender == qlua ]] || command=sweep_unforced
          timed=$(measure $command "$points")
          [[ $(bytes_in "$out") == "$bytes" ]] || { echo "error: two runs of qlua wrote different sizes" >&2; exit 1; }
          rm -rf "$out" ;;
      esac
      echo "$points $contender $timed" >>"$results"
    done
    echo "$points %: round $round of $rounds done" >&2
  done
  rm -rf "$source"
done

echo "one tensor of 20 GB…" >&2
large_model
echo "large peak $(peak_anonymous policy "$bench/large" "$bench/large.json" 100) $(bytes_in "$out") 0" >>"$results"
remove_outputs

if "$python" -c 'import torch, safetensors' 2>/dev/null; then
  echo "ten schemes in PyTorch…" >&2
  warm "$model"
  settle
  start=$(now)
  "$python" benches/pytorch_loop.py "$model" "$manifest" "$copy" >"$bench/python.log" 2>&1 || { cat "$bench/python.log" >&2; exit 1; }
  echo "10..100:10 python $(awk -v a="$start" -v b="$(now)" 'BEGIN { printf "%.3f", (b - a) / 1e6 }') 0" >>"$results"
  remove_outputs
else
  echo "note: $python has no torch and safetensors, so the loop in PyTorch is left out" >&2
fi

start=$(now)
for _ in {1..50}; do "$qlua" -e ''; done
echo "startup 50 $(awk -v a="$start" -v b="$(now)" 'BEGIN { printf "%.2f", (b - a) / 50e3 }')" >>"$results"

awk '
  function median(key,    n, i, j, t, list) {
    n = split(times[key], list, " ")
    for (i = 2; i <= n; i++)
      for (j = i; j > 1 && list[j] + 0 < list[j - 1] + 0; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  function row(measure, value, goal) { printf "| %-62s | %12s | %10s |\n", measure, value, goal }
  $2 == "peak" { peak[$1] = $3; bytes[$1] = $4; all[$1] = $5; next }
  $1 == "startup" { startup = $3; next }
  { times[$1, $2] = times[$1, $2] " " $3; times[$1, $2, "sync"] = times[$1, $2, "sync"] " " $4 }
  END {
    ten = "10..100:10"; one = "50"
    row("measure", "figure", "goal")
    printf "| %s | %s: | %s: |\n", "--------------------------------------------------------------", "-----------", "---------"
    row("ten schemes, seconds", sprintf("%.2f", median(ten SUBSEP "qlua")), "")
    row("cp of their unique bytes, seconds (until on the disk)", sprintf("%.2f (%.2f)", median(ten SUBSEP "cp"), median(ten SUBSEP "cp" SUBSEP "sync")), "")
    row("ten schemes / cp", sprintf("%.2f", median(ten SUBSEP "qlua") / median(ten SUBSEP "cp")), "<= 1.25")
    row("ten schemes / cp, both until on the disk", sprintf("%.2f", median(ten SUBSEP "qlua" SUBSEP "sync") / median(ten SUBSEP "cp" SUBSEP "sync")), "")
    if ((ten, "unforced") in times)
      row("ten schemes / cp, neither forced to the disk", sprintf("%.2f", median(ten SUBSEP "unforced") / median(ten SUBSEP "cp")), "<= 1.25")
    row("one scheme, seconds", sprintf("%.2f", median(one SUBSEP "qlua")), "")
    row("cp of its bytes, seconds (until on the disk)", sprintf("%.2f (%.2f)", median(one SUBSEP "cp"), median(one SUBSEP "cp" SUBSEP "sync")), "")
    row("one scheme / cp", sprintf("%.2f", median(one SUBSEP "qlua") / median(one SUBSEP "cp")), "<= 1.15")
    row("one scheme / cp, both until on the disk", sprintf("%.2f", median(one SUBSEP "qlua" SUBSEP "sync") / median(one SUBSEP "cp" SUBSEP "sync")), "")
    if ((one, "unforced") in times)
      row("one scheme / cp, neither forced to the disk", sprintf("%.2f", median(one SUBSEP "unforced") / median(one SUBSEP "cp")), "<= 1.15")
    row("ten schemes, unique GB on the disk", sprintf("%.3f", bytes[ten] / 1e9), "<= 10.8")
    row("ten copies would take, GB", sprintf("%.1f", all[ten] / 1e9), "")
    row("peak anonymous memory, ten schemes, MiB", sprintf("%.0f", peak[ten] / 1024), "<= 256")
    row("peak anonymous memory, one tensor of 20 GB, MiB", sprintf("%.0f", peak["large"] / 1024), "<= 256")
    if ((ten, "python") in times)
      row("ten schemes one by one in PyTorch / ten schemes", sprintf("%.1f", median(ten SUBSEP "python") / median(ten SUBSEP "qlua")), ">= 20")
    if ((ten, "python") in times && (ten, "unforced") in times)
      row("the same, neither forced to the disk", sprintf("%.1f", median(ten SUBSEP "python") / median(ten SUBSEP "unforced")), ">= 20")
    row("start-up of qlua, milliseconds", startup, "<= 15")
  }' "$results"
echo
echo "Elements per second of every kernel: cargo bench --bench fp8. Parsing and ranking: cargo bench --bench manifest."
