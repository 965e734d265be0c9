#!/usr/bin/env python3
# needs: python3
"""Python's smtplib, imaplib and poplib."""

import email
import email.message
import email.policy
import imaplib
import os
import poplib
import smtplib
import ssl
import sys
import warnings

warnings.simplefilter("error")
environment = os.environ
host, address, password = environment["HOST"], environment["ADDRESS"], environment["PASSWORD"]
port = {name: int(environment[name]) for name in "SMTP SUBMISSION SUBMISSIONS LMTP IMAP IMAPS POP3 POP3S".split()}
tls = ssl.create_default_context(cafile=environment["CA"])
failures = 0


def check(what, good, seen=""):
    global failures
    print(f"ok {what}" if good else f"fail {what}: {seen!r}")
    failures += not good


def letter(subject, text="Good morning.\n.\n..\nHere, too: ä\n"):
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = address, address, subject
    message.set_content(text)
    message.add_attachment(bytes(range(256)) * 400, maintype="application", subtype="octet-stream", filename="all.bin")
    return message


with smtplib.SMTP(host, port["SMTP"]) as smtp:
    smtp.starttls(context=tls)
    smtp.ehlo()
    check("SIZE is offered", smtp.has_extn("size"))
    check("SMTP with STARTTLS", smtp.send_message(letter("one")) == {})
    check("8-bit", smtp.sendmail(address, [address], "Subject: eight\r\n\r\nä\r\n".encode(), ["BODY=8BITMIME"]) == {})
with smtplib.SMTP_SSL(host, port["SUBMISSIONS"], context=tls) as smtp:
    smtp.login(address, password)
    check("submission over TLS", smtp.send_message(letter("two")) == {})
    try:
        smtp.sendmail("carol@example.org", [address], "x")
        check("a foreign sender is refused", False)
    except smtplib.SMTPSenderRefused as refused:
        check("a foreign sender is refused", refused.smtp_code == 553, refused)
with smtplib.SMTP(host, port["SUBMISSION"]) as smtp:
    smtp.starttls(context=tls)
    smtp.login(address, password)
    check("submission with STARTTLS", smtp.send_message(letter("three")) == {})
with smtplib.LMTP(host, port["LMTP"]) as lmtp:
    check("LMTP", lmtp.sendmail(address, [address, "nobody@example.test"], "Subject: four\r\n\r\nx\r\n").keys() == {"nobody@example.test"})

with imaplib.IMAP4_SSL(host, port["IMAPS"], ssl_context=tls) as imap:
    imap.login(address, password)
    kind, data = imap.select("INBOX")
    check("IMAP SELECT", (kind, data) == ("OK", [b"5"]), data)
    kind, data = imap.fetch("1", "(RFC822.SIZE FLAGS BODY.PEEK[])")
    whole = email.message_from_bytes(data[0][1], policy=email.policy.default)
    check("IMAP FETCH", whole["Subject"] == "one" and whole.get_body().get_content().replace("\r\n", "\n") == "Good morning.\n.\n..\nHere, too: ä\n", whole.get_body().get_content())
    check("the attachment", next(whole.iter_attachments()).get_content() == bytes(range(256)) * 400)
    check("RFC822.SIZE", f"RFC822.SIZE {len(data[0][1])}".encode() in data[0][0], data[0][0])
    kind, data = imap.search(None, "SUBJECT", "two")
    check("IMAP SEARCH", data == [b"3"], data)
    imap.literal = "ä".encode()
    kind, data = imap.search("UTF-8", "TEXT")
    check("IMAP SEARCH in UTF-8", b"1" in data[0].split(), data)
    kind, data = imap.create("Archiv/2026")
    check("IMAP CREATE", kind == "OK", data)
    kind, data = imap.append("Archiv/2026", "\\Seen Kept", imaplib.Time2Internaldate(1_800_000_000), b"Subject: kept\r\n\r\nText\r\n")
    check("IMAP APPEND", kind == "OK" and b"APPENDUID" in data[0], data)
    kind, data = imap.copy("1:2", "Archiv/2026")
    check("IMAP COPY", kind == "OK", data)
    kind, data = imap.store("1", "+FLAGS", "(\\Deleted)")
    check("IMAP STORE", b"\\Deleted" in data[0], data)
    kind, data = imap.expunge()
    check("IMAP EXPUNGE", data == [b"1"], data)
    kind, data = imap.status("Archiv/2026", "(MESSAGES UNSEEN UIDNEXT)")
    check("IMAP STATUS", b"MESSAGES 3" in data[0], data)
    kind, data = imap.list()
    check("IMAP LIST", any(b"Archiv/2026" in line for line in data), data)
    kind, data = imap.select("Archiv/2026", readonly=True)
    kind, data = imap.fetch("1", "(INTERNALDATE FLAGS BODYSTRUCTURE ENVELOPE)")
    check("the kept message", imaplib.Internaldate2tuple(data[0]) is not None and b"Kept" in data[0], data)
    imap.unselect()
with imaplib.IMAP4(host, port["IMAP"]) as imap:
    imap.starttls(ssl_context=tls)
    kind, data = imap.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
    check("IMAP with STARTTLS and AUTHENTICATE", kind == "OK", data)

pop = poplib.POP3(host, port["POP3"])
check("POP3 CAPA", "UIDL" in pop.capa() and "TOP" in pop.capa(), pop.capa())
pop.stls(context=tls)
pop.user(address)
pop.pass_(password)
check("POP3 STAT", pop.stat()[0] == 4, pop.stat())
_, lines, _ = pop.top(2, 0)
check("POP3 TOP", b"Subject: two" in lines, lines)
_, lines, size = pop.retr(2)
_, listed, _ = pop.list()
check("POP3 RETR", int(listed[1].split()[1]) == sum(len(line) + 2 for line in lines), (listed, size))
_, uidls, _ = pop.uidl()
check("POP3 UIDL", len({line.split()[1] for line in uidls}) == 4, uidls)
pop.dele(1)
pop.quit()
pop = poplib.POP3_SSL(host, port["POP3S"], context=tls)
pop.user(address)
pop.pass_(password)
check("POP3 DELE", pop.uidl()[1] == [b"%d %s" % (n, line.split()[1]) for n, line in enumerate(uidls[1:], 1)], pop.uidl())
pop.quit()
sys.exit(failures != 0)
