# What a shell user does, by busybox alone: `sh busybox.sh TOOLS`, in an empty directory. TOOLS is
# the directory of busybox's links, the only one on PATH.
#
# The output is the same, byte for byte, on every system. What must differ is taken out here, by
# name: process ids (PID, SHELL), dates and sizes of /proc's files, sizes of directories, owners of
# new files, the folders above the empty one, and which other files /proc has.
PATH=$1
export PATH
LC_ALL=C
export LC_ALL
umask 022

title() { echo "== $*"; }

title variables and expansion
name=world
echo "hello $name" 'single $name' ${#name} ${name%ld} ${name#w} ${none:-default} ${name:+set}
echo "$((2 + 3 * 4)) $((7 / 2)) $((7 % 3)) $((1 << 10)) $((0x1f & 0xf)) $((5 > 3 && 2 < 1))"
set -- one 'two words' three
echo "$# [$1] [$2] [$*]"
shift
for word in "$@"; do echo "word: $word"; done
echo *.none "$(echo substituted | tr a-z A-Z)" "`expr 6 \* 7`"

title control flow
i=0
while [ $i -lt 5 ]; do
    i=$((i + 1))
    [ $i -eq 2 ] && continue
    [ $i -eq 5 ] && break
    echo "turn $i"
done
until [ $i -le 3 ]; do i=$((i - 1)); done
echo "i is $i"
case file.tar.gz in
*.zip) echo zip ;;
*.tar | *.tar.gz) echo tar ;;
*) echo other ;;
esac
fact() {
    [ $1 -le 1 ] && { echo 1; return; }
    echo $(($1 * $(fact $(($1 - 1)))))
}
echo "10! = $(fact 10)"
if false; then echo no; elif true; then echo elif; fi
(exit 3) || echo "status $?"
! true; echo "negated $?"
true | false; echo "pipeline $?"

title here-documents
cat << END
expanded: $name $((1 + 1))
END
cat << 'END'
not expanded: $name
END
cat <<- END
	tabs are stripped
	END
sed 's/^/> /' << END
line one
line two
END

title redirections
echo first > file
echo second >> file
cat < file
cat file missing > both 2>&1
cat both
{ echo out; echo err >&2; } 2> errors > output
echo "output: $(cat output), errors: $(cat errors)"
exec 3> third
echo "to three" >&3
exec 3>&-
cat third
exec 4< file
read line <&4
echo "read: $line"
read line <&4
echo "read: $line"
exec 4<&-
echo "no new line" | while read -r text; do echo "got $text"; done
set -C
echo again 2> /dev/null > file || echo "not overwritten"
set +C
> empty
wc -c empty

title pipes
seq 1 1000 | awk '{ s += $1 } END { print s }'
seq 1 100 | grep 7 | sort -rn | head -n 3
printf 'b\na\nc\na\n' | sort | uniq -c | awk '{ print $1, $2 }'
echo 'a:b:c' | cut -d : -f 2
yes | head -n 3
seq 5 | tee copy | tail -n 2
cat copy | xargs echo numbers
seq 3 | xargs -n 1 echo each
echo abc | rev
seq 1 10 | paste - - - - -
seq 1 200000 | tail -n 1
dd if=/dev/zero bs=1000 count=300 2> /dev/null | wc -c
seq 1 20000 | md5sum

title files and directories
mkdir -p tree/a/b tree/c
touch tree/a/one tree/a/b/two tree/c/three
echo data > tree/a/b/data
ln -s ../a tree/c/link
ln -s nowhere tree/dangling
find tree | sort
find tree -type d | sort
find tree -type l | sort
find tree -name 't*' -exec echo found {} \; | sort
find tree -type f -size +0
ls tree tree/a
ls -a tree/c
ls -F tree
readlink tree/c/link
cat tree/c/link/b/data
[ -L tree/dangling ] && [ ! -e tree/dangling ] && echo "dangling"
cp -r tree copy-of-tree
diff -r tree copy-of-tree && echo "same trees"
mv copy-of-tree/a/one copy-of-tree/renamed
diff -r tree/a copy-of-tree/a
find copy-of-tree -depth | sort -r | head -n 2
rm -r copy-of-tree
[ -d copy-of-tree ] || echo "gone"
stat -c '%a %s %F %n' file tree/dangling
stat -c '%a %F %n' tree
chmod 640 file
stat -c '%a %A' file
ls -l file tree/dangling | awk '{ print $1, $2, $5, $9, $10, $11 }'
rmdir tree 2>&1
basename /x/y/z.txt .txt
dirname /x/y/z.txt
cd tree/c/link
pwd | sed 's|.*/tree|tree|'
pwd -P | sed 's|.*/tree|tree|'
cd ../..
pwd | sed 's|.*/tree|tree|'
cd ..

title test
[ -f file ] && echo "a file"
[ -d tree ] && echo "a directory"
[ -s empty ] || echo "empty"
[ -x file ] || echo "not executable"
[ abc = abc ] && [ abc != abd ] && [ 5 -gt 3 ] && [ -z "" ] && [ -n x ] && echo "comparisons"
[ file -nt /nonexistent ] && echo "newer"
[ 1 -eq 1 -a 2 -eq 3 ] || echo "and"
[ -t 0 ] || echo "no terminal"
[ -e /dev/null ] && [ -c /dev/null ] && echo "a device"

title text tools
cat > text << END
The quick brown fox
jumps over the lazy dog
THE END
fox again
END
grep fox text
grep -c the text
grep -in the text
grep -v o text
grep -E '^(The|fox)' text
grep -o 'o[a-z]' text
grep -q cat text || echo "no cat"
sed 's/o/0/g' text
sed -n '2,3p' text
sed '/END/d; s/\(fox\) \(again\)/\2 \1/' text
sed -e '1i\' -e 'before' -e '$a\' -e 'after' text
tr 'a-z' 'A-Z' < text
tr -d aeiou < text
tr -s 'o ' < text
wc text
head -n 2 text
tail -n +3 text
cut -c 1-5 text
sort text
sort -k 2 text
awk '{ print NR ": " $NF }' text
awk '{ for (i = 1; i <= NF; i++) count[tolower($i)]++ }
     END { for (w in count) print w, count[w] }' text | sort
awk 'BEGIN { printf "%5.2f|%-6s|%06d|%x\n", 3.14159, "ab", 42, 255 }'
awk -F : '{ print $2 + $3 }' << END
a:1:2
b:30:40
END
awk 'function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2) } BEGIN { print f(15) }'
printf '%s %d %x %o %c|%5s|%-5s|\n' text 42 255 8 c ab cd
fold -w 10 text | head -n 4
nl text
tac copy
expand -t 4 << END
a	b
END
od -c << END
AZ09
END
printf '\1\2\377' | hexdump -C
cmp file text || echo "they differ"
diff -u file text | sed -e 1,2d
expr length hello + 1
expr abcdef : 'abc\(.*\)'

title archives and sums
tar cf tree.tar tree
tar tf tree.tar | sort
mkdir extracted
tar xf tree.tar -C extracted
diff -r tree extracted/tree && echo "unpacked the same"
gzip -c text > text.gz
gunzip -c text.gz | cmp - text && echo "gzip and back"
bzip2 -c text | bunzip2 -c | cmp - text && echo "bzip2 and back"
tar czf tree.tgz tree && tar tzf tree.tgz | wc -l
find tree | sort | cpio -o -H newc 2> /dev/null | cpio -t 2> /dev/null | sort | head -n 3
md5sum text
sha1sum text
sha256sum text
sha512sum text | cut -c 1-32
echo text > sums.in
sha256sum sums.in > sums
sha256sum -c sums
base64 text | head -n 1
base64 text | base64 -d | cmp - text && echo "base64 and back"

title ten megabytes
seq 1 20000 > part
for i in 0 1 2 3 4 5 6 7 8 9; do
    for k in 0 1 2 3 4 5 6 7 8 9; do
        echo "$i$k"
        cat part
    done
done | head -c 10485760 > big
wc -c big
sha256sum big
tail -c 20 big
dd if=big bs=65536 skip=100 count=1 2> /dev/null | sha256sum
cp big copy
cmp big copy && echo "copied"
rm big copy

title processes
sh -c 'exit 7'
echo "status $?"
sh -c 'kill -TERM $$'
echo "status $?"
(sleep 0.05; echo "in the background") &
wait $!
echo "waited: $?"
for n in 3 1 2; do
    (until [ -e turn-$n ]; do sleep 0.01; done; echo "job $n"; : > turn-$((n + 1))) &
done
: > turn-1
wait
rm turn-1 turn-2 turn-3 turn-4
(exit 5) &
wait $!
echo "background status $?"
sleep 100 &
kill $!
# The shell says that it was, unless it has noticed before it waits.
wait $! 2> /dev/null
echo "killed status $?"
sh -c 'echo $$' > pid-of-child
[ "$(cat pid-of-child)" -gt 1 ] && [ "$(cat pid-of-child)" != $$ ] && echo "another pid"
timeout 0.2 sleep 100
echo "timeout status $?"
env -i A=1 "$PATH/env"
env NAME=value sh -c 'echo $NAME'
sh -c 'echo zero=$0 one=$1' name argument
echo 'echo script $1; exit 4' > script
sh script here
echo "script status $?"
printf '#!%s/sh\necho "by its interpreter: $1"\n' "$PATH" > program
chmod 755 program
./program here
./missing-program 2> /dev/null
echo "missing status $?"
./text 2> /dev/null
echo "not executable status $?"
ps -o pid,comm > list
head -n 1 list
awk '$2 == "ps"' list | wc -l
sleep 987 &
sleeper=$!
# Until it has become another program and waits: before, it is a copy of this shell.
for i in $(seq 1000); do
    tr '\0' ' ' < /proc/$sleeper/cmdline | grep -q '^sleep' \
        && grep -q '^State:.S' /proc/$sleeper/status && break
    sleep 0.01
done
ps -o pid,ppid,args | sed "s/\\<$sleeper\\>/PID/; s/\\<$$\\>/SHELL/" \
    | awk '$3 == "sleep" && $4 == "987" { print $1, $2, $3, $4 }'
ps | awk '/sleep 987/ && !/awk/ { n++ } END { print n }'
grep -h -E '^(Name|State):' /proc/$sleeper/status
tr '\0' ' ' < /proc/$sleeper/cmdline
echo
kill -0 $sleeper && echo "alive"
kill -9 $sleeper
wait $sleeper 2> /dev/null
echo "status $?"
kill -0 $sleeper 2> /dev/null || echo "dead"
[ -d /proc/$sleeper ] || echo "not in /proc"

title traps
trap 'echo "got USR1"' USR1
kill -USR1 $$
trap - USR1
(trap 'echo leaving' EXIT; echo working)
sh -c 'trap "echo terminated; exit 9" TERM; kill -TERM $$; echo not reached'
echo "status $?"
trap '' INT
kill -INT $$
echo "ignored"
trap - INT
# Until it was noticed in the wait: the first may come before that begins.
sh -c 'trap "echo woken; trap : USR1" USR1
    (while sleep 0.1; do kill -USR1 $$; done) & signaller=$!
    sleep 100 & wait $!; echo "status $?"
    trap "" USR1; kill $signaller $!; wait 2> /dev/null'

title job lists and named pipes
mkfifo pipe && {
    (echo through the pipe > pipe) &
    cat pipe
    wait
}
(for i in 1 2 3; do echo $i; sleep 0.01; done) | while read n; do echo "line $n"; done

title proc
ls -l /proc | awk '$9 ~ /^(cmdline|cpuinfo|meminfo|stat|uptime|version)$/ { print $1, $2, $9 }'
ls -l /proc | awk '$9 == "self" { print $1, $2, $9, $10 }'
ls -ld /proc/self/ | awk '{ print $1 }'
ls -d /proc/1 /proc/self/fd /proc/self/exe
ls -l /proc/self/exe | sed 's|.*/||'
grep -c -E '^(MemTotal|MemFree|MemAvailable):' /proc/meminfo
grep -q processor /proc/cpuinfo && echo "processors"
cut -d ' ' -f 2 /proc/self/stat
cat /proc/self/comm
free | awk 'NR == 1 { print $1, $2, $3 }'
uname -s
[ "$(nproc)" -ge 1 ] && echo "a processor at least"

title dates
date -u -d @0 '+%Y-%m-%d %H:%M:%S'
date -u -d @1234567890 '+%A %d %B %Y'
[ "$(date +%s)" -gt 1600000000 ] && echo "the present"
touch -d '2001-02-03 04:05:06' dated
TZ=UTC stat -c '%Y' dated
find dated -mtime +1000

title done
