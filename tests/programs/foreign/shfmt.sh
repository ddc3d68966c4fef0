# needs: shfmt
# shfmt, a static program in Go: the threads and the collector of its runtime, files, pipes, errors.
export PATH=$1; shfmt=$2/shfmt; export GOMAXPROCS=3
"$shfmt" --version
printf 'if true;then\necho  a |  cat\nfi\nf(){ echo "$1" ;}\n' | "$shfmt" -i 2
mkdir d
for n in $(seq 20); do
    for line in $(seq 40); do printf 'case $x in a)  echo %s ;;\n b) echo %s;; esac\n' $n $line; done > d/$n.sh
done
"$shfmt" -l d | sort -t / -k 2 -n | tail -n 3
"$shfmt" -w d && cat d/*.sh | sha256sum
"$shfmt" -l d; echo "again: $?"
cat d/*.sh | "$shfmt" -mn | wc -c
echo 'echo "$((1 + 2))"' | "$shfmt" -tojson | tr -d '\t\n ' | cut -c 1-120
GOGC=5 GODEBUG=madvdontneed=1 "$shfmt" -d d/7.sh && echo "no difference"
echo 'if x' | "$shfmt"; echo "status $?"
"$shfmt" nowhere; echo "status $?"
rm -r d
