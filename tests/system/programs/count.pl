# Computes, prints a number about every 20 ms, ends by a line
use strict;
$| = 1;
my ($n, %seen) = (0);
for (;;) {
	my $in = '';
	vec($in, 0, 1) = 1;
	last if select($in, undef, undef, 0.02);
	$n++;
	$seen{$_ % 1000} .= chr(65 + $_ % 26) for $n .. $n + 500;
	%seen = () if $n % 50 == 0;
	print "$n\n";
}
<STDIN>;
print "ok\n";
