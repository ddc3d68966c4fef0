# needs: xz
# xz with four threads, both ways; busybox unpacks as well.
PATH=$1
seq 1 40000 > numbers; sha256sum < numbers
"$2/xz" -T4 -1 --block-size=32KiB -k numbers; sha256sum < numbers.xz; unxz -c numbers.xz | sha256sum
"$2/xz" -T4 -dc numbers.xz | sha256sum; "$2/xz" -l --robot numbers.xz | grep ^totals | cut -f 1-4
rm numbers numbers.xz
