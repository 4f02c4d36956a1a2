# SPDX-License-Identifier: MIT
# assemble.awk - A text with its generated parts
#
#	awk -v parts=DIRECTORY -v program=NAME -v version=V -v prefix=DIRECTORY -f assemble.awk TEMPLATE
#
# A line that is only @NAME@ becomes the file NAME of the directory.  In all lines @PROGRAM@,
# @VERSION@ and @PREFIX@ become what the command line says.

function must_have(path,	line, n)
{
	while ((n = (getline line <path)) > 0)
		print line
	close(path)
	if (n < 0) {
		print "assemble.awk: " FILENAME " wants " path >"/dev/stderr"
		exit 1
	}
}
{
	gsub(/@PROGRAM@/, program)
	gsub(/@VERSION@/, version)
	gsub(/@PREFIX@/, prefix)
}
/^@[a-z-]+@$/ {
	must_have(parts "/" substr($0, 2, length($0) - 2))
	next
}
{
	print
}
