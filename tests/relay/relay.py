#!/usr/bin/env python3
"""Mail between both runtimes of Hikyaku and other people's servers, in both directions; `run` beside this starts the peers and calls it.

Everything is judged by what lies in Maildirs on disk. `ok WHAT` and `fail WHAT` a line; the last one counts.
"""

import email
import email.policy
import os
import re
import smtplib
import socket
import subprocess
import sys
import threading
import time

DIR, BIN = os.environ["DIR"], os.environ["BIN"]
WAIT = float(os.environ.get("RELAY_WAIT", "90"))
OURS = {"std": "hikyaku", "smol": "hikyaku-smol"}
ADDRESS = {"std": "127.0.1.1", "smol": "127.0.1.2", "postfix": "127.0.1.3", "courier": "127.0.1.4", "exim": "127.0.1.5", "opensmtpd": "127.0.1.6"}
NO_TLS = {"std": "127.0.1.11", "smol": "127.0.1.12"}
ODD = "127.0.1.7"
USERS = [f"u{n:03}" for n in range(1, 201)] + ["postmaster", "relay", "grüße"]
BIG = b"".join(b"%070d\r\n" % n for n in range(20_000_000 // 72))

counts = {"ok": 0, "fail": 0}
lock = threading.Lock()


def check(what, good, seen=""):
    with lock:
        print(f"ok {what}" if good else f"fail {what}: {seen}", flush=True)
        counts["ok" if good else "fail"] += 1


def route(domain, **fields):
    return f'(domain: "{domain}", ' + ", ".join(f"{name}: {value}" for name, value in fields.items()) + ")"


def start(name, peers):
    """Configures one of our own and starts it."""
    home, ip = f"{DIR}/{name}", ADDRESS[name]
    os.makedirs(f"{home}/store", exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN=mx.{name}.test",
                    "-keyout", f"{home}/tls.key", "-out", f"{home}/tls.crt"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(f"{home}/tls.key", 0o600)
    with open(os.open(f"{home}/password", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write("secret")
    routes = [route("odd.test", tls="May")]
    for peer in peers:
        # Courier knows whole addresses only, and so do we.
        user = f"relay@{peer}.test" if peer in OURS or peer == "courier" else "relay"
        routes.append(route(f"{peer}.test", tls="Must"))
        routes.append(route(f"plain.{peer}.test", tls="Never"))
        routes.append(route(f"auth.{peer}.test", host=f'"mx.{peer}.test"', port="587", tls="Must",
                            login=f'Some((user: "{user}", password_file: "{home}/password"))'))
    with open(f"{home}/hikyaku.ron", "w", encoding="utf-8") as file:
        file.write(f"""(
    domains: ["{name}.test"],
    domain_aliases: {{"auth.{name}.test": "{name}.test", "plain.{name}.test": "{name}.test"}},
    hostname: "mx.{name}.test",
    store: "{home}/store",
    certificates: [(chain: "{home}/tls.crt", key: "{home}/tls.key")],
    listen: [
        (on: "{ip}:25", speak: Smtp),
        (on: "{ip}:587", speak: Submission),
        (on: "{NO_TLS[name]}:25", speak: Smtp, tls: Never),
    ],
    relay: (clients: ["127.0.0.0/8"]),
    outgoing: (loopback: true, source4: "{ip}", routes: [
        {", ".join(routes)}
    ]),
    resolver: (servers: ["127.0.0.53:53"]),
    queue: (retry: List([2])),
    limits: (connections_per_address: 1000),
)
""")
    # One hash for all: what is tried is mail, not the price of passwords.
    digest = subprocess.run(["openssl", "passwd", "-6", "secret"], check=True, capture_output=True, text=True).stdout.strip()
    binary = f"{BIN}/{OURS[name]}"
    subprocess.run([binary, "account", "add", "--stdin", "--hashed", "--config", f"{home}/hikyaku.ron"],
                   input="".join(f"{user}@{name}.test {digest}\n" for user in USERS), check=True, text=True, stdout=subprocess.DEVNULL)
    with open(f"{home}/log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([binary, "serve", "--config", f"{home}/hikyaku.ron"], stderr=log, stdout=log)
    for _ in range(300):
        try:
            socket.create_connection((ip, 25)).close()
            return server
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{name} does not answer: see {home}/log")


class Maildirs:
    """Which token lies in which Maildir. Files are read once."""

    def __init__(self, sites):
        self.sites, self.seen, self.found = sites, set(), {}

    def scan(self):
        for site in self.sites:
            top = f"{DIR}/{site}/store/mail" if site in OURS else f"{DIR}/{site}/mail"
            for place, _, files in os.walk(top):
                if os.path.basename(place) not in ("new", "cur"):
                    continue
                user = os.path.relpath(place, top).split("/")[1 if site in OURS else 0]
                for path in (f"{place}/{file}" for file in files):
                    if path in self.seen:
                        continue
                    self.seen.add(path)
                    with open(path, "rb") as file:
                        head = file.read(200_000)
                    for token in set(re.findall(rb"token-[a-z0-9-]+-end", head)):
                        self.found.setdefault((site, user, token.decode()), []).append(path)

    def get(self, site, user, token):
        return self.found.get((site, user, token), [])


def inject(site, sender, recipients, content, mail=(), rcpt=()):
    """Hands a message to a server as a client on its own host does. Who is put off because there are too many comes in another transaction."""
    while recipients:
        with smtplib.SMTP(ADDRESS[site], 25, "client.test", timeout=60) as smtp:
            smtp.ehlo()
            refused = smtp.sendmail(sender, recipients, content, [o for o in mail if smtp.has_extn(o.split("=")[0].replace("BODY", "8bitmime"))], rcpt)
        if any(code >= 500 for code, _ in refused.values()) or len(refused) == len(recipients):
            raise smtplib.SMTPRecipientsRefused(refused)
        recipients = list(refused)


def letter(sender, to, token, body):
    return (f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {token}\r\nMessage-ID: <{token}@client.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").encode() + body


def protocol(path):
    """What the last hop says it spoke, and the body."""
    with open(path, "rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.compat32)
    received = str((message.get_all("Received") or [""])[0])
    spoke = re.search(r"\bwith\s+((?:UTF8)?E?SMTPS?A?)\b", received, re.IGNORECASE)
    return spoke.group(1).upper() if spoke else received, message.get_payload(decode=True).replace(b"\r\n", b"\n")


TRIES = ["plain", "starttls", "auth", "eight", "utf8", "dsn", "big", "many", "unknown"]


def send(origin, target):
    """One way's messages; yields what must be seen: (label, function that says None for not yet, else (good, what was seen))."""
    for place, kind in enumerate(TRIES):
        token = f"token-{origin}-{target}-{kind}-end"
        label = f"{origin} -> {target}: {kind}"
        user, author = f"u{151 + place:03}", f"u{161 + place:03}"
        sender, domain = f"{author}@{origin}.test", f"{target}.test"
        body, users, mail, rcpt = b"Hello.\r\n.\r\n..\r\n", [user], [], []
        if kind == "plain":
            domain = "plain." + domain
        if kind == "auth":
            domain = "auth." + domain
            # A login of ours may not send in anybody's name.
            sender = f"relay@{target}.test" if target in OURS else sender
        if kind == "eight":
            body, mail = "Grüße aus 東京\r\n".encode(), ["BODY=8BITMIME"]
        if kind == "utf8":
            users, mail = ["grüße"], ["SMTPUTF8", "BODY=8BITMIME"]
        if kind == "dsn":
            rcpt = ["NOTIFY=SUCCESS,FAILURE"]
        if kind == "big":
            body = BIG
        if kind == "many":
            users = [f"u{n:03}" for n in range(1, 151)]
        if kind == "unknown":
            users = ["nobody"]
        recipients = [f"{u}@{domain}" for u in users]
        try:
            if kind == "utf8":
                with smtplib.SMTP(ADDRESS[origin], 25, "client.test", timeout=60) as smtp:
                    smtp.ehlo()
                    if not smtp.has_extn("smtputf8"):
                        check(f"{label} (not offered by {origin})", True)
                        continue
                    smtp.command_encoding = "utf-8"
                    smtp.sendmail(sender, recipients, letter(sender, "grüße@" + domain, token, body), mail)
            else:
                inject(origin, sender, recipients, letter(sender, recipients[0], token, body), mail, rcpt)
        except (OSError, smtplib.SMTPException) as error:
            check(f"{label}: not taken by {origin}", False, repr(error))
            continue

        def seen(maildirs, kind=kind, token=token, users=users, author=author, body=body):
            back = maildirs.get(origin, author, token)
            there = {u: maildirs.get(target, u, token) for u in users}
            missing = [u for u, paths in there.items() if not paths]
            if kind == "unknown":
                return (True, "") if back else None
            if kind == "utf8" and back:
                return True, ""
            if back and kind != "dsn":
                return False, f"came back: {back[0]}"
            if missing or (kind == "dsn" and not back):
                return None
            double = [u for u, paths in there.items() if len(paths) > 1]
            if double:
                return False, f"{len(double)} got it more than once"
            if kind == "dsn":
                with open(back[0], "rb") as file:
                    action = re.search(rb"^Action: *(\w+)", file.read(), re.MULTILINE | re.IGNORECASE)
                return bool(action) and action.group(1).lower() in (b"delivered", b"relayed", b"expanded"), back[0]
            spoke, content = protocol(there[users[0]][0])
            if kind == "plain" and not spoke.endswith("SMTP"):
                return False, spoke
            if kind == "starttls" and not spoke.endswith("SMTPS"):
                return False, spoke
            if kind == "auth" and not spoke.endswith("SMTPSA"):
                return False, spoke
            return content.rstrip(b"\n") == body.replace(b"\r\n", b"\n").rstrip(b"\n"), f"body differs: {there[users[0]][0]}"

        yield label, seen


class Odd:
    """A server at odd.test that misbehaves once for each client and mood, and then takes what comes."""

    def __init__(self):
        self.mood, self.taken = {}, {}
        listener = socket.create_server((ODD, 25), backlog=50)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            connection, (client, _) = listener.accept()
            threading.Thread(target=self.talk, args=(connection, client), daemon=True).start()

    def spent(self, client, phase):
        with lock:
            if self.mood.get(client) == phase:
                self.mood[client] = None
                return True
        return False

    def talk(self, connection, client):
        with connection, connection.makefile("rwb") as line:
            def say(text):
                line.write(text.encode() + b"\r\n")
                line.flush()

            if self.spent(client, "greeting"):
                return
            say("220 odd.test")
            while command := line.readline():
                verb = command[:4].upper().decode("ascii", "replace").strip()
                if self.spent(client, verb):
                    return
                if verb == "RCPT" and self.spent(client, "greylisting"):
                    say("451 4.7.1 come again")
                elif verb == "QUIT":
                    say("221 bye")
                    return
                elif verb == "DATA":
                    say("354 go on")
                    content = b""
                    while (text := line.readline()) not in (b".\r\n", b""):
                        content += text
                        if self.spent(client, "body"):
                            return
                    if not text or self.spent(client, "dot"):
                        return
                    with lock:
                        for token in set(re.findall(rb"token-[a-z0-9-]+-end", content)):
                            self.taken[token.decode()] = self.taken.get(token.decode(), 0) + 1
                    say("250 taken")
                    # So that the next message needs a greeting again.
                    return
                else:
                    say("250 fine")


def try_odd(odd, origin):
    for phase in ["none", "greylisting", "greeting", "EHLO", "MAIL", "RCPT", "DATA", "body", "dot"]:
        token = f"token-{origin}-odd-{phase.lower()}-end"
        with lock:
            odd.mood[ADDRESS[origin]] = phase
        try:
            inject(origin, f"u170@{origin}.test", ["somebody@odd.test"], letter(f"u170@{origin}.test", "somebody@odd.test", token, b"x\r\n" * 1000))
        except (OSError, smtplib.SMTPException) as error:
            check(f"{origin} -> odd: {phase}: not taken by {origin}", False, repr(error))
            continue
        until = time.monotonic() + 30
        while time.monotonic() < until and token not in odd.taken:
            time.sleep(0.1)
        came, happened = odd.taken.get(token, 0), phase == "none" or odd.mood[ADDRESS[origin]] is None
        check(f"{origin} -> odd: {phase}", came == 1 and happened, f"came {came} times, trouble was {'' if happened else 'not '}made")


def main():
    peers = sys.argv[1:]
    sites = list(OURS) + peers
    servers = [start(name, [site for site in sites if site != name]) for name in OURS]
    odd = Odd()
    threads = [threading.Thread(target=try_odd, args=(odd, name)) for name in OURS]
    for thread in threads:
        thread.start()
    maildirs, open_ends = Maildirs(sites), []
    pairs = [(a, b) for a in sites for b in sites if a != b and (a in OURS or b in OURS)]
    for origin, target in pairs:
        open_ends += send(origin, target)
    until = time.monotonic() + WAIT
    while open_ends and time.monotonic() < until:
        time.sleep(0.5)
        maildirs.scan()
        waiting = []
        for label, seen in open_ends:
            result = seen(maildirs)
            if result is None:
                waiting.append((label, seen))
            else:
                check(label, *result)
        open_ends = waiting
    for label, _ in open_ends:
        check(label, False, f"nothing after {WAIT:.0f} s")
    for thread in threads:
        thread.join()
    for server, name in zip(servers, OURS):
        check(f"{name} still runs", server.poll() is None)
        server.terminate()
        check(f"{name} ends well", server.wait(30) == 0, server.returncode)
    print(f"{counts['ok']} ok, {counts['fail']} failed")
    sys.exit(counts["fail"] > 0)


main()
