#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target for a while, from the vectors on. Usage: fuzz.sh SECONDS [TARGET...]
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(fmp4 timeline paths directives playlist mpd gzip range h1 live query event_log event_feed)

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked

for target in "${targets[@]}"; do
  corpus=tests/fuzz/target/corpus/$target
  mkdir -p "$corpus"
  # The vectors are read where they are; what is found beside them is kept with the build.
  case $target in
    fmp4 | timeline) seeds=(tests/vectors/cmaf tests/vectors/fmp4 tests/vectors/bad) ;;
    playlist) seeds=(tests/vectors/hls) ;;
    mpd) seeds=(tests/vectors/dash) ;;
    live) seeds=(tests/fuzz/seeds/live tests/vectors/hls tests/vectors/dash) ;;
    query) seeds=(tests/fuzz/seeds/query) ;;
    event_feed) seeds=(tests/fuzz/seeds/event_feed) ;;
    *) seeds=() ;;
  esac
  echo "fuzz: $target for $seconds s"
  # All of it is safe Rust, so no sanitizer is needed, and the stable toolchain will do.
  cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "$corpus" ${seeds[@]+"${seeds[@]}"} -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
