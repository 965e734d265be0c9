#!/bin/sh
# needs: unshare
# Everything on this machine that sends mail by /usr/sbin/sendmail, as an unprivileged user, while the server runs and while it does not. All of it happens in
# namespaces of its own, where /usr/sbin/sendmail is ours.
. "$(dirname "$0")/common.sh"

if [ -z "${INSIDE:-}" ] && ! unshare --mount --pid --fork mount -t tmpfs tmpfs /usr/sbin 2>/dev/null; then
    echo "skipped: namespaces need root"
    exit 0
fi
# With its first process, everything in the namespace ends.
[ -n "${INSIDE:-}" ] || exec unshare --mount --pid --fork --kill-child --mount-proc env INSIDE=1 "$0"

mkdir "$DIR/etc" "$DIR/home" "$DIR/store" "$DIR/bin"
mount -t tmpfs -o mode=755 tmpfs "$DIR/etc"
mkdir "$DIR/etc/upper" "$DIR/etc/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$DIR/etc/upper,workdir=$DIR/etc/work" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /usr/sbin
PATH=/usr/sbin:$PATH:$(git --exec-path 2>/dev/null)
for name in sendmail mailq newaliases; do
    touch "/usr/sbin/$name"
    mount --bind "$BIN" "/usr/sbin/$name"
done

mkdir -p /etc/hikyaku
echo 'carol: alice' >/etc/hikyaku/aliases
cat >/etc/hikyaku/hikyaku.ron <<END
(
    domains: ["example.org"],
    store: "$DIR/store",
    user: "daemon",
    aliases: ["/etc/hikyaku/aliases"],
    listen: [(on: "127.0.0.1:0", speak: Lmtp, tls: Never)],
    limits: (message: 1000000),
)
END
chown nobody "$DIR/home"
chown daemon "$DIR/store"
mail=$DIR/store/mail/example.org

serve() {
    "$BIN" serve </dev/null >>"$DIR/log" 2>&1 &
    server=$!
    waits=0
    until "$BIN" status >/dev/null 2>&1; do
        waits=$((waits + 1))
        if [ $waits -gt 300 ] || ! kill -0 $server 2>/dev/null; then
            fail "the server does not begin"
            cat "$DIR/log"
            exit 1
        fi
        sleep 0.1
    done
}

# user COMMAND...: as somebody who may do nothing, in a directory of their own.
user() {
    (cd "$DIR/home" && HOME=$DIR/home setpriv --reuid nobody --regid nogroup --clear-groups "$@")
}

# code WHAT WANT COMMAND...: the exit code.
code() {
    what=$1 want=$2
    shift 2
    user "$@" >"$DIR/out" 2>"$DIR/err" </dev/null
    is "$what" $? "$want"
}

# arrived SUBJECT [TEXT...]: a message with that subject comes to alice, once, and holds the texts.
arrived() {
    subject=$1 waits=0
    shift
    until found=$(grep -lr -e "^Subject: $subject\$" "$mail/alice/Maildir/new" 2>/dev/null); do
        waits=$((waits + 1))
        if [ $waits -gt 200 ]; then
            fail "$subject: does not arrive"
            tail -n 5 "$DIR/log"
            return
        fi
        sleep 0.1
    done
    is "$subject: once" "$(echo "$found" | wc -l)" 1
    for text; do
        if grep -qF -- "$text" "$found"; then echo "ok $subject: $text"; else
            fail "$subject: no \"$text\""
            sed 's/^/    /' "$found"
        fi
    done
}

printf 'set hostname=example.org\nset from=alice@example.org\nset envelope_from=yes\nset dsn_notify=failure,delay\nset dsn_return=hdrs\nset copy=no\n' >"$DIR/home/muttrc"
cat >"$DIR/home/faq.py" <<'END'
# As Python's own FAQ answers "How do I send mail from a Python script?" where there is sendmail.
import os
import sys
p = os.popen("/usr/sbin/sendmail -t -i", "w")
p.write("To: alice@example.org\n")
p.write("Subject: %s\n" % sys.argv[1])
p.write("\n")
p.write("Some text\n")
p.write(".\n")
p.write("some more text\n")
sys.exit(0 if p.close() is None else 1)
END
cat >"$DIR/home/message.py" <<'END'
import email.message
import subprocess
import sys
m = email.message.EmailMessage()
m["From"] = "Zoë <zoe@example.org>"
m["To"] = "Alice <alice@example.org>"
m["Bcc"] = "carol@example.org"
m["Subject"] = sys.argv[1]
m.set_content("Schöne Grüße\n" * 3, cte="8bit")
sent = subprocess.run(["/usr/sbin/sendmail", "-t", "-oi", "-f", "zoe@example.org"], input=m.as_bytes(), capture_output=True)
sys.stderr.buffer.write(sent.stderr)
sys.exit(sent.returncode)
END
cat >"$DIR/home/mail.php" <<'END'
<?php
$headers = ["From" => "Shop <shop@example.org>", "Reply-To" => "shop@example.org", "MIME-Version" => "1.0", "Content-Type" => "text/plain; charset=utf-8"];
exit(mail("alice@example.org", $argv[1], "Your order\r\n.\r\nwas sent.\r\n", $headers, "-fshop@example.org") ? 0 : 1);
END
cat >"$DIR/home/inetd.py" <<'END'
# What inetd does with a connection.
import socket
import subprocess
import sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
child = subprocess.Popen(["/usr/sbin/sendmail", "-bs"], stdin=server, stdout=server)
server.close()
client.settimeout(30)
sys.stdout.write(client.recv(1000).decode())
sys.exit(child.wait())
END
chmod a+r "$DIR"/home/*

cron() { printf 'From: root (Cron Daemon)\nTo: alice\nSubject: cron %s\nX-Cron-Env: <SHELL=/bin/sh>\n\nThe output.\n' "$1" | user /usr/sbin/sendmail -FCronDaemon -i -B8BITMIME -oem alice; }
cron_old() { printf 'To: alice\nSubject: old cron %s\n\nThe output.\n.\nAnd more.\n' "$1" | user /usr/sbin/sendmail -FCronDaemon -i -odi -oem -oi -t; }
with_mutt() { echo "Written with mutt." | user mutt -n -F "$DIR/home/muttrc" -s "mutt $1" -- alice@example.org; }
with_mailx() { echo "Written with mailx." | user s-nail -n -s "mailx $1" alice; }
with_git() {
    printf 'From 1234567890123456789012345678901234567890 Mon Sep 17 00:00:00 2001\nFrom: A U Thor <author@example.org>\nDate: Tue, 24 Nov 2026 12:00:00 +0000\nSubject: git %s\n\nA change.\n' "$1" >"$DIR/home/git-$1.patch"
    user git -c user.name=A -c user.email=a@example.org send-email --quiet --sendmail-cmd='/usr/sbin/sendmail -i' --confirm=never \
        --suppress-cc=all --no-validate --to alice@example.org "$DIR/home/git-$1.patch"
}
with_swaks() { user swaks --silent 1 --pipe '/usr/sbin/sendmail -bs' --from bob@example.org --to alice@example.org --h-Subject "swaks $1" --body 'Spoken.'; }

has() { command -v "$1" >/dev/null 2>&1; }
# The first in the path may be one that only root can run.
python=
for candidate in python3 /usr/bin/python3; do
    user "$candidate" -c pass 2>/dev/null && python=$candidate && break
done

# sends WHAT COMMAND...: as try, and counts.
sends() {
    count=$((count + 1))
    try "$@"
}

# all WHEN: every program sends a message.
all() {
    count=0
    sends "cron, $1" cron "$1"
    sends "an old cron, $1" cron_old "$1"
    if [ -n "$python" ]; then
        sends "Python's FAQ, $1" user "$python" "$DIR/home/faq.py" "python $1"
        sends "a message of Python, $1" user "$python" "$DIR/home/message.py" "python message $1"
    fi
    if has php; then sends "PHP's mail(), $1" user php -n "$DIR/home/mail.php" "php $1"; fi
    if has mutt; then sends "mutt, $1" with_mutt "$1"; fi
    if has s-nail; then sends "mailx, $1" with_mailx "$1"; fi
    if has git-send-email; then sends "git send-email, $1" with_git "$1"; fi
    if has swaks; then sends "swaks speaks, $1" with_swaks "$1"; fi
}

# all_arrived WHEN
all_arrived() {
    arrived "cron $1" 'Return-Path: <nobody@example.org>' 'From: root (Cron Daemon)' 'The output.' "(from uid 65534 nobody)"
    arrived "old cron $1" 'From: "CronDaemon" <nobody@example.org>' 'And more.'
    if [ -n "$python" ]; then
        arrived "python $1" 'some more text'
        arrived "python message $1" 'Return-Path: <zoe@example.org>' 'Schöne Grüße'
    fi
    if has php; then arrived "php $1" 'Return-Path: <shop@example.org>' 'From: Shop <shop@example.org>' 'was sent.'; fi
    if has mutt; then arrived "mutt $1" 'Return-Path: <alice@example.org>' 'Written with mutt.'; fi
    if has s-nail; then arrived "mailx $1" 'Written with mailx.'; fi
    if has git-send-email; then arrived "git $1" 'A change.'; fi
    if has swaks; then arrived "swaks $1" 'Return-Path: <bob@example.org>' 'Spoken.'; fi
    is "blind copies are not told of" "$(grep -rl '^Bcc:' "$mail" | wc -l)" 0
}

echo secret | "$BIN" account add alice@example.org >/dev/null || fail "an account"
serve
all up
all_arrived up
code "mailq is for those who may" 77 mailq
code "so is newaliases" 77 newaliases
code "nobody to send to" 64 sendmail -t
code "an unknown option" 64 sendmail -Z alice
code "no address" 67 sendmail 'a b@example.org'
code "no configuration" 78 sendmail -C /nonexistent alice
try "mailq" mailq
try "sendmail -bp" sendmail -bp
try "sendmail -q" sendmail -q
try "sendmail -q15m" sendmail -q15m
try "newaliases" newaliases
try "sendmail -bi" sendmail -bi
try "sendmail -bv" sendmail -bv carol
see "an alias is followed" "alice@example.org gets it"
if [ -n "$python" ]; then
    code "nobody over a network" 77 "$python" "$DIR/home/inetd.py"
    see "and is told so" "554 5.7.1"
fi
# Nobody can read what others leave, or list it.
code "the folder cannot be listed" 2 ls "$DIR/store/drop"

kill $server
wait $server
all down
is "all of it waits" "$(find "$DIR/store/drop" -type f | wc -l)" "$count"
sendmail -bp >/dev/null 2>&1
is "mailq without a server" $? 69
try "newaliases without a server" newaliases
serve
all_arrived down
is "nothing is left" "$(find "$DIR/store/drop" -type f | wc -l)" 0
kill $server
wait $server
done_
