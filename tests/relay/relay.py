#!/usr/bin/env python3
"""Mail between both runtimes of Hikyaku and other people's servers, in both directions; `run` beside this starts the peers and calls it.

Everything is judged by what lies in Maildirs on disk in the end. `ok WHAT` and `fail WHAT` a line; the last one counts. DIR/table.md has what was sent between two sites as a table.
"""

import email
import email.policy
import os
import re
import smtplib
import socket
import sys
import threading
import time

import odd
from sites import ADDRESS, DIR, HOME, OURS, UTF8, queued, start

WAIT = float(os.environ.get("RELAY_WAIT", "120"))
BIG = b"".join(b"%070d\r\n" % n for n in range(20_000_000 // 72))
CASES = ["plain", "starttls", "auth", "eight", "utf8", "idn", "dsn", "big", "many", "unknown", "grey"]

counts = {"ok": 0, "fail": 0}
lock = threading.Lock()


def check(what, good, seen=""):
    with lock:
        print(f"ok {what}" if good else f"fail {what}: {seen}", flush=True)
        counts["ok" if good else "fail"] += 1


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
                for file in files:
                    self.read(site, user, f"{place}/{file}")

    def read(self, site, user, path):
        if path in self.seen:
            return
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
            options = [o for o in mail if smtp.has_extn(o.split("=")[0].replace("BODY", "8bitmime").replace("ENVID", "dsn"))]
            if "SMTPUTF8" in options:
                smtp.command_encoding = "utf-8"
            refused = smtp.sendmail(sender, recipients, content, options, rcpt if smtp.has_extn("dsn") else ())
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


def reported(path):
    """The action and the status that a report has for its first recipient (RFC 3464)."""
    with open(path, "rb") as file:
        content = file.read()
    found = [re.search(rb"^" + name + rb": *([a-z0-9.]+)", content, re.MULTILINE | re.IGNORECASE) for name in (b"Action", b"Status")]
    return tuple(match[1].decode().lower() if match else "" for match in found)


class Letter:
    """One message on its way: what must become of it."""

    def __init__(self, origin, target, case):
        place = CASES.index(case)
        self.origin, self.target, self.case = origin, target, case
        self.token = f"token-{origin}-{target}-{case}-end"
        self.label = f"{origin} -> {target}: {case}"
        self.users, self.author = [f"u{151 + place:03}"], f"u{161 + place:03}"
        self.sender, self.body = f"{self.author}@{origin}.test", b"Hello.\r\n.\r\n..\r\n"
        domain, mail, rcpt = f"{target}.test", [], []
        if case in ("plain", "auth", "grey"):
            domain = f"{case}.{domain}"
        if case == "auth" and target in OURS:
            # A login of ours may not send in anybody's name.
            self.sender = f"relay@{target}.test"
        if case == "eight":
            self.body, mail = "Grüße aus 東京\r\n".encode(), ["BODY=8BITMIME"]
        if case == "utf8":
            self.users, mail = ["grüße"], ["SMTPUTF8", "BODY=8BITMIME"]
        if case == "idn":
            domain, mail = f"bücher.{domain}", ["SMTPUTF8"]
        if case == "dsn":
            mail, rcpt = [f"ENVID={self.token}"], ["NOTIFY=SUCCESS,FAILURE"]
        if case == "big":
            self.body = BIG
        if case == "many":
            self.users = [f"u{n:03}" for n in range(1, 151)]
        if case == "unknown":
            self.users = ["nobody"]
        # Who cannot take an address beyond ASCII must not get it, and its sender must hear why (RFC 6531 §3.2).
        self.bounces = case == "unknown" or (case == "utf8" and target not in UTF8)
        self.recipients, self.mail, self.rcpt = [f"{u}@{domain}" for u in self.users], mail, rcpt

    def send(self):
        # With a header in ASCII, only the envelope has to be said in another way where SMTPUTF8 is not known.
        to = self.recipients[0].replace("bücher", "xn--bcher-kva")
        inject(self.origin, self.sender, self.recipients, letter(self.sender, to, self.token, self.body), self.mail, self.rcpt)

    def judge(self, maildirs):
        """None while something is still to come, else whether it went well and what was seen."""
        back = maildirs.get(self.origin, self.author, self.token)
        there = {u: maildirs.get(self.target, u, self.token) for u in self.users}
        double = [u for u, paths in there.items() if len(paths) > 1]
        if double or len(back) > 1:
            return False, f"more than once: {double} {back}"
        if self.bounces:
            if any(there.values()):
                return False, f"arrived: {there}"
            action, status = reported(back[0]) if back else (None, None)
            right = status == "5.6.7" if self.case == "utf8" else (status or "").startswith("5.")
            return (action == "failed" and right, f"{action} {status}: {back[0]}") if back else None
        if back and self.case != "dsn":
            return False, f"came back: {back[0]}"
        if not all(there.values()) or (self.case == "dsn" and not back):
            return None
        if self.case == "dsn":
            action, _ = reported(back[0])
            with open(back[0], "rb") as file:
                named = re.search(rb"^Original-Envelope-Id: *" + self.token.encode(), file.read(), re.MULTILINE | re.IGNORECASE)
            # OpenSMTPD forgets that it has to name the envelope (RFC 3464 §2.2.1).
            return action in ("delivered", "relayed", "expanded") and bool(named or self.target == "opensmtpd"), f"{action} {named}: {back[0]}"
        path = there[self.users[0]][0]
        spoke, content = protocol(path)
        wanted = {"plain": "SMTP", "starttls": "SMTPS", "auth": "SMTPSA"}.get(self.case, "")
        if not spoke.endswith(wanted) or (self.case == "utf8" and self.target in OURS and not spoke.startswith("UTF8")):
            return False, f"{spoke}: {path}"
        if self.case == "grey" and not any(self.recipients[0] in what for what in odd.put_off):
            return False, "was not put off"
        return content.rstrip(b"\n") == self.body.replace(b"\r\n", b"\n").rstrip(b"\n"), f"body differs: {path}"


def letters(sites):
    """Hands over everything that is sent between two sites of which one is ours."""
    sent = []
    for origin, target in ((a, b) for a in sites for b in sites if a != b and (a in OURS or b in OURS)):
        for case in CASES if target == "postfix" else CASES[:-1]:
            one = Letter(origin, target, case)
            if case in ("utf8", "idn") and origin not in UTF8:
                with smtplib.SMTP(ADDRESS[origin], 25, "client.test", timeout=60) as smtp:
                    smtp.ehlo()
                    check(f"{one.label} is not offered by {origin}", not smtp.has_extn("smtputf8"))
                continue
            try:
                one.send()
                sent.append(one)
            except (OSError, smtplib.SMTPException) as error:
                check(f"{one.label}: not taken by {origin}", False, repr(error))
    return sent


def to_odd(origin):
    """Sends to every odd server and waits for what comes."""
    tokens = {}
    for number in range(len(odd.SERVERS)):
        token = tokens[number] = f"token-{origin}-odd-{number}-end"
        recipients = [f"{name}@{number}.odd.test" for name in odd.RECIPIENTS]
        # Much more than any buffer between the two holds, where the writing is to fail.
        body = BIG if odd.SERVERS[number][0].startswith("early no and gone") else b"x\r\n" * 1000
        inject(origin, f"u170@{origin}.test", recipients, letter(f"u170@{origin}.test", recipients[0], token, body))
    return tokens


def judge_odd(origin, tokens, maildirs):
    for number, (mood, way) in enumerate(odd.SERVERS):
        came = [odd.taken[origin, number, tokens[number], name] for name in odd.RECIPIENTS]
        happened = mood == "none" or (origin, number) in odd.troubled
        # Nobody can know that it was taken if the reply is lost (RFC 1047), so it has to come again.
        refused = mood.startswith("early no")
        wanted = 2 if mood == "lost reply" else 0 if refused else 1
        reports = len(maildirs.get(origin, "u170", tokens[number]))
        good = happened and came == [wanted, wanted] and reports == refused
        check(f"{origin} -> odd: {mood} {way}".rstrip(), good, f"came {came} times, {reports} reports, trouble was {'' if happened else 'not '}made")


# What a client says before it drops the line, and how often the message arrives when it then sends it again.
CUTS = {"greeting": [], "EHLO": ["EHLO"], "MAIL": ["EHLO", "MAIL"], "RCPT": ["EHLO", "MAIL", "RCPT"], "DATA": ["EHLO", "MAIL", "RCPT", "DATA"],
        "body": ["EHLO", "MAIL", "RCPT", "DATA", "half"], "half a dot": ["EHLO", "MAIL", "RCPT", "DATA", "all"],
        "lost reply": ["EHLO", "MAIL", "RCPT", "DATA", "all", "dot"]}


def cut_short(target):
    """A client that drops the line in every place, and then sends the message well."""
    for place, (cut, said) in enumerate(CUTS.items()):
        token, user = f"token-cut-{target}-{place}-end", f"u{180 + place:03}"
        content = letter(f"u180@{target}.test", f"{user}@{target}.test", token, b"x\r\n" * 1000)
        words = {"EHLO": b"EHLO client.test\r\n", "MAIL": f"MAIL FROM:<u180@{target}.test>\r\n".encode(), "RCPT": f"RCPT TO:<{user}@{target}.test>\r\n".encode(),
                 "DATA": b"DATA\r\n", "half": content[:1500], "all": content + b".", "dot": b"\r\n"}
        with socket.create_connection((ADDRESS[target], 25), timeout=60) as line, line.makefile("rb") as replies:
            for word in ["", *said]:
                line.sendall(words.get(word, b""))
                # The line is dropped only after this was read, or the kernel would throw it away.
                while word not in ("half", "all") and replies.readline()[3:4] == b"-":
                    pass
        inject(target, f"u180@{target}.test", [f"{user}@{target}.test"], content)


def judge_cuts(target, maildirs):
    for place, cut in enumerate(CUTS):
        came = len(maildirs.get(target, f"u{180 + place:03}", f"token-cut-{target}-{place}-end"))
        check(f"client -> {target}: {cut}", came == (2 if cut == "lost reply" else 1), f"came {came} times")


def wait_until(said, done):
    until = time.monotonic() + WAIT
    while not (over := done()) and time.monotonic() < until:
        time.sleep(0.5)
    if not over:
        print(f"after {WAIT:.0f} s there is still {said}")


def main():
    peers = sys.argv[1:]
    sites = list(OURS) + peers
    os.makedirs(f"{DIR}/odd", exist_ok=True)
    odd.serve()
    servers = {name: start(name, [site for site in sites if site != name]) for name in OURS}
    tokens = {name: to_odd(name) for name in OURS}
    for name in OURS:
        cut_short(name)
    sent, maildirs = letters(sites), Maildirs(sites)

    def settled():
        maildirs.scan()
        return all(one.judge(maildirs) for one in sent) and not any(queued(name) for name in OURS)

    wait_until("something to come", settled)
    # Whoever got something twice has it by now: nothing of ours is under way.
    maildirs.scan()
    table = {(one.origin, one.target): {} for one in sent}
    for one in sent:
        good, seen = one.judge(maildirs) or (False, "nothing came")
        check(one.label, good, seen)
        table[one.origin, one.target][one.case] = "FAILED" if not good else "bounce" if one.bounces else "ok"
    for name, server in servers.items():
        judge_odd(name, tokens[name], maildirs)
        judge_cuts(name, maildirs)
        left = queued(name)
        check(f"{name}: its queue is empty", not left, left)
        check(f"{name}: still runs", server.poll() is None)
        server.terminate()
        check(f"{name}: ends well", server.wait(30) == 0, server.returncode)
    with open(f"{DIR}/table.md", "w", encoding="utf-8") as file:
        file.write(f"| | {' | '.join(CASES)} |\n|---|{'---|' * len(CASES)}\n")
        for (origin, target), fates in table.items():
            file.write(f"| {origin} → {target} | {' | '.join(fates.get(case, '-') for case in CASES)} |\n")
    print(f"{counts['ok']} ok, {counts['fail']} failed")
    sys.exit(counts["fail"] > 0)


main()
