//! The names of mechanisms.

/// A mechanism this crate can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// One response with everything in it (RFC 4616).
    Plain,
    /// Two prompts, never standardised, still what some clients offer only (draft-murchison-sasl-login).
    Login,
}

impl Mechanism {
    /// All of them, as they are to be offered: best first.
    pub const ALL: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// Finds a mechanism by its name in any case.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// Whether the password crosses the connection readably, so that TLS must protect it.
    pub const fn is_plaintext(self) -> bool {
        match self {
            Mechanism::Plain | Mechanism::Login => true,
        }
    }
}
