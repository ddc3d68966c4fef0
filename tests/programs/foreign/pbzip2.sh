# needs: pbzip2
# Parallel bzip2: a reader, four compressors and a writer are threads; busybox unpacks what they made.
PATH=$1
seq 1 60000 > numbers; sha256sum < numbers
"$2/pbzip2" -p4 -b1 -k -f numbers; sha256sum < numbers.bz2; bunzip2 -c numbers.bz2 | sha256sum
"$2/pbzip2" -p4 -d -c numbers.bz2 | sha256sum
"$2/pbzip2" -p3 -b1 -c < numbers | bunzip2 -c | sha256sum
rm numbers numbers.bz2
