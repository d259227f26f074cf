#!/usr/bin/env bash
# Writes down what GitHub's command line is asked to do, and lists what $STATE/listed.json has.
set -euo pipefail
echo "$*" >> "$STATE/calls"
while [ $# -gt 0 ]; do
  [ "$1" != --jq ] || jq -r "$2" "$STATE/listed.json"
  shift
done
