#!/bin/bash
# Brings up a release build to be measured, with many users and an empty Maildir for each.
# usage: hikyaku.sh std|smol start DIR     prints the ports and the pid as one line of JSON
#        hikyaku.sh std|smol stop DIR
# Ports on loopback: SMTP 13025, LMTP 13024, IMAP 13143, POP3 13110; with TLS from the start: submission 13465, IMAP 13993, POP3 13995.
# Users user0001@bench.test .., password `secret`, in DIR/mail/userNNNN/Maildir. DIR/pid is the server, DIR/log what it says.
# Variables: BENCH_USERS (1000), BENCH_PASS, BENCH_DOMAIN; HIKYAKU (a binary to run instead of building one), HIKYAKU_LOG (info);
# BENCH_SINK (a port of this host that all mail for others is relayed to, from anybody here).
# Durability is the default, and so is everything else but limits of connections and logins without TLS.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
USERS=${BENCH_USERS:-1000} PASS=${BENCH_PASS:-secret} DOMAIN=${BENCH_DOMAIN:-bench.test}
case ${1:-} in
std) NAME=hikyaku PACKAGE=hikyaku-std ;;
smol) NAME=hikyaku-smol PACKAGE=hikyaku-smol ;;
*) sed -n '2,8p' "$0"; exit 2 ;;
esac

configure() { # DIR
    relay=
    [ -z "${BENCH_SINK:-}" ] ||
        relay="relay: (clients: [\"127.0.0.0/8\"]), outgoing: (routes: [(domain: \"*\", host: \"[127.0.0.1]\", port: $BENCH_SINK)]),"
    # A server that root starts has to be told that it stays root.
    [ "$(id -u)" -ne 0 ] || relay="$relay user: \"root\","
    cat >"$1/hikyaku.ron" <<RON
(
    domains: ["$DOMAIN"],
    store: "$1",
    maildirs: "mail/{local}/Maildir",
    certificates: [(chain: "$1/tls.crt", key: "$1/tls.key")],
    plaintext_logins: true,
    listen: [
        (on: "127.0.0.1:13025", speak: Smtp),
        (on: "127.0.0.1:13024", speak: Lmtp),
        (on: "127.0.0.1:13143", speak: Imap),
        (on: "127.0.0.1:13110", speak: Pop3),
        (on: "127.0.0.1:13465", speak: Submission, tls: Implicit),
        (on: "127.0.0.1:13993", speak: Imap, tls: Implicit),
        (on: "127.0.0.1:13995", speak: Pop3, tls: Implicit),
    ],
    limits: (connections: 20000, connections_per_address: 20000),
    log: (level: "${HIKYAKU_LOG:-info}"),
    $relay
)
RON
    [ -e "$1/tls.key" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
        -keyout "$1/tls.key" -out "$1/tls.crt" 2>/dev/null
    if [ ! -e "$1/accounts.ron" ]; then
        # One salted SHA-1 for all: what is measured is mail, not the price of passwords.
        hash=$(python3 -c 'import base64, hashlib, sys; s = b"benchmrk"; print("{SSHA}" + base64.b64encode(hashlib.sha1(sys.argv[1].encode() + s).digest() + s).decode())' "$PASS")
        seq -f "user%04.0f@$DOMAIN $hash" 1 "$USERS" | "$BINARY" account add --stdin --hashed --config "$1/hikyaku.ron" >&2
    fi
    for user in $(seq -f 'user%04.0f' 1 "$USERS"); do
        [ -d "$1/mail/$user/Maildir" ] || mkdir -p "$1/mail/$user/Maildir"/{cur,new,tmp}
    done
}

wait_port() { # PORT...: until each answers, 30 s at most
    for port in "$@"; do
        n=0
        until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
            n=$((n + 1))
            [ $n -lt 300 ] || { echo "port $port does not answer" >&2; tail -n 5 "$DIR/log" >&2; return 1; }
            sleep 0.1
        done
    done
}

case ${2:-} in
start)
    DIR=$(mkdir -p "$3" && realpath "$3")
    if [ -e "$DIR/pid" ] && kill -0 "$(cat "$DIR/pid")" 2>/dev/null; then echo "already running" >&2; exit 1; fi
    if [ -z "${HIKYAKU:-}" ]; then
        (cd "$ROOT" && cargo build --quiet --release -p "$PACKAGE") >&2
        BINARY=${CARGO_TARGET_DIR:-$ROOT/target}/release/$NAME
    else
        BINARY=$HIKYAKU
    fi
    configure "$DIR"
    setsid "$BINARY" serve --config "$DIR/hikyaku.ron" </dev/null >>"$DIR/log" 2>&1 &
    echo $! >"$DIR/pid"
    wait_port 13025 13024 13143 13110 13465 13993 13995
    echo "{\"peer\":\"hikyaku-$1\",\"pid\":$(cat "$DIR/pid"),\"smtp\":13025,\"lmtp\":13024,\"imap\":13143,\"pop3\":13110,\"smtps\":13465,\"imaps\":13993,\"pop3s\":13995,\"mail\":\"$DIR/mail\"}" ;;
stop)
    [ -e "$3/pid" ] || exit 0
    pid=$(cat "$3/pid")
    kill "$pid" 2>/dev/null || true
    n=0
    while kill -0 "$pid" 2>/dev/null && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$3/pid" ;;
*) sed -n '2,8p' "$0"; exit 2 ;;
esac
