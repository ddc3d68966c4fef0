# needs: bash
# GNU bash: pipelines, jobs, traps, arrays, arithmetic.
export PATH=$1; exec "$2/bash" --norc << 'END'
set -o pipefail
sum=0; for ((i = 1; i <= 2000; i++)); do ((sum += i * i % 7)); done; echo "sum $sum"
declare -A count; for word in a b a c b a; do ((count[$word]++)); done
for key in a b c; do echo "$key ${count[$key]}"; done
seq() { local i; for ((i = $1; i <= $2; i++)); do echo $i; done; }
seq 1 500 | while read -r n; do ((n % 50)) || echo "line $n"; done | { mapfile -t all; echo "${#all[@]} lines, last ${all[-1]}"; }
for i in 1 2 3 4 5 6; do (x=0; for ((k = 0; k < 200 * i; k++)); do ((x += k)); done; echo $x > part.$i) & done; wait
for i in 1 2 3 4 5 6; do read -r x < part.$i; echo "part $i: $x"; done; rm part.*
trap 'echo "got USR1"' USR1; kill -USR1 $$; 
(trap 'echo child ends; exit 3' TERM; kill -TERM $BASHPID; :); echo "status $?"
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
echo hello >&"${UPPER[1]}"; read -r back <&"${UPPER[0]}"; echo "$back"; eval "exec ${UPPER[1]}>&-"; wait "$UPPER_PID"
diff() { [[ $(< "$1") == "$(< "$2")" ]] && echo same || echo different; }
diff <(seq 1 100) <(seq 1 100); diff <(seq 1 100) <(seq 1 99)
text=$(printf '%s\n' {z..a}); [[ $text =~ m.l ]] && echo "match ${BASH_REMATCH[0]//$'\n'/,}"
sleep 0.05 & sleep 0.01; jobs -r | wc -c > /dev/null 2>&1; wait; echo "exit by pipe: $(false | true; echo $?)"
END
