#!/bin/sh
# needs: fetchmail
. "$(dirname "$0")/common.sh"

for protocol in POP3 IMAP; do
    if [ "$protocol" = POP3 ]; then implicit=$POP3S start=$POP3; else implicit=$IMAPS start=$IMAP; fi
    for tls in implicit start; do
        if [ "$tls" = implicit ]; then options="port $implicit"; ssl="ssl"; else options="port $start"; ssl="sslproto TLS1.2+"; fi
        rm -f "$DIR/got" "$DIR/.fetchids"
        cat >"$DIR/rc" <<END
set no bouncemail
poll $HOST protocol $protocol $options
    user "$ADDRESS" password "$PASSWORD"
    $ssl sslcertck sslcertfile "$CA"
    mda "cat >>$DIR/got"
END
        chmod 600 "$DIR/rc"
        post "fetchmail $protocol $tls one"
        post "fetchmail $protocol $tls two"
        try "$protocol, TLS $tls" humbly fetchmail -f "$DIR/rc" --nosyslog
        is "$protocol, TLS $tls: both came" "$(grep -c '^A letter: fetchmail' "$DIR/got")" 2
        is "$protocol, TLS $tls: none is left" "$(count INBOX)" 0
    done
done
done_
