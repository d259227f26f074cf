#!/bin/sh
# Makes the streams in tests/store/recorded with Debian's zfs-fuse, as FiFo's agent does: `zfs send [-i parent] snapshot | gzip -1`.
# Needs root and /dev/fuse. The pool `zones` lies in a file below the given folder, and is destroyed again.
#
#   sh tests/store/record.sh FOLDER OUT
set -eu
work=$1
out=$2
vm=11111111-0000-4000-8000-000000000001
one=aaaaaaaa-0000-4000-8000-000000000001
two=aaaaaaaa-0000-4000-8000-000000000002
three=aaaaaaaa-0000-4000-8000-000000000003
mkdir -p "$work/mnt" "$out/$vm"
zpool list >/dev/null 2>&1 || zfs-fuse --no-kstat-mount
tries=0
until zpool list >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ]
    sleep 0.1
done
truncate -s 96M "$work/pool.img"
zpool create -m none zones "$work/pool.img"
trap 'zpool destroy zones' EXIT
zfs create -o mountpoint="$work/mnt" "zones/$vm"
echo 'the guest wrote this' >"$work/mnt/hello"
seq 1 2000 >"$work/mnt/numbers"
zfs snapshot "zones/$vm@$one"
echo 'and then this' >>"$work/mnt/hello"
rm "$work/mnt/numbers"
zfs snapshot "zones/$vm@$two"
seq 5 9 >"$work/mnt/numbers"
zfs snapshot "zones/$vm@$three"
zfs send "zones/$vm@$one" | gzip -1 >"$out/$vm/$one"
zfs send -i "zones/$vm@$one" "zones/$vm@$two" | gzip -1 >"$out/$vm/$two"
zfs send -i "zones/$vm@$two" "zones/$vm@$three" | gzip -1 >"$out/$vm/$three"
for backup in "$one" "$two" "$three"; do
    echo '<domain/>' >"$out/$vm/$backup.xml"
done
