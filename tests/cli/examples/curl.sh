#!/usr/bin/env bash
# Writes down what GitLab's API is asked to do, and lists what $STATE/listed.json has, as the first page; everything else is curl's.
set -euo pipefail
case " $* " in *" $CI_API_V4_URL/"*) ;; *) exec /usr/bin/curl "$@" ;; esac
[ "$(cat "${5#@}")" = "PRIVATE-TOKEN: glpat-report" ]
shift 5
echo "$*" >> "$STATE/calls"
case "$*" in
  */user) echo '{"id": 9}' ;;
  *"&page=1&"* | */issues\?*) cat "$STATE/listed.json" ;;
  */notes\?*) echo '[]' ;;
esac
