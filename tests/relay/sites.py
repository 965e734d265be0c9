"""The sites of the little world that `run` builds: where they are, what they know, and how those of ours are configured and started."""

import json
import os
import socket
import subprocess
import sys
import time

DIR, BIN = os.environ["DIR"], os.environ["BIN"]
OURS = {"std": "hikyaku", "smol": "hikyaku-smol"}
ADDRESS = {name: f"10.25.0.{place}" for place, name in enumerate(["std", "smol", "postfix", "courier", "exim", "opensmtpd"], 1)}
NO_TLS = {"std": "10.25.0.11", "smol": "10.25.0.12"}
# Where relay.py itself is: name server, greylisting and the odd servers.
HOME = "10.25.0.53"
# Who takes local parts beyond ASCII (RFC 6531).
UTF8 = {"std", "smol", "postfix", "courier", "exim"}
USERS = [f"u{n:03}" for n in range(1, 201)] + ["postmaster", "relay", "grüße"]


def route(domain, **fields):
    return f'(domain: "{domain}", ' + ", ".join(f"{name}: {value}" for name, value in fields.items()) + ")"


def certificate(home, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                    "-keyout", f"{home}/tls.key", "-out", f"{home}/tls.crt"], check=True, stderr=subprocess.DEVNULL)
    os.chmod(f"{home}/tls.key", 0o600)


def start(name, others):
    """Configures one of our own and starts it in its namespace."""
    home, ip = f"{DIR}/{name}", ADDRESS[name]
    os.makedirs(f"{home}/store", exist_ok=True)
    certificate(home, f"mx.{name}.test")
    with open(os.open(f"{home}/password", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write("secret")
    routes = []
    for other in others:
        # Courier knows whole addresses only, and so do we.
        user = f"relay@{other}.test" if other in OURS or other == "courier" else "relay"
        routes.append(route(f"{other}.test", tls="Must"))
        routes.append(route(f"plain.{other}.test", tls="Never"))
        routes.append(route(f"auth.{other}.test", host=f'"mx.{other}.test"', port="587", tls="Must",
                            login=f'Some((user: "{user}", password_file: "{home}/password"))'))
    with open(f"{home}/hikyaku.ron", "w", encoding="utf-8") as file:
        file.write(f"""(
    domains: ["{name}.test"],
    domain_aliases: {{"auth.{name}.test": "{name}.test", "plain.{name}.test": "{name}.test", "bücher.{name}.test": "{name}.test"}},
    hostname: "mx.{name}.test",
    store: "{home}/store",
    user: "root",
    certificates: [(chain: "{home}/tls.crt", key: "{home}/tls.key")],
    listen: [
        (on: "{ip}:25", speak: Smtp),
        (on: "{ip}:587", speak: Submission),
        (on: "{NO_TLS[name]}:25", speak: Smtp, tls: Never),
    ],
    relay: (clients: ["10.25.0.0/24"]),
    outgoing: (source4: "{ip}", routes: [
        {", ".join(routes)}
    ]),
    resolver: (servers: ["{HOME}:53"]),
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
        server = subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", binary, "serve", "--config", f"{home}/hikyaku.ron"], stderr=log, stdout=log)
    for _ in range(300):
        try:
            socket.create_connection((ip, 25)).close()
            return server
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{name} does not answer: see {home}/log")


def queued(name):
    """What still waits in the queue of one of ours."""
    listed = subprocess.run([f"{BIN}/{OURS[name]}", "queue", "list", "--json", "--config", f"{DIR}/{name}/hikyaku.ron"], check=True, capture_output=True, text=True)
    return json.loads(listed.stdout)
