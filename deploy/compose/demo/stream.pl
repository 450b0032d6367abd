# A desktop that somebody watches: 60 pictures a second of 20 kB, about 10 Mbit/s, to each client of port 5900.
use strict;
use warnings;
use IO::Socket::INET;

$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
my $door = IO::Socket::INET->new(LocalPort => 5900, Listen => 5, ReuseAddr => 1)
    or die "port 5900: $!\n";
my $picture = 'x' x 20_000;
while (my $client = $door->accept) {
    next if fork;
    $client->autoflush(1);
    while (print $client $picture) {
        select undef, undef, undef, 1 / 60;
    }
    exit;
}
