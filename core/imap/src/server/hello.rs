//! The greeting and what can be asked at any time: CAPABILITY, ID, ENABLE, NAMESPACE, LOGOUT, STARTTLS.

use super::{Mode, Server, Tls, Turn, begin::Begun, desk::Desk};
use crate::{name::Naming, reply::Reply};
use core::fmt::Write;
use wire::{Outbox, Tick, Why};

impl Server {
    pub(super) fn greet(&mut self, now: Tick, tx: &mut Outbox) -> Turn {
        if self.shutdown {
            return self.bye(tx, "The server stops.", Why::Shutdown);
        }
        _ = write!(tx, "* OK [CAPABILITY {}] {} Hikyaku is ready.\r\n", self.desk.capabilities(), self.desk.settings.hostname);
        self.since = now;
        self.mode = Mode::Listen;
        Turn::Go
    }
}

pub(super) fn capability(desk: &Desk, tx: &mut Outbox) -> Begun {
    _ = write!(tx, "* CAPABILITY {}\r\n", desk.capabilities());
    Begun::Over(Reply::ok("That is all."))
}

/// RFC 2971. The client's fields are for statistics that nobody keeps here.
pub(super) fn id(tx: &mut Outbox) -> Begun {
    tx.put(b"* ID (\"name\" \"Hikyaku\")\r\n");
    Begun::Over(Reply::ok("Nice to meet you."))
}

/// RFC 5161. Nothing that is offered needs to be enabled yet, and what is not known is passed over.
pub(super) fn enable(tx: &mut Outbox) -> Begun {
    tx.put(b"* ENABLED\r\n");
    Begun::Over(Reply::ok("Enabled."))
}

/// RFC 2342: one personal namespace, no others.
pub(super) fn namespace(naming: Naming, tx: &mut Outbox) -> Begun {
    tx.put(b"* NAMESPACE ((\"");
    tx.put(naming.prefix().as_bytes());
    tx.put(b"\" ");
    print_separator(naming, tx);
    tx.put(b")) NIL NIL\r\n");
    Begun::Over(Reply::ok("That is all."))
}

/// Prints the hierarchy separator as a quoted character.
pub(super) fn print_separator(naming: Naming, tx: &mut Outbox) {
    _ = write!(tx, "\"{}\"", naming.separator);
}

pub(super) fn starttls(desk: &Desk) -> Begun {
    match desk.settings.tls {
        Tls::Start => Begun::StartTls,
        Tls::Already(_) => Begun::Over(Reply::bad("The connection is encrypted.")),
        Tls::Never => Begun::Over(Reply::bad("There is no encryption here.")),
    }
}

/// LOGOUT's untagged answer.
pub(super) fn logout(tx: &mut Outbox) {
    tx.put(b"* BYE See you.\r\n");
}
