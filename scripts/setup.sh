#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what `make demo`, `make test` or `make bench` lacks, and says nothing where nothing is missing.
# Usage: setup.sh demo|test|bench
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

if ! has cargo; then
  echo "setup: Rust is missing: install rustup, then run this again" >&2
  exit 1
fi

packages=()
optional=()
known() { apt-cache show "$1" >/dev/null 2>&1; }
has node && has npm || packages+=(nodejs npm)
# The client of Kafka is built from C, with TLS from OpenSSL.
has cc || packages+=(gcc libc6-dev)
has pkg-config || packages+=(pkg-config)
[ -e /usr/include/openssl/ssl.h ] || pkg-config --exists openssl 2>/dev/null || packages+=(libssl-dev)
if [ "${1:-}" = test ]; then
  has ffmpeg && has ffprobe || packages+=(ffmpeg)
  has chromium || has chromium-browser || has google-chrome || packages+=(chromium)
  has xmllint || packages+=(libxml2-utils)
  # An origin that others wrote, for the shield to stand in front of.
  [ -x /usr/sbin/nginx ] || packages+=(nginx-light)
  has curl || packages+=(curl)
  # Apache Kafka, a client of it that others wrote, and a judge of JSON Schemas.
  # With its compiler: the runner of analytics/ is started as source.
  has javac || packages+=(default-jdk-headless)
  has mvn || packages+=(maven)
  has kcat || packages+=(kcat)
  python3 -c 'import jsonschema' 2>/dev/null || /usr/bin/python3 -c 'import jsonschema' 2>/dev/null || packages+=(python3 python3-jsonschema)
fi
if [ "${1:-}" = bench ]; then
  has ffmpeg || packages+=(ffmpeg)
  [ -x /usr/sbin/nginx ] || packages+=(nginx-light)
  # The shield's other peers.
  [ -x /usr/sbin/haproxy ] || packages+=(haproxy)
  [ -x /usr/sbin/varnishd ] || packages+=(varnish)
  [ -x /usr/sbin/squid ] || packages+=(squid)
  # Not in every release; a table says what is not there.
  has traffic_server || optional=(trafficserver)
fi
if [ ${#packages[@]} = 0 ]; then
  [ ${#optional[@]} -gt 0 ] && known "${optional[@]}" || exit 0
fi

root=()
if [ "$(id -u)" != 0 ]; then
  if ! has sudo; then
    root=(false)
  elif [ -t 0 ]; then
    root=(sudo)
  else
    root=(sudo -n)
  fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { DEBIAN_FRONTEND=noninteractive ${root[@]+"${root[@]}"} apt-get "$@" >>"$log" 2>&1; }
echo "setup: installing ${packages[*]-} ${optional[*]-}"
if ! has apt-get || ! { apt -q update || true; } || ! apt -q -y install --no-install-recommends "${packages[@]}"; then
  tail -n 5 "$log" >&2
  echo "setup: could not install ${packages[*]}: install them by hand" >&2
  # The demo runs without Node: its pages then say how to build the watch page; and without OpenSSL's headers: then
  # without TLS to Kafka. Tests need everything.
  [ "${1:-}" = demo ] || exit 1
fi
for package in ${optional[@]+"${optional[@]}"}; do
  ! known "$package" || apt -q -y install --no-install-recommends "$package" || true
done
