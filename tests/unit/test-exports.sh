#!/bin/sh
# test-exports.sh LIBRARY SYMBOL...: the library exports exactly these, and needs nothing but libc.
set -eu

library=$1
shift
expected=$(printf '%s\n' "$@" | LC_ALL=C sort)
exported=$(nm -D --defined-only "$library" |
	awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort)
if [ "$exported" != "$expected" ]; then
	echo "$library exports:" "$exported" >&2
	exit 1
fi

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for name in $needed; do
	case $name in
	libc.so.* | libc.musl-* | ld-linux*) ;;
	*)
		echo "$library needs $name" >&2
		exit 1
		;;
	esac
done
[ -n "$needed" ]
