#!/bin/sh
# needs: swaks
. "$(dirname "$0")/common.sh"

try "plain SMTP" swaks --server "$HOST:$SMTP" --from carol@example.org --to "$ADDRESS" --h-Subject "swaks plain"
try "SMTP with STARTTLS" swaks --server "$HOST:$SMTP" --tls --tls-verify --tls-ca-path "$CA" --from carol@example.org --to "$ADDRESS"
try "pipelined" swaks --server "$HOST:$SMTP" --pipeline --from carol@example.org --to "$ADDRESS"
try "LMTP" swaks --server "$HOST:$LMTP" --protocol LMTP --from carol@example.org --to "$ADDRESS"
for mechanism in PLAIN LOGIN; do
    try "submission with STARTTLS and $mechanism" swaks --server "$HOST:$SUBMISSION" --tls --tls-verify --tls-ca-path "$CA" \
        --auth "$mechanism" --auth-user "$ADDRESS" --auth-password "$PASSWORD" --from "$ADDRESS" --to "$ADDRESS"
    try "submission over TLS and $mechanism" swaks --server "$HOST:$SUBMISSIONS" --tls-on-connect --tls-verify --tls-ca-path "$CA" \
        --auth "$mechanism" --auth-user "$ADDRESS" --auth-password "$PASSWORD" --from "$ADDRESS" --to "$ADDRESS"
done
is "all of them arrived" "$(count INBOX)" 8

if swaks --server "$HOST:$SMTP" --from carol@example.org --to nobody@example.test >"$DIR/out" 2>&1; then
    fail "a stranger got mail"
fi
see "nobody is refused" "550 5.1.1"
if swaks --server "$HOST:$SMTP" --from carol@example.org --to carol@example.org >"$DIR/out" 2>&1; then
    fail "an open relay"
fi
see "there is no relaying" "550 5.7.1"
done_
