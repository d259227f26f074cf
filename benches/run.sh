#!/bin/sh
# Measures the commands against clouds of several sizes; see README.md beside it. Arguments: numbers of VMs (1000 10000).
set -eu
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench scale -- run "$@"
