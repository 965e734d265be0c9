#!/bin/sh
# needs: mbsync
. "$(dirname "$0")/common.sh"

mkdir -p "$DIR/mail"
cat >"$DIR/rc" <<END
IMAPAccount there
Host $HOST
Port $IMAPS
User $ADDRESS
Pass $PASSWORD
SSLType IMAPS
CertificateFile $CA
SystemCertificates no

IMAPStore far
Account there

MaildirStore near
Path $DIR/mail/
Inbox $DIR/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
END

sync() {
    mbsync -q -c "$DIR/rc" all
}

messages() {
    find "$DIR/mail/$1" -path '*/[cn]*/*' -type f 2>/dev/null | wc -l
}

post "mbsync one"
post "mbsync two"
try "the first sync" sync
is "both came" "$(messages INBOX)" 2
post "mbsync three"
try "a later sync" sync
is "the third came" "$(messages INBOX)" 3

mkdir -p "$DIR/mail/Drafts/cur" "$DIR/mail/Drafts/new" "$DIR/mail/Drafts/tmp"
letter "mbsync draft" >"$DIR/mail/Drafts/cur/1.1.here:2,DS"
try "a mailbox made here" sync
is "it is there" "$(count Drafts)" 1
first=$(grep -l 'mbsync one' "$DIR"/mail/INBOX/*/*)
rm "$first"
try "a message removed here" sync
is "it is gone there" "$(count INBOX)" 2
curl -sS --cacert "$CA" -u "$ADDRESS:$PASSWORD" "imaps://$HOST:$IMAPS/INBOX" -X 'STORE 1 +FLAGS (\Deleted \Flagged)' >"$DIR/out" 2>"$DIR/err" || fail "curl"
try "a message marked there" sync
is "it is gone here" "$(messages INBOX)" 1
is "and there" "$(count INBOX)" 1
try "nothing to do" sync
is "nothing was done" "$(messages INBOX) $(count INBOX) $(count Drafts)" "1 1 1"
done_
