//! What is told is found again, and old days go.

use super::*;
use crate::disk::Posix;

fn story(name: &str) -> (Story, PathBuf) {
    let dir = std::env::temp_dir().join(format!("hikyaku-story-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    (Story::new(Arc::new(Posix), dir.clone()), dir)
}

fn accepted(sender: &str, recipient: &str, message_id: &str) -> Deed {
    Deed::Accepted {
        sender: sender.into(),
        recipients: vec![recipient.into()],
        size: 100,
        by: "smtp".into(),
        client: "192.0.2.1".into(),
        message_id: Some(message_id.into()),
        about: None,
    }
}

fn relayed(recipient: &str) -> Deed {
    let peer = deed::Peer { host: "mx.example.net".into(), address: "192.0.2.9:25".into(), tls: Some("TLSv1.3".into()) };
    Deed::Relayed { recipient: recipient.into(), peer, reply: "250 2.0.0 queued as 42".into(), delay_s: 3 }
}

#[test]
fn a_story_is_found_by_id_address_and_message_id() {
    let (story, dir) = story("found");
    let (one, two) = (Stamp::utc(1_795_000_000), Stamp::utc(1_795_000_000 + 86_400));
    story.tell(1, 0xa1, accepted("a@x.test", "B@y.test", "<m1@x>"));
    story.tell(2, 0xa2, accepted("c@x.test", "d@y.test", "<m2@x>"));
    story.write(one, 7).unwrap();
    story.tell(3, 0xa1, relayed("B@y.test"));
    story.tell(
        4,
        0xa3,
        Deed::Accepted {
            sender: String::new(),
            recipients: vec!["c@x.test".into()],
            size: 1,
            by: "report".into(),
            client: "here".into(),
            message_id: None,
            about: Some("a2".into()),
        },
    );
    story.write(two, 7).unwrap();
    let found = |text: &str| {
        let tales = story.trace(&Query::of(text)).unwrap();
        tales.iter().map(|t| (t.id.clone(), t.told.len())).collect::<Vec<_>>()
    };
    let one = vec![("a1".to_owned(), 2)];
    for text in ["a1", "00A1", "b@Y.test", "a@x.test", "<m1@x>", "m1@x"] {
        assert_eq!(found(text), one, "{text}");
    }
    assert_eq!(found("c@x.test"), [("a2".to_owned(), 1), ("a3".to_owned(), 1)]);
    assert_eq!(found("a2"), [("a2".to_owned(), 1), ("a3".to_owned(), 1)]);
    assert_eq!(found("x@x.test"), []);
    let words = story.trace(&Query::of("a1")).unwrap()[0].told.iter().map(|t| t.deed.to_string()).collect::<Vec<_>>();
    assert_eq!(
        words,
        [
            "accepted by smtp from 192.0.2.1: from <a@x.test> for B@y.test, 100 bytes, Message-ID <m1@x>",
            "sent for B@y.test to mx.example.net [192.0.2.9:25] over TLSv1.3 after 3 s: 250 2.0.0 queued as 42"
        ]
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn old_days_go_and_what_is_torn_is_skipped() {
    let (story, dir) = story("old");
    let day = |n: i64| Stamp::utc(1_795_000_000 + n * 86_400);
    for n in 0..5 {
        story.tell(n as u64, 7, Deed::Held { by: "a rule".into() });
        story.write(day(n), 2).unwrap();
    }
    assert_eq!(story.days().unwrap(), ["2026-11-20", "2026-11-21", "2026-11-22"]);
    std::fs::write(dir.join("2026-11-22.log"), b"{\"at\":1,\"id\":\"7\",\"eve").unwrap();
    assert_eq!(story.trace(&Query::of("7")).unwrap()[0].told.len(), 2);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_flood_is_not_kept_in_memory() {
    let (story, dir) = story("flood");
    for n in 0..200 {
        story.tell(n, n, Deed::Held { by: "x".repeat(64 << 10) });
    }
    let waiting = story.waiting.lock().unwrap();
    assert!(waiting.lost > 0 && waiting.lines.len() <= WAITING_MAX);
    drop(waiting);
    assert!(!dir.exists());
}

#[test]
fn days_have_names() {
    for (seconds, name) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_000_000, "2026-11-18"), (4_107_542_400, "2100-03-01")] {
        assert_eq!(day(seconds), name);
    }
    assert_eq!(deed::moment(951_782_400 + 3661), "2000-02-29 01:01:01");
}
