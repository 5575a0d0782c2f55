#!/usr/bin/env bash
# `qlua verify` side by side with `b3sum` of the same files: a family of ten schemes, one scheme, and ten copies that share nothing.
#
#   benches/verify.sh [MODEL MANIFEST]
#
# Both run in turns in the same minutes with the files in the page cache, so that the ratio says something on any machine; a first
# round is not timed. b3sum hashes every path that it is given, also the names of one file: what it takes for the family is shown
# for every name, and for every distinct file, which is what `verify` reads. Without MODEL and MANIFEST the family is that of a
# synthetic checkpoint in the shape of Qwen2.5-VL-3B, with the published manifest: 19 GB of disk. The copies (COPIES of one scheme)
# take their size once more each, and are left out where COPIES is 0.
#
# Environment:
#   QLUA_BENCH_DIR     where checkpoint and family go (default target/bench); a synthetic checkpoint is kept
#   QLUA_BENCH_ROUNDS  timed rounds (default 5)
#   QLUA_BENCH_BIN     a qlua to measure instead of building this one (absolute path)
#   QLUA_BENCH_OTHER   another qlua that takes its turns too, such as that of an older release (absolute path)
#   B3SUM              the b3sum to compare with (default b3sum)
#   THREADS            threads for both (default: all cores)
#   POINTS             coverage points (default 10,20,30,40,50,60,70,80,90,100)
#   COPIES             copies of one scheme (default 3)
set -euo pipefail
export LC_ALL=C
model=${1:-} manifest=${2:-}
[[ -z $model ]] || model=$(realpath "$model")
[[ -z $manifest ]] || manifest=$(realpath "$manifest")
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
bench=${QLUA_BENCH_DIR:-$target/bench}
rounds=${QLUA_BENCH_ROUNDS:-5}
b3sum=${B3SUM:-b3sum}
points=${POINTS:-10,20,30,40,50,60,70,80,90,100}
copies=${COPIES:-3}
threads=${THREADS:-$(nproc)}
other=${QLUA_BENCH_OTHER:-}
family=$bench/verify-family
copied=$bench/verify-copies

command -v "$b3sum" >/dev/null || { echo "error: there is no '$b3sum' to compare with; set B3SUM" >&2; exit 1; }
if [[ -n ${QLUA_BENCH_BIN:-} ]]; then
  qlua=$QLUA_BENCH_BIN
else
  cargo build --release --quiet --bin qlua
  qlua=$target/release/qlua
fi
mkdir -p "$bench"
if [[ -z $model ]]; then
  model=$bench/model
  manifest=../shared/data/manifests/qwen2_5_vl_3b_all_layers_fp8.json
  [[ -d $model ]] || cargo run --release --quiet --example synthetic_checkpoint -- "$model"
fi
[[ -r $manifest ]] || { echo "error: the manifest '$manifest' is not there" >&2; exit 1; }

remove_outputs() { rm -rf "$family" "$copied"; }
trap remove_outputs EXIT
remove_outputs

"$qlua" all_layers_topx --device cpu --model "$model" --manifest "$manifest" --top "$points" --out "$family" \
  >"$bench/qlua.log" 2>&1 || { cat "$bench/qlua.log" >&2; echo "error: qlua failed, see above" >&2; exit 1; }
schemes=("$family"/*/)
one=${schemes[-1]}
mkdir "$copied"
for ((copy = 1; copy <= copies; copy++)); do cp -R --reflink=never "$one" "$copied/$copy"; done

names() { find "$@" -type f -print0; }
# Every file once, whatever the number of its names.
distinct() { find "$@" -type f -printf '%i %p\0' | sort -z -u -k1,1 | cut -z -d' ' -f2-; }
bytes() { xargs -0 stat -L -c %s | awk '{ s += $1 } END { printf "%.2f", s / 1e9 }'; }
now() { echo "${EPOCHREALTIME/./}"; }  # microseconds
seconds() {  # seconds COMMAND…
  local start
  start=$(now); "$@" >/dev/null; awk -v a="$start" -v b="$(now)" 'BEGIN { printf "%.4f", (b - a) / 1e6 }'
}
# One process hashes all, as verify is one process.
hash_list() { "$b3sum" --num-threads "$threads" "${list[@]}"; }
check() { "$1" verify --threads "$threads" "${directories[@]}"; }

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

printf '| %-34s | %8s | %8s | %9s | %8s | %7s |\n' "what" "GB" "b3sum, s" "verify, s" "GB/s" "ratio"
echo "| ---------------------------------- | -------: | -------: | --------: | -------: | ------: |"
compare() {  # compare NAME LISTER DIRECTORY…
  local name=$1 lister=$2 gigabytes tool turn round hashed
  shift 2
  directories=("$@")
  mapfile -d '' list < <("$lister" "$@")
  gigabytes=$("$lister" "$@" | bytes)
  local tools=(b3sum "$qlua")
  [[ -z $other ]] || tools+=("$other")
  rm -f "$bench"/verify-*.times
  for ((round = 0; round <= rounds; round++)); do
    for turn in "${!tools[@]}"; do
      # Who begins changes from round to round.
      tool=$(((round + turn) % ${#tools[@]}))
      if ((tool == 0)); then taken=$(seconds hash_list); else taken=$(seconds check "${tools[tool]}"); fi
      ((round == 0)) || echo "$taken" >>"$bench/verify-$tool.times"
    done
  done
  hashed=$(median <"$bench/verify-0.times")
  for ((tool = 1; tool < ${#tools[@]}; tool++)); do
    ((tool == 1)) || name="$name, the other qlua"
    awk -v n="$name" -v g="$gigabytes" -v a="$hashed" -v b="$(median <"$bench/verify-$tool.times")" \
      'BEGIN { printf "| %-34s | %8.2f | %8.3f | %9.3f | %8.2f | %5.0f %% |\n", n, g, a, b, g / b, 100 * a / b }'
  done
  rm -f "$bench"/verify-*.times
}
compare "${#schemes[@]} schemes, every name" names "${schemes[@]}"
compare "${#schemes[@]} schemes, distinct files" distinct "${schemes[@]}"
compare "one scheme" names "$one"
((copies == 0)) || compare "$copies copies that share nothing" names "$copied"/*/
echo
echo "ratio: the hashing speed of b3sum over the same files is 100 %; the goal is 80 %. $threads threads, medians of $rounds rounds."
