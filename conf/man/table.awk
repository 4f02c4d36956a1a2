# SPDX-License-Identifier: MIT
# table.awk - A table of the sources (common/wire.def, proxy/image/reasons.def) as scdoc
#
#	awk -f table.awk FILE.def
#
# A row is WIRE_MSG(...) or REASON(...), which may go on in lines that begin with white space, and
# a comment that says what it is for.  A comment that stands by itself begins a section.  A row
# without a comment is an error: whoever adds one says what it means.

# Text as scdoc shows it
function plain(text)
{
	gsub(/\\"/, "\"", text)
	gsub(/[\\*_]/, "\\\\&", text)
	return text
}

function sentence(text)
{
	if (text !~ /^[a-z]+\./)		# a file's name
		text = toupper(substr(text, 1, 1)) substr(text, 2)
	return text (text ~ /[.?!]$/ ? "" : ".")
}

# WIRE_MSG(1, HELLO, hello, LINK, FIELD(u32, newest) FIELD(...))
function message(args, about,	cell, fields, n, i, one)
{
	split(args, cell, /,[ \t]*/)
	n = split(args, fields, "FIELD")
	print "*" cell[2] "* (" cell[1] ", " cell[4] ")"
	for (i = 2; i <= n; i++) {
		sub(/^[A-Z_]*\(/, "", fields[i])
		sub(/\).*/, "", fields[i])
		split(fields[i], one, /,[ \t]*/)
		printf "%s%s _%s_", (i == 2 ? "\t" : ", "), one[1], plain(one[2])
	}
	# a line after "++" belongs to the same text, and isn't indented again
	printf "%s", (n > 1 ? "++\n" : "\t")
	while (match(about, /@[a-z_]+/))
		about = substr(about, 1, RSTART - 1) "<" substr(about, RSTART + 1, RLENGTH - 1) ">" \
			substr(about, RSTART + RLENGTH)
	about = plain(sentence(about))
	gsub(/[<>]/, "_", about)
	print about "\n"
}

# REASON(TERMINAL, false, "redirect it")
function reason(args, about,	cell, advice)
{
	split(args, cell, /,[ \t]*/)
	advice = args
	sub(/^[^"]*"/, "", advice)
	sub(/"[^"]*$/, "", advice)
	print "*E_" plain(cell[1]) "*" (cell[2] == "true" ? " (only a warning)" : "")
	print "\t" plain(sentence(about (advice == "" ? "" : "; " advice))) "\n"
}

function row_ends(	about, head)
{
	if (row == "")
		return
	if (!match(row, /\/\*.*\*\//)) {
		print FILENAME ": say in a comment what this row is for: " row >"/dev/stderr"
		failed = 1
	} else {
		about = substr(row, RSTART + 2, RLENGTH - 4)
		gsub(/^[ \t]+|[ \t]+$/, "", about)
		row = substr(row, 1, RSTART - 1)
	}
	head = row
	sub(/\(.*/, "", head)
	sub(/^[A-Z_]*\([ \t]*/, "", row)
	sub(/\)[ \t]*$/, "", row)
	rows++
	if (head == "WIRE_MSG")
		message(row, about)
	else
		reason(row, about)
	row = ""
}

/^(WIRE_MSG|REASON)\(/ {
	row_ends()
	row = $0
	next
}
row != "" && /^[ \t]+[^ \t]/ {
	row = row " " $0
	next
}
{
	row_ends()
}
/^\/\* clang-format/ {
	tables = 1
	next
}
tables && /^\/\*.*\*\/$/ {
	gsub(/^\/\*[ -]*|[ -]*\*\/$/, "")
	print "## " toupper(substr($0, 1, 1)) substr($0, 2) "\n"
}
END {
	row_ends()
	exit failed || !rows
}
