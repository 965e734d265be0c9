"""Servers that misbehave once for each client and then take what comes; and a policy for Postfix that puts everybody off once (greylisting).

Server number N of `SERVERS` is `mx.N.odd.test`. Each goes wrong in one place of the conversation and has an address of its own, so that no connection to one is
kept for another. What was taken is counted for each recipient.
"""

import collections
import re
import socket
import ssl
import threading

from sites import ADDRESS, DIR, HOME, certificate

# Where the line is dropped: before the greeting, instead of the reply to a command, within the handshake, the content, or at its end.
DROPS = ["greeting", "EHLO", "STARTTLS", "handshake", "MAIL", "RCPT", "DATA", "body", "dot", "lost reply", "QUIT"]
# Where it says 4xx: to the connection, to every recipient, to one of two, to the content.
PUTS_OFF = ["busy", "greylisting", "greylisting one", "later"]
# Where it says what nobody asked for: a second reply to MAIL, and that it takes nothing while the content is still on its way; in the end it hangs up on it.
SAYS = ["two replies", "early no", "early no and gone", "early no and gone in clear"]
# With one command after the other, and in batches (RFC 2920).
WAYS = ["", "PIPELINING"]
SERVERS = [(mood, way) for mood in ["none", *DROPS, *PUTS_OFF, *SAYS] for way in WAYS]
RECIPIENTS = ["first", "second"]

lock = threading.Lock()
taken = collections.Counter()  # (client, server, token, recipient)
troubled = set()  # (client, server)
put_off = set()  # what Postfix was told to put off


def serve():
    certificate(f"{DIR}/odd", "mx.odd.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{DIR}/odd/tls.crt", f"{DIR}/odd/tls.key")
    for number in range(len(SERVERS)):
        listen((f"10.25.0.{100 + number}", 25), lambda line, client, number=number: Conversation(line, client, number, context).talk())
    listen((HOME, 10023), policy)


def listen(where, talk):
    """Calls `talk` in a thread of its own for each connection."""
    def run(line, client):
        with line:
            try:
                talk(line, client)
            except OSError:
                # The client has hung up; what it left counts, not how.
                pass

    def accept(listener):
        while True:
            line, (client, _) = listener.accept()
            threading.Thread(target=run, args=(line, client), daemon=True).start()

    threading.Thread(target=accept, args=(socket.create_server(where, backlog=50),), daemon=True).start()


def policy(line, _):
    """SMTPD_POLICY_README: mail for grey.postfix.test is put off when it is seen for the first time."""
    with line.makefile("rw", encoding="utf-8") as file:
        asked = {}
        while text := file.readline():
            name, _, value = text.rstrip("\n").partition("=")
            asked[name] = value
            if name:
                continue
            what, answer = (asked["client_address"], asked["sender"], asked["recipient"]), "dunno"
            with lock:
                if asked["recipient"].endswith("@grey.postfix.test") and what not in put_off:
                    put_off.add(what)
                    answer = "451 4.7.1 come again"
            file.write(f"action={answer}\n\n")
            file.flush()
            asked = {}


class Dropped(Exception):
    """The line is to be closed without another word."""


class Conversation:
    def __init__(self, line, client, number, context):
        self.line, self.client, self.number, self.context = line, next(name for name, ip in ADDRESS.items() if ip == client), number, context
        self.mood, self.way = SERVERS[number]
        self.file = line.makefile("rwb")
        self.recipients = []

    def say(self, *lines):
        for place, text in enumerate(lines, 1):
            self.file.write(text[:3].encode() + (b" " if place == len(lines) else b"-") + text[4:].encode() + b"\r\n")
        self.file.flush()

    def now(self, mood):
        """Whether it is time to misbehave."""
        with lock:
            if self.mood != mood or (self.client, self.number) in troubled:
                return False
            troubled.add((self.client, self.number))
            return True

    def drop(self, mood):
        if self.now(mood):
            raise Dropped

    def talk(self):
        try:
            self.drop("greeting")
            if self.now("busy"):
                self.say("421 4.3.2 come again")
                return
            self.say("220 odd.test ESMTP")
            while command := self.file.readline():
                verb, *words = command.decode("ascii").split()
                self.drop(verb.upper())
                if self.obey(verb.upper(), words):
                    return
        except Dropped:
            pass

    def obey(self, verb, words):
        if verb == "EHLO":
            tls = [] if isinstance(self.line, ssl.SSLSocket) or self.mood.endswith("in clear") else ["250 STARTTLS"]
            self.say("250 odd.test", "250 8BITMIME", *tls, *([f"250 {self.way}"] if self.way else []))
        elif verb == "STARTTLS":
            self.say("220 go on")
            self.drop("handshake")
            self.line = self.context.wrap_socket(self.line, server_side=True)
            self.file = self.line.makefile("rwb")
        elif verb == "MAIL":
            self.recipients = []
            self.content = bytearray()
            self.say("250 fine")
            if self.now("two replies"):
                self.say("250 really fine")
        elif verb == "RCPT":
            recipient = re.search(r"<(.*?)@", words[0] if "<" in words[0] else words[1])[1]
            if self.is_put_off(recipient):
                self.say("451 4.7.1 come again")
            else:
                self.recipients.append(recipient)
                self.say("250 fine")
        elif verb == "DATA" and not self.recipients:
            self.say("554 no recipients")
        elif verb == "DATA":
            self.say("354 go on")
            while (text := self.file.readline()) != b".\r\n":
                if not text:
                    raise Dropped
                self.content += text
                self.drop("body")
                if self.mood.startswith("early no and gone") and self.now(self.mood):
                    self.say("552 5.3.4 enough")
                    raise Dropped
                if self.now("early no"):
                    self.say("552 5.3.4 enough")
                    while self.file.readline():
                        pass
                    raise Dropped
            self.take()
        elif verb == "QUIT":
            self.say("221 bye")
            return True
        else:
            self.say("250 fine")
        return False

    def is_put_off(self, recipient):
        if self.mood == "greylisting":
            # Both of them, in the first transaction.
            with lock:
                if (self.client, self.number, recipient) in put_off:
                    return False
                put_off.add((self.client, self.number, recipient))
                troubled.add((self.client, self.number))
                return True
        return recipient == "first" and self.now("greylisting one")

    def take(self):
        """The content is complete."""
        self.drop("dot")
        if self.now("later"):
            self.say("451 4.3.0 come again")
            return
        with lock:
            for token in set(re.findall(rb"token-[a-z0-9-]+-end", self.content)):
                for recipient in self.recipients:
                    taken[self.client, self.number, token.decode(), recipient] += 1
        self.drop("lost reply")
        self.say("250 taken")
