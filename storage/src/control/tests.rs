//! Who may ask, what is answered, and that a list is one object however many pieces it comes in.

use super::*;
use crate::{
    disk::Posix,
    house::{House, Seat},
    serve::{Caller, Door},
    story::Deed,
};
use http::{Body, Method, Office as _, Request};
use std::{path::PathBuf, sync::Arc};
use wire::{Nudge, Ring, Tick};

struct Deaf;

impl Ring for Deaf {
    fn ring(&self, _: Nudge) {}
}

struct Desk {
    house: Arc<House>,
    at: PathBuf,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.at);
    }
}

fn desk(name: &str) -> Desk {
    let at = std::env::temp_dir().join(format!("hikyaku-control-{name}-{}", std::process::id()));
    let config = config::Config { domains: vec!["example.test".into()], store: at.clone(), ..config::Config::default() };
    Desk { house: House::open(config, Arc::new(Posix)).unwrap(), at }
}

impl Desk {
    fn clerk(&self, door: Door, caller: Caller) -> Box<Clerk> {
        let Ok(Seat::Http(_, clerk)) = self.house.counter(&door, caller, Arc::new(Deaf), Tick(0)) else { panic!("there is room") };
        clerk
    }

    fn ask_as(&self, door: Door, caller: Caller, method: Method, target: &str, body: &str) -> (u16, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request { method, path: path.into(), query: query.into(), kind: "".into(), body: body.into() };
        let mut clerk = self.clerk(door, caller);
        let response = clerk.request(request);
        let body = match response.body {
            Body::Whole(bytes) => bytes,
            Body::Pieces => std::iter::from_fn(|| Some(clerk.piece()).filter(|p| !p.is_empty())).flatten().collect(),
        };
        (response.status, String::from_utf8(body).unwrap())
    }

    /// As the user of the server.
    fn ask(&self, method: Method, target: &str, body: &str) -> (u16, String) {
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.ask_as(Door::Control, Caller::Local(Some(me)), method, target, body)
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.ask(Method::Get, target, "")
    }
}

#[test]
fn only_those_who_may_are_answered() {
    let desk = desk("may");
    let nobody = Caller::Local(Some((65_533, 65_533)));
    let stranger = Caller::Net("192.0.2.1:5".parse().unwrap());
    for caller in [nobody, stranger, Caller::Local(None)] {
        for target in ["/status", "/queue", "/trace?of=1", "/metrics", "/stop"] {
            assert_eq!(desk.ask_as(Door::Control, caller, Method::Get, target, "").0, 403, "{caller:?} {target}");
        }
        assert_eq!(desk.ask_as(Door::Control, caller, Method::Post, "/stop", "").0, 403);
    }
    assert_eq!(desk.ask_as(Door::Control, Caller::Local(Some((0, 0))), Method::Get, "/status", "").0, 200);
    assert_eq!(desk.get("/status").0, 200);
    // Whoever reads metrics reads nothing else.
    let (status, text) = desk.ask_as(Door::Metrics, stranger, Method::Get, "/metrics", "");
    assert!(status == 200 && text.ends_with("# EOF\n"));
    for (method, target) in [(Method::Get, "/status"), (Method::Get, "/queue"), (Method::Post, "/stop"), (Method::Post, "/metrics")] {
        assert_eq!(desk.ask_as(Door::Metrics, stranger, method, target, "").0, 404);
    }
}

#[test]
fn what_is_asked_is_answered_or_refused() {
    let desk = desk("asked");
    let status: Status = serde_json::from_str(&desk.get("/status").1).unwrap();
    assert_eq!((status.hostname.as_str(), status.sessions), ("example.test", 1));
    let listing: Listing = serde_json::from_str(&desk.get("/queue?site=a.test&state=held&most=3").1).unwrap();
    assert_eq!(listing, Listing::default());
    let explained: Explanation = serde_json::from_str(&desk.get("/explain?address=a%40example.test").1).unwrap();
    assert_eq!(explained.address, "a@example.test");
    for (target, status) in [
        ("/queue?state=lost", 400),
        ("/queue?sight=a", 400),
        ("/queue?most=many", 400),
        ("/queue/1a", 404),
        ("/queue/xyz", 400),
        ("/trace", 400),
        ("/explain?address=", 400),
        ("/reload", 405),
        ("/nothing", 404),
    ] {
        let (said, body) = desk.get(target);
        assert_eq!(said, status, "{target}");
        assert!(body.starts_with("{\"error\":"), "{body}");
    }
    let post = |target: &str, body: &str| desk.ask(Method::Post, target, body).0;
    assert_eq!(post("/queue", r#"{"whom":{"all":{}},"action":"retry"}"#), 200);
    assert_eq!(post("/queue", r#"{"whom":{"ids":["7"]},"action":{"cancel":{"silent":true}}}"#), 404);
    assert_eq!(post("/queue", r#"{"whom":{"all":{"sight":"x"}},"action":"retry"}"#), 400);
    assert_eq!(post("/queue", "retry everything"), 400);
    // Nobody said where the configuration of this house comes from.
    assert_eq!(post("/reload", ""), 409);
}

#[test]
fn what_happened_is_told_at_once() {
    let desk = desk("told");
    desk.house.tell(0x2f, Deed::Held { by: "alice".into() });
    let tales: Vec<crate::story::Tale> = serde_json::from_str(&desk.get("/trace?of=2f").1).unwrap();
    assert_eq!(tales[0].told[0].deed, Deed::Held { by: "alice".into() });
    assert_eq!(desk.get("/trace?of=30").1, "[]\n");
}

#[test]
fn whoever_leaves_a_message_rings_and_may_do_nothing_else() {
    let desk = desk("drop");
    let nobody = Caller::Local(None);
    let folder = desk.at.join(crate::drop::FOLDER);
    let letter = crate::drop::Letter {
        uid: 65_533,
        envelope: mail::Envelope { recipients: vec![mail::Address::new("a", "far.example").into()], ..mail::Envelope::default() },
        eight_bit: false,
        verp: false,
    };
    let mut bytes = Vec::new();
    crate::drop::write_envelope(&letter, &mut bytes).unwrap();
    std::fs::write(folder.join("1"), &bytes).unwrap();
    for (method, target) in
        [(Method::Get, "/status"), (Method::Post, "/stop"), (Method::Post, "/queue"), (Method::Get, "/metrics"), (Method::Get, "/drop")]
    {
        assert_eq!(desk.ask_as(Door::Drop, nobody, method, target, "").0, 404, "{target}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(desk.ask_as(Door::Drop, nobody, Method::Post, "/drop", "1").0, 200);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let listing: Listing = serde_json::from_str(&desk.get("/queue").1).unwrap();
    assert_eq!(listing.messages.len(), 1);
}
