#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the release program with the watch page in it and becomes `headwater demo`.
# HEADWATER_LISTEN=ADDRESS:PORT is passed on as --listen.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

echo "demo: building the watch page, fetching crates"
mkdir -p target
web=
if command -v npm >/dev/null 2>&1; then
  make --no-print-directory web >target/web-build.log 2>&1 &
  web=$!
fi
$cargo fetch
if [ -z "$web" ]; then
  echo "demo: no Node here, going on without the watch page: install nodejs and npm, then \`make web\`"
elif wait "$web"; then
  rm -f target/web-build.log
else
  tail -n 5 target/web-build.log >&2
  echo "demo: the watch page could not be built, going on without it (target/web-build.log has the reasons)" >&2
fi

features=()
if ! [ -e /usr/include/openssl/ssl.h ] && ! pkg-config --exists openssl 2>/dev/null; then
  echo "demo: no headers of OpenSSL here, going on without TLS to Kafka: install libssl-dev and pkg-config"
  features=(--no-default-features)
fi
echo "demo: compiling headwater (some minutes the first time)"
$cargo build --release --package headwater ${features[@]+"${features[@]}"}
exec "${CARGO_TARGET_DIR:-target}/release/headwater" demo ${HEADWATER_LISTEN:+--listen "$HEADWATER_LISTEN"}
