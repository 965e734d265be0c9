#!/bin/sh
# needs: getmail
. "$(dirname "$0")/common.sh"

for protocol in POP3 IMAP; do
    if [ "$protocol" = POP3 ]; then port=$POP3S; else port=$IMAPS; fi
    mkdir -p "$DIR/$protocol/cur" "$DIR/$protocol/new" "$DIR/$protocol/tmp"
    cat >"$DIR/rc" <<END
[retriever]
type = Simple${protocol}SSLRetriever
server = $HOST
port = $port
username = $ADDRESS
password = $PASSWORD
ca_certs = $CA

[destination]
type = Maildir
path = $DIR/$protocol/

[options]
read_all = false
delete = false
verbose = 0
END
    chmod 600 "$DIR/rc"
    post "getmail $protocol one"
    try "$protocol" humbly getmail --getmaildir="$DIR" --rcfile=rc
    first=$(find "$DIR/$protocol/new" -type f | wc -l)
    is "$protocol: all came" "$first" "$(count INBOX)"
    post "getmail $protocol two"
    try "$protocol again" humbly getmail --getmaildir="$DIR" --rcfile=rc
    is "$protocol: only the new one came" "$(find "$DIR/$protocol/new" -type f | wc -l)" "$((first + 1))"
    is "$protocol: the letter is whole" "$(cat "$DIR/$protocol"/new/* | grep -c '^\.A line with a dot\.$')" "$((first + 1))"
done
done_
