#!/bin/sh
# needs: mutt
. "$(dirname "$0")/common.sh"

user=$(echo "$ADDRESS" | sed 's/@/%40/')
cat >"$DIR/rc" <<END
set from="$ADDRESS"
set use_from=yes
set envelope_from=yes
set hostname="example.test"
set smtp_url="smtps://$user@$HOST:$SUBMISSIONS/"
set smtp_pass="$PASSWORD"
set imap_pass="$PASSWORD"
set folder="imaps://$user@$HOST:$IMAPS/"
set spoolfile="+INBOX"
set record="+Sent"
set ssl_force_tls=yes
set certificate_file="$CA"
set ssl_ca_certificates_file="$CA"
set header_cache=
set confirmcreate=no
set confirmappend=no
set copy=yes
set quit=yes
set delete=yes
set sleep_time=0
END

send() {
    echo "Written with mutt." | mutt -n -F "$DIR/rc" -s "$1" -- "$ADDRESS"
}

# Mutt wants a terminal to read mail; script(1) lends it one.
read_mail() {
    TERM=xterm timeout 60 script -qefc "mutt -n -F '$DIR/rc' -e 'push \"$1\"'" /dev/null
}

try "a mailbox for sent mail" curl -sS --cacert "$CA" -u "$ADDRESS:$PASSWORD" "imaps://$HOST:$IMAPS" -X "CREATE Sent"
try "sending" send "mutt one"
try "sending again" send "mutt two"
is "both arrived" "$(count INBOX)" 2
is "both were kept" "$(count Sent)" 2
try "reading" read_mail "<tag-pattern>~A<enter><tag-prefix><copy-message>$DIR/copied<enter><exit>"
is "both were read" "$(grep -c '^Written with mutt' "$DIR/copied")" 2
try "deleting" read_mail "<delete-pattern>~s one<enter><quit>"
is "one is left" "$(count INBOX)" 1
try "moving" read_mail "<tag-pattern>~A<enter><tag-prefix><save-message>=Sent<enter><quit>"
is "none is left" "$(count INBOX)" 0
is "it moved" "$(count Sent)" 3
done_
