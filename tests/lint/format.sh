#!/usr/bin/env bash
# Checks that every source is formatted; with --fix, formats it.
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=(--dry-run -Werror)
if [ "${1:-}" = --fix ]; then mode=(-i); fi
find config engine proto server tests -name '*.cc' -o -name '*.h' | sort | xargs /usr/bin/clang-format "${mode[@]}"
