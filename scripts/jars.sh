#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches the Java programs that tests run beside ours, each once: tests/NAME/pom.xml into target/jars/NAME.
# Usage: jars.sh NAME...
set -eu
cd "$(dirname "$0")/.."

for name in "$@"; do
  pom=tests/$name/pom.xml
  folder=${CARGO_TARGET_DIR:-target}/jars/$name
  # The pom beside its jars says that they are whole, and which they are.
  cmp -s "$pom" "$folder/pom.xml" && continue
  echo "jars: fetching $name with Maven"
  rm -rf "$folder"
  mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$(realpath -m "$folder")"
  cp "$pom" "$folder/pom.xml"
done
