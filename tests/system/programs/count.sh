# Prints a number about every 20 ms, ends by a line; no command that is another process
n=0
while ! read -t 0.02 line; do
	n=$((n + 1))
	echo $n
done
echo ok
