#!/usr/bin/env bash
# Writing one scheme of Qwen2.5-VL-3B, side by side with `cp` of what was written.
#
#   benches/one_scheme.sh
#
# Both run in turns in the same minutes on the same disk, inputs in the page cache, so their ratio says something on any
# machine. "time" ends when the command does; "with sync" when its data is on the disk. An un-timed round comes
# first: the first touch of memory pages is slow on virtual machines. In it qlua's memory is sampled, so that the
# sampling does not disturb the timed rounds.
#
# Needs 25 GB of disk. Environment:
#   QLUA_BENCH_DIR     where checkpoint and outputs go (default target/bench); the checkpoint is kept
#   QLUA_BENCH_ROUNDS  timed rounds (default 5)
#   QLUA_BENCH_BIN     a qlua to measure instead of building this one (absolute path)
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
bench=${QLUA_BENCH_DIR:-$target/bench}
rounds=${QLUA_BENCH_ROUNDS:-5}
manifest=../shared/data/manifests/qwen2_5_vl_3b_all_layers_fp8.json
model=$bench/model
out=$bench/out         # what qlua writes in a round
copy=$bench/copy       # what cp writes in a round
source=$bench/source   # what cp copies: qlua's output of the un-timed round

[[ -r $manifest ]] || { echo "error: the published manifest '$manifest' is not there" >&2; exit 1; }

if [[ -n ${QLUA_BENCH_BIN:-} ]]; then
  qlua=$QLUA_BENCH_BIN
else
  cargo build --release --quiet --bin qlua
  qlua=$target/release/qlua
fi
mkdir -p "$bench"
if [[ ! -d $model ]]; then
  cargo run --release --quiet --example synthetic_checkpoint -- "$model"
fi

remove_outputs() { rm -rf "$out" "$copy" "$source"; }
trap remove_outputs EXIT
remove_outputs

failed() { cat "$bench/qlua.log" >&2; echo "error: qlua failed, see above" >&2; exit 1; }

run_qlua() {  # run_qlua OUT
  "$qlua" scripts/all_layers_topx.lua --model "$model" --manifest "$manifest" --top 50 --out "$1" --overwrite \
    >"$bench/qlua.log" 2>&1 || failed
}
run_cp() { cp -R --reflink=never "$source" "$1"; }

warm() { find "$@" -type f -exec cat {} + >/dev/null; }
# The provenance records the command line, which differs by the output it names.
bytes_in() { find "$1" -type f ! -name provenance.json -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
now() { echo "${EPOCHREALTIME/./}"; }  # microseconds

# Seconds from both starts: the command alone, and until its data is on the disk.
measure() {  # measure FUNCTION OUT
  local start ended synced
  sync
  start=$(now); "$@"; ended=$(now); sync; synced=$(now)
  awk -v a="$start" -v b="$ended" -v c="$synced" 'BEGIN { printf "%.3f %.3f", (b - a) / 1e6, (c - a) / 1e6 }'
}

# Peaks in KiB: anonymous memory as sampled, anonymous and mapped file pages as the kernel counts them.
sample() {  # sample PID
  local pid=$1 anonymous=0 resident=0 key value _
  # A read that times out is a sleep that starts no process.
  exec {never}<> <(:)
  while :; do
    while read -r key value _; do
      case $key in
        RssAnon:) ((value > anonymous)) && anonymous=$value ;;
        VmHWM:) ((value > resident)) && resident=$value ;;
      esac
    done 2>/dev/null <"/proc/$pid/status" || break
    kill -0 "$pid" 2>/dev/null || break
    read -rt 0.01 -u "$never" _ || true
  done
  echo "$anonymous $resident"
}

echo "un-timed round…" >&2
warm "$model"
"$qlua" scripts/all_layers_topx.lua --model "$model" --manifest "$manifest" --top 50 --out "$source" --overwrite \
  >"$bench/qlua.log" 2>&1 &
pid=$!
read -r peak_anonymous peak_resident < <(sample "$pid")
wait "$pid" || failed
bytes=$(bytes_in "$source")
run_cp "$copy"
rm -rf "$copy"

results=$bench/rounds.txt
: >"$results"
for ((round = 1; round <= rounds; round++)); do
  for turn in 0 1; do
    # Who begins alternates from round to round.
    if (((round + turn) % 2)); then
      warm "$model"
      timed=$(measure run_qlua "$out")
      [[ $(bytes_in "$out") == "$bytes" ]] || { echo "error: two runs of qlua wrote different sizes" >&2; exit 1; }
      echo "$round qlua $timed" >>"$results"
      rm -rf "$out"
    else
      warm "$source"
      timed=$(measure run_cp "$copy")
      echo "$round cp $timed" >>"$results"
      rm -rf "$copy"
    fi
  done
  echo "round $round of $rounds done" >&2
done

awk -v bytes="$bytes" -v anonymous="$peak_anonymous" -v resident="$peak_resident" '
  function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++)
      for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  }
  { time[$1, $2] = $3; synced[$1, $2] = $4; if ($1 > rounds) rounds = $1 }
  END {
    printf "%-8s %12s %12s %8s %14s %14s %8s\n", "round", "qlua s", "cp s", "ratio", "qlua+sync s", "cp+sync s", "ratio"
    for (r = 1; r <= rounds; r++) {
      a[r] = time[r, "qlua"]; b[r] = time[r, "cp"]; c[r] = a[r] / b[r]
      d[r] = synced[r, "qlua"]; e[r] = synced[r, "cp"]; f[r] = d[r] / e[r]
      printf "%-8d %12.2f %12.2f %8.2f %14.2f %14.2f %8.2f\n", r, a[r], b[r], c[r], d[r], e[r], f[r]
    }
    n = rounds
    printf "%-8s %12.2f %12.2f %8.2f %14.2f %14.2f %8.2f\n", "median", \
      median(a, n), median(b, n), median(c, n), median(d, n), median(e, n), median(f, n)
    printf "\nwritten: %.0f bytes\n", bytes
    printf "qlua, peak anonymous memory: %.0f MiB (sampled); with mapped file pages: %.0f MiB (VmHWM)\n", \
      anonymous / 1024, resident / 1024
  }' "$results"
