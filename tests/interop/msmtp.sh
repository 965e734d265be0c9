#!/bin/sh
# needs: msmtp
. "$(dirname "$0")/common.sh"

cat >"$DIR/rc" <<END
defaults
host $HOST
tls on
tls_trust_file $CA
auth plain
user $ADDRESS
password $PASSWORD
from $ADDRESS

account implicit
port $SUBMISSIONS
tls_starttls off

account start
port $SUBMISSION
tls_starttls on

account login : start
auth login
END
chmod 600 "$DIR/rc"

send() {
    letter "msmtp $1" | msmtp -C "$DIR/rc" -a "$1" "$ADDRESS"
}

try "over TLS" send implicit
try "with STARTTLS" send start
try "with LOGIN" send login
try "the server's words" msmtp -C "$DIR/rc" -a start --serverinfo
see "its extensions" "SIZE"
is "all arrived" "$(count INBOX)" 3
done_
