#!/usr/bin/perl
# A form as Perl programs read it without any module: GET shows what was asked, POST redirects to there.
use strict;
use warnings;

my $form = $ENV{QUERY_STRING};
read(STDIN, $form, $ENV{CONTENT_LENGTH}) if $ENV{REQUEST_METHOD} eq "POST";
my %field = map { s/\+/ /g; s/%([0-9A-Fa-f]{2})/chr hex $1/ge; $_ } map { /^([^=]*)=?(.*)$/ } split /&/, $form;
if ($ENV{REQUEST_METHOD} eq "POST") {
    print "Location: $ENV{SCRIPT_NAME}/thanks?name=$field{name}\n\n";
    exit;
}
warn "no name was given\n" unless $field{name};
print "Content-Type: text/plain\n\n$ENV{PATH_INFO} $field{name}\n";
