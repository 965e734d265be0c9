# What all scripts share: running a program and judging it by its exit and its silence.

failures=0

# try WHAT COMMAND...: the command succeeds and warns of nothing. Its output is left in $DIR/out and $DIR/err.
try() {
    what=$1
    shift
    if ! "$@" >"$DIR/out" 2>"$DIR/err" </dev/null; then
        fail "$what: exit status of: $*"
    elif grep -qiE 'warn|error|discouraged|deprecat' "$DIR/err"; then
        fail "$what: warned"
    else
        echo "ok $what"
    fi
}

# see WHAT TEXT: the output of what was tried last holds the text.
see() {
    if grep -qF -- "$2" "$DIR/out"; then echo "ok $1"; else fail "$1: no \"$2\""; fi
}

# is WHAT HAVE WANT
is() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else fail "$1: $2 instead of $3"; fi
}

fail() {
    echo "fail $1"
    sed 's/^/    out: /' "$DIR/out" 2>/dev/null | tail -n 30
    sed 's/^/    err: /' "$DIR/err" 2>/dev/null | tail -n 30
    failures=$((failures + 1))
}

# letter SUBJECT: a message on standard output.
letter() {
    printf 'From: <%s>\nTo: <%s>\nSubject: %s\nDate: Tue, 24 Nov 2026 06:37:27 +0000\nMessage-ID: <%s.%s@example.test>\n\nA letter: %s.\n.A line with a dot.\n' \
        "$ADDRESS" "$ADDRESS" "$1" "$(echo "$1" | tr -d ' ')" "$$" "$1"
}

# post SUBJECT: puts a letter into the inbox.
post() {
    letter "$1" >"$DIR/letter"
    curl -sS --url "smtp://$HOST:$SMTP/client" --mail-from "$ADDRESS" --mail-rcpt "$ADDRESS" --crlf --upload-file "$DIR/letter" || fail "post $1"
}

# count MAILBOX: how many messages it holds.
count() {
    curl -sS --cacert "$CA" -u "$ADDRESS:$PASSWORD" "imaps://$HOST:$IMAPS" -X "STATUS $1 (MESSAGES)" | sed -n 's/.*MESSAGES \([0-9]*\).*/\1/p' | tr -d '\r'
}

# humbly COMMAND...: as somebody else than root, for programs that refuse to be root or warn of it. $DIR becomes theirs.
humbly() {
    if [ "$(id -u)" = 0 ]; then
        chown -R 65534:65534 "$DIR"
        HOME=$DIR setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
    else
        HOME=$DIR "$@"
    fi
}

# done_: the verdict.
done_() {
    [ "$failures" = 0 ]
}
