#!/usr/bin/env bash
# GitHub's command line as far as the pipelines use it. Comments and issues are kept as JSON below $STATE.
set -euo pipefail
cd "$STATE"
for file in comments issues; do [ -e $file.json ] || echo '[]' > $file.json; done
[ -n "${GH_TOKEN:-}" ] || { echo "gh: not signed in" >&2; exit 4; }

change() { jq "$@" > new.json && mv new.json "${!#}"; }

method=GET filter=. label='' state='' title='' body='' words=()
while [ $# -gt 0 ]; do
  case $1 in
    --method) method=$2; shift ;;
    --jq) filter=$2; shift ;;
    --label) label=$2; shift ;;
    --state) state=$2; shift ;;
    --title) title=$2; shift ;;
    --body-file) body=$(cat "$OLDPWD/$2"); shift ;;
    --field) body=$(cat "$OLDPWD/${2#body=@}"); shift ;;
    --comment | --json | --repo) shift ;;
    --paginate | --force) ;;
    -*) echo "gh: what is $1?" >&2; exit 64 ;;
    *) words+=("$1") ;;
  esac
  shift
done

case "$method ${words[*]}" in
  "GET api repos/ann/backups/issues/7/comments")
    [ ! -e comments-fail ] || { echo "gh: HTTP 502" >&2; exit 1; }
    jq -r "$filter" comments.json ;;
  "POST api repos/ann/backups/issues/7/comments")
    change --arg body "$body" '. + [{id: (100 + length), user: {login: "github-actions[bot]"}, body: $body}]' comments.json ;;
  "PATCH api repos/ann/backups/issues/comments/"*)
    change --argjson id "${words[1]##*/}" --arg body "$body" 'map(if .id == $id then .body = $body else . end)' comments.json ;;
  "GET issue list")
    [ "$state" = open ] || exit 64
    jq --arg name "$label" 'map(select(.label == $name and .state == "open"))' issues.json | jq -r "$filter" ;;
  "GET label create $label"*) ;;
  "GET issue create")
    change --arg name "$label" --arg title "$title" --arg body "$body" \
      '. + [{number: (length + 1), state: "open", label: $name, title: $title, body: $body}]' issues.json ;;
  "GET issue edit "*)
    change --argjson number "${words[2]}" --arg body "$body" 'map(if .number == $number then .body = $body else . end)' issues.json ;;
  "GET issue close "*)
    change --argjson number "${words[2]}" 'map(if .number == $number then .state = "closed" else . end)' issues.json ;;
  *) echo "gh: $method ${words[*]} is not known here" >&2; exit 64 ;;
esac
