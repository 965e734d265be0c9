//! The only crate that touches disk: the spool, mailboxes, accounts, and every office.
//!
//! Sessions ask; the offices here answer. Ports are bound here (`serve`), for both runtimes alike; no connection is driven here and no thread is started.

mod accept;
pub mod account;
pub mod admin;
mod carry;
pub mod clock;
pub mod control;
pub mod depot;
pub mod disk;
pub mod drop;
mod format;
pub mod house;
mod limits;
pub mod logging;
pub mod mailbox;
pub mod means;
pub mod metrics;
mod naming;
pub mod office;
pub mod outgoing;
mod pickup;
mod places;
pub mod process;
mod recover;
pub mod sandbox;
pub mod serve;
mod space;
pub mod spool;
pub mod story;
pub mod supervise;
mod times;
pub mod tls;
mod undelivered;
