#!/usr/bin/env bash
# tests/format.sh        fails when a source is not as clang-format writes it
# tests/format.sh --fix  rewrites the sources
#
# Versions of clang-format differ in details, so only the version below may
# judge; with another one, or none, the check is skipped (exit status 77).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=14

program=$(command -v clang-format-$version || command -v clang-format || true)
if [[ -z $program ]]; then
  echo "clang-format $version is not installed"
  exit 77
fi

sources() {
  find . -path './build*' -prune -o -type f \( -name '*.cpp' -o -name '*.h' \) -print0
}

if [[ ${1:-} == --fix ]]; then
  sources | xargs -0 "$program" -i
elif ! "$program" --version | grep -q "version $version\."; then
  echo "the check needs clang-format $version; this is $("$program" --version)"
  exit 77
else
  wrong=$(sources | xargs -0 "$program" --dry-run 2>&1 | sed -n 's/^\([^ :]*\):[0-9].*/\1/p' | sort -u)
  [[ -z $wrong ]] && exit 0
  printf 'not as clang-format writes them (./dev format rewrites them):\n%s\n' "$wrong"
  exit 1
fi
