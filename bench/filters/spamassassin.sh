#!/bin/sh
# The same by SpamAssassin's local rules, without its Bayes filter, in one
# process that is kept for all messages.
set -eu
exec perl -MMail::SpamAssassin -e '
	my $sa = Mail::SpamAssassin->new({ local_tests_only => 1, dont_copy_prefs => 1,
		userprefs_filename => "/dev/null", post_config_text => "use_bayes 0\nuse_auto_whitelist 0\n" });
	$sa->compile_now(0);
	while (my $name = <STDIN>) {
		chomp $name;
		open my $in, "<", $name or die "$name: $!";
		my @lines = <$in>;
		my $mail = $sa->parse(\@lines);
		my $status = $sa->check($mail);
		printf "%s %s\n", $name, $status->get_score;
		$status->finish; $mail->finish;
	}'
