#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# segments.pl - Perl's own shmget, shmread and shmwrite: attached for the time of each only.  Counts, judges itself
use strict;
use warnings;
use IO::Handle;
use IPC::SysV qw(IPC_PRIVATE IPC_RMID);
STDOUT->autoflush(1);
my $size = 64;
my $id = shmget(IPC_PRIVATE, $size, 0600) // die "shmget: $!";
my @workers;
sub number {
	my ($at) = @_;
	my $text;
	shmread($id, $text, $at * 16, 16) or die "shmread: $!";
	return $text =~ /^(\d+)/ ? $1 : 0;
}
sub set {
	my ($at, $n) = @_;
	shmwrite($id, sprintf("%-16d", $n), $at * 16, 16) or die "shmwrite: $!";
}
set($_, 0) for 0 .. 3;
for my $n (1, 2) {
	pipe(my $ask, my $asked) or die;
	pipe(my $answered, my $answer) or die;
	my $pid = fork() // die;
	if (!$pid) {
		close($_) for $asked, $answered, map { ($_->{to}, $_->{from}) } @workers;
		$answer->autoflush(1);
		while (<$ask>) {
			set($n, number(0) * $n);
			print $answer "done\n";
		}
		exit 0;
	}
	close($_) for $ask, $answer;
	$asked->autoflush(1);
	push @workers, { to => $asked, from => $answered, pid => $pid };
}
my ($rounds, $in) = (0, '');
while (1) {
	set(0, ++$rounds);
	for my $w (@workers) {
		print { $w->{to} } "go\n";
		my $from = $w->{from};
		defined(scalar(<$from>)) or die "worker $w->{pid} has gone";
	}
	number($_) == $rounds * $_ or die "round $rounds: " . number($_) for 1, 2;
	print "$rounds\n";
	vec(my $set = '', fileno(STDIN), 1) = 1;
	last if select($set, undef, undef, 0.02);
}
close($_->{to}) for @workers;
for my $w (@workers) {
	waitpid($w->{pid}, 0) == $w->{pid} && $? == 0 or die "worker $w->{pid}: $?";
}
shmctl($id, IPC_RMID, 0) or die "shmctl: $!";
!shmread($id, my $text, 0, 1) or die "it is still there";
print "ok\n";
