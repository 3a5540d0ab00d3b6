#!/usr/bin/env bash
# Fails when a source is not as clang-format would write it. Versions of
# clang-format differ in details, so only the version named here may judge; with
# another one, or none, the check is skipped (77).
set -euo pipefail
version=14
program=$(command -v clang-format-$version || command -v clang-format || true)
if [[ -z $program ]] || ! "$program" --version | grep -q "version $version\."; then
  echo "skipped: needs clang-format $version"
  exit 77
fi
find ir frontend passes runtime backends driver tests -name '*.cpp' -print0 -o -name '*.h' -print0 |
  xargs -0 "$program" --dry-run --Werror
