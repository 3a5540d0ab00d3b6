#!/usr/bin/env bash
# page.sh TREADLE: opens the page of an example in headless Chromium and runs
# page_checks.js in it. Skipped (77) where there is no Chromium: it is too large to
# be installed for this.
set -euo pipefail
treadle=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"

browser=''
for name in chromium chromium-browser chromium-headless-shell google-chrome; do
  if command -v "$name" >/dev/null; then
    browser=$name
    break
  fi
done
if [[ -z $browser ]]; then
  echo "skipped: no Chromium here; apt install chromium"
  exit 77
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$treadle" dump ../../examples/my_cell.tdl --format html -o "$folder/page.html"
python3 - "$folder/page.html" page_checks.js <<'PYTHON'
import pathlib, sys
page, checks = map(pathlib.Path, sys.argv[1:])
text = page.read_text()
assert text.count("</body>") == 1
page.write_text(text.replace("</body>", "<script>" + checks.read_text() + "</script></body>"))
PYTHON
if ! timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
  --user-data-dir="$folder/profile" --window-size=1440,900 --virtual-time-budget=5000 \
  --dump-dom "file://$folder/page.html" >"$folder/dom.html" 2>"$folder/errors"; then
  tail -n 5 "$folder/errors"
  exit 1
fi
title=$(grep -o '<title>[^<]*</title>' "$folder/dom.html" | head -n 1)
echo "$title"
[[ $title == '<title>checks: passed</title>' ]]
