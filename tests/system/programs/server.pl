#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# server.pl - A fork server over pipes: each line of the input is answered by a child of its own
use strict;
use warnings;
use IO::Handle;
STDOUT->autoflush(1);
my @workers;
for my $n (1 .. 3) {
	pipe(my $ask, my $asked) or die;
	pipe(my $answered, my $answer) or die;
	my $pid = fork() // die;
	if (!$pid) {
		close($_) for $asked, $answered, map { ($_->{to}, $_->{from}) } @workers;
		$answer->autoflush(1);
		while (my $line = <$ask>) {
			chomp($line);
			# and one more, for this line alone
			my $child = fork() // die;
			exit(length($line) % 7) if !$child;
			waitpid($child, 0) == $child or die;
			print $answer "$n $line ", $? >> 8, " ", getppid(), "\n";
		}
		exit 0;
	}
	close($_) for $ask, $answer;
	$asked->autoflush(1);
	push @workers, { to => $asked, from => $answered, pid => $pid };
}
print "ready $$\n";
my $i = 0;
while (my $line = <STDIN>) {
	chomp($line);
	last if $line eq 'stop';
	my $w = $workers[$i++ % @workers];
	print { $w->{to} } "$line\n";
	my $from = $w->{from};
	print scalar(<$from>);
}
close($_->{to}) for @workers;
for my $w (@workers) {
	waitpid($w->{pid}, 0) == $w->{pid} && $? == 0 or die "worker $w->{pid}: $?";
}
print "ok\n";
