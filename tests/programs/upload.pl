#!/usr/bin/perl
# A form with a file, as Perl programs read it by CGI.pm; and a cookie.
use strict;
use warnings;
use CGI;
use Digest::MD5;

my $form = CGI->new;
my $visits = ($form->cookie("visits") || 0) + 1;
print $form->header(-type => "text/plain", -charset => "utf-8", -cookie => $form->cookie("visits", $visits));
print "visit $visits\n";
print "$_ ", join(", ", $form->multi_param($_)), "\n" for sort $form->multi_param;
if (my $file = $form->upload("file")) {
    print "file ", Digest::MD5->new->addfile($file)->hexdigest, "\n";
}
print "at ", $form->url(-path_info => 1, -absolute => 1), "\n";
