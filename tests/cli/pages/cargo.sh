#!/usr/bin/env bash
# `cargo` as the pages may use it. What builds and tests the project cannot run inside its tests: such a command is only
# taken when the gate runs it, or something that holds it. REPOSITORY is where the project lies.
set -euo pipefail
gate=$REPOSITORY/.ci/run

refuse() { echo "cargo $*: nothing shows that this works" >&2; exit 98; }

case "$*" in
  "run --release -- "*)
    shift 3
    exec fifo-retain "$@"
    ;;
  "test --release --test "* | "test --test "*)
    # One target of all that the gate's `cargo test --release` runs.
    line=$*
    name=${line##*--test }
    # A filter behind the name has to find tests.
    if [ "$name" != "${name#* }" ]; then
      filter=${name#* } name=${name%% *}
      [ -e "$REPOSITORY/tests/$name/$filter.rs" ] || [ -e "$REPOSITORY/tests/$name/$filter/mod.rs" ] || refuse "$@"
    fi
    grep -qF "'cargo test --release'" "$gate" || refuse "$@"
    [ -e "$REPOSITORY/tests/$name/main.rs" ] || refuse "$@"
    # What is set for it, it has to read.
    for variable in "${!FIFO_RETAIN_SIM_@}"; do
      grep -rqF "\"$variable\"" "$REPOSITORY/tests/" || refuse "$@"
    done
    ;;
  "test --release" | "install --path . --locked")
    grep -qF "cargo $*" "$gate" || refuse "$@"
    ;;
  "+nightly fuzz run -O --sanitizer none "*)
    # It needs a compiler that the gate has not: what it names has to be there, but for the folder that takes what is new.
    shift 6
    target=$1
    [ -e "$REPOSITORY/fuzz/fuzz_targets/$target.rs" ] || refuse "$@"
    shift
    for folder in "$@"; do
      case $folder in
        --) break ;;
        fuzz/corpus/"$target") ;;
        *) [ -d "$REPOSITORY/$folder" ] || refuse "$@" ;;
      esac
    done
    ;;
  *)
    # A short name of the project's own.
    [ $# -eq 1 ] && grep -q "^$1 = " "$REPOSITORY/.cargo/config.toml" || refuse "$@"
    ;;
esac
