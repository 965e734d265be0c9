#!/bin/sh
# needs: curl
. "$(dirname "$0")/common.sh"

secure() {
    curl -sS --cacert "$CA" -u "$ADDRESS:$PASSWORD" "$@"
}

letter "curl one" >"$DIR/letter"
try "SMTP over TLS" secure --url "smtps://$HOST:$SUBMISSIONS/client" --mail-from "$ADDRESS" --mail-rcpt "$ADDRESS" --crlf --upload-file "$DIR/letter"
letter "curl two" >"$DIR/letter"
try "SMTP with STARTTLS" secure --ssl-reqd --url "smtp://$HOST:$SUBMISSION/client" --mail-from "$ADDRESS" --mail-rcpt "$ADDRESS" --crlf --upload-file "$DIR/letter"

try "IMAP over TLS" secure "imaps://$HOST:$IMAPS/INBOX;MAILINDEX=1"
see "the first letter" "A letter: curl one."
see "its dotted line" ".A line with a dot."
try "IMAP with STARTTLS" secure --ssl-reqd "imap://$HOST:$IMAP/INBOX;MAILINDEX=2;SECTION=HEADER.FIELDS%20(SUBJECT)"
see "the second subject" "Subject: curl two"
try "IMAP by UID" secure "imaps://$HOST:$IMAPS/INBOX;UID=1;SECTION=TEXT"
see "its text" "A letter: curl one."
try "IMAP SEARCH" secure "imaps://$HOST:$IMAPS/INBOX?SUBJECT%20two"
see "the one that was looked for" "* SEARCH 2"
try "IMAP LIST" secure "imaps://$HOST:$IMAPS/"
see "the inbox" "INBOX"
try "IMAP CREATE" secure "imaps://$HOST:$IMAPS" -X "CREATE Kept"
letter "curl three" | sed 's/$/\r/' >"$DIR/letter"
try "IMAP APPEND" secure --upload-file "$DIR/letter" "imaps://$HOST:$IMAPS/Kept"
is "it is there" "$(count Kept)" 1

try "POP3 over TLS" secure "pop3s://$HOST:$POP3S/"
is "two messages" "$(grep -c '^[12] ' "$DIR/out")" 2
try "POP3 with STLS" secure --ssl-reqd "pop3://$HOST:$POP3/2"
see "the second letter" "A letter: curl two."
see "its line is not stuffed any more" ".A line with a dot."
if grep -q '^\.\.A' "$DIR/out"; then fail "a dot too many"; fi
try "POP3 UIDL" secure "pop3s://$HOST:$POP3S/" -X UIDL
try "POP3 DELE" secure "pop3s://$HOST:$POP3S/1" -X DELE --head
is "one is left" "$(count INBOX)" 1
done_
