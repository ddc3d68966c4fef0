# needs: zsh
# zsh: globbing, pipelines, background jobs, arithmetic in floating point.
export PATH=$1; exec "$2/zsh" -f << 'END'
mkdir -p d/{a,b}/{1,2}; for f in d/*/*; do print -r -- $f > $f/x$RANDOM; done
print -l d/**/(/on) ; print -r ${#${(f)"$(print -l d/**/*(.))"}} files; rm -r d
typeset -A h; for i in {1..300}; do (( h[$(( i % 7 ))] += i )); done; for k in ${(onk)h}; do print $k $h[$k]; done
float x=1; for i in {1..60}; do (( x *= 1.1 )); done; printf '%.6f\n' $x
for i in {1..5}; do { repeat $(( i * 50 )) { : }; print "job $i" > o$i } & done; wait; cat o1 o2 o3 o4 o5; rm o?
print -rl -- {1..50} | while read n; do (( n % 10 == 0 )) && print "n $n"; done
TRAPUSR1() { print caught }; kill -USR1 $$; ( exit 5 ); print status $?
print ${(j:,:)${(On)=:-3 10 2 33}} ${(U):-upper} ${${:-a/b/c.d}:t:r}
END
