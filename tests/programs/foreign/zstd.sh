# needs: zstd
# zstd with four workers.
PATH=$1
seq 1 100000 > numbers; sha256sum < numbers
"$2/zstd" -q -T4 -B64K -3 numbers -o numbers.zst; sha256sum < numbers.zst; "$2/zstd" -q -dc numbers.zst | sha256sum
"$2/zstd" -q -T4 -B32K --long -7 -c < numbers | "$2/zstd" -q -dc | sha256sum
"$2/zstd" -q -t numbers.zst && echo sound
rm numbers numbers.zst
