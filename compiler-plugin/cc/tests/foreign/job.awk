# Words, their counts, sums, and all that text can be put through.
function fact(n) { return n < 2 ? 1 : n * fact(n - 1) }
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }
{ for (i = 1; i <= NF; i++) { w = tolower($i); gsub(/[^a-z_]/, "", w); if (length(w) > 2) count[w]++ } bytes += length($0) }
/^#/ { directives++ }
match($0, /"[^"]*"/) { quoted = quoted substr($0, RSTART, RLENGTH) }
END {
	for (w in count) if (count[w] > best || count[w] == best && w < word) { best = count[w]; word = w }
	n = 0; for (w in count) { n++; h = (h + length(w) * count[w]) % 100003 }
	printf "%d lines %d bytes %d words %s %d %d directives %d\n", NR, bytes, n, word, best, directives, h
	print length(quoted), substr(toupper(quoted), 1, 60)
	printf "%.10g %.10g %d %x %o %c %5.2f|%-8s|%8s\n", fact(25), sqrt(2) * exp(1) - atan2(1, -1), fib(17), 48879, 511, 65, 3.14159, "left", "right"
	s = "a:b:c:d"; k = split(s, part, ":"); for (i = k; i > 0; i--) r = r part[i]; print r, k, index(s, "c:")
	t = "x1y22z333"; while (match(t, /[0-9]+/)) { printf "%s,", substr(t, RSTART, RLENGTH); t = substr(t, RSTART + RLENGTH) } print ""
	"echo from a command" | getline line; print line
	print "sorted\nalpha\nbeta" | "sort"; close("sort")
	for (i = 0; i < 2000; i++) { m[i % 37, i % 11] = m[i % 37, i % 11] i; if (i % 3 == 0) delete m[i % 37, i % 11] } c = 0; for (x in m) c += length(m[x]); print c
}
