//! What Prometheus reads: what happened since the start, and how things are.

use crate::{control::QueueStatus, story::Deed};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{fmt, sync::atomic::Ordering::Relaxed};

/// The type of what [`Metrics::print`] gives.
pub const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the time from acceptance to delivery, in seconds: at once, within a greylisting, within the warning, within the last attempt.
const DELAYS: [f64; 11] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 259_200.0, 432_000.0];

/// Counters of everything that is counted. Each is an atomic: nobody waits.
pub struct Metrics {
    registry: Registry,
    accepted: Family<By, Counter>,
    fates: Family<Fate, Counter>,
    delay: Family<Where, Histogram, fn() -> Histogram>,
    connections: Family<By, Counter>,
    refused: Counter,
    dismissed: Family<Reason, Counter>,
    stressed: Gauge,
    free_space: Gauge,
    incoming_disk: Gauge,
    incoming_memory: Gauge,
    handshakes: Family<Handshake, Counter>,
    logins: Family<Login, Counter>,
    queue: Family<State, Gauge>,
    sites: Gauge,
    dead: Gauge,
    oldest: Gauge,
    sessions: Gauge,
    away: Gauge,
    aside: Gauge,
    undelivered: Gauge,
    fenced: Gauge,
    log: Gauge,
    flushes: Counter,
    panics: Family<Part, Counter>,
    lost_lines: Counter,
    lost_records: Counter,
    started: Gauge,
}

/// How things are, to be read beside what was counted.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// The queue.
    pub queue: QueueStatus,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// When the server was ready.
    pub started: u64,
    /// Connections of clients.
    pub sessions: usize,
    /// Listeners whose places are short.
    pub stressed: usize,
    /// Bytes that the disk has left.
    pub free_space: Option<u64>,
    /// Bytes on the disk of messages that are not promised yet.
    pub incoming_disk: u64,
    /// Bytes of memory of the same.
    pub incoming_memory: u64,
    /// Connections to other servers.
    pub away: usize,
    /// Bytes of the log that a start would read again.
    pub log_bytes: u64,
    /// Flushes of the log.
    pub flushes: u64,
    /// Lines of the log that were lost because nobody read it.
    pub lost_lines: u64,
    /// Records of the log that were lost because they could not be read.
    pub lost_records: u64,
    /// Mailboxes that are set aside.
    pub aside: usize,
    /// Records of the log that wait for their mailboxes.
    pub undelivered: usize,
    /// Whether another server has the store.
    pub fenced: bool,
    /// Panics that were caught, by what panicked.
    pub panics: Vec<(&'static str, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fate {
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Where {
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handshake {
    side: &'static str,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Login {
    protocol: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let delays: fn() -> Histogram = || Histogram::new(DELAYS);
        let mut metrics = Metrics {
            registry: Registry::default(),
            accepted: Family::default(),
            fates: Family::default(),
            delay: Family::new_with_constructor(delays),
            connections: Family::default(),
            refused: Counter::default(),
            dismissed: Family::default(),
            stressed: Gauge::default(),
            free_space: Gauge::default(),
            incoming_disk: Gauge::default(),
            incoming_memory: Gauge::default(),
            handshakes: Family::default(),
            logins: Family::default(),
            queue: Family::default(),
            sites: Gauge::default(),
            dead: Gauge::default(),
            oldest: Gauge::default(),
            sessions: Gauge::default(),
            away: Gauge::default(),
            aside: Gauge::default(),
            undelivered: Gauge::default(),
            fenced: Gauge::default(),
            log: Gauge::default(),
            flushes: Counter::default(),
            panics: Family::default(),
            lost_lines: Counter::default(),
            lost_records: Counter::default(),
            started: Gauge::default(),
        };
        // A series that is there from the start can be watched for its first increase.
        for fate in ["delivered", "relayed", "deferred", "bounced"] {
            drop(metrics.fates.get_or_create(&Fate { fate }));
        }
        for state in ["waiting", "active", "held"] {
            drop(metrics.queue.get_or_create(&State { state }));
        }
        for reason in ["stress", "account", "operator", "fenced"] {
            drop(metrics.dismissed.get_or_create(&Reason { reason }));
        }
        let (m, mut r) = (&metrics, Registry::with_prefix("hikyaku"));
        r.register("messages_accepted", "Messages taken, by the protocol they came by", m.accepted.clone());
        r.register("recipients", "What became of recipients, each time something did", m.fates.clone());
        r.register_with_unit("delivery_delay", "From acceptance to delivery, of each recipient", Unit::Seconds, m.delay.clone());
        r.register("connections", "Connections of clients, by protocol", m.connections.clone());
        r.register("connections_refused", "Connections that found every place taken", m.refused.clone());
        r.register("connections_dismissed", "Connections that were sent away, by the reason", m.dismissed.clone());
        r.register("stressed_listeners", "Listeners whose places are short", m.stressed.clone());
        r.register_with_unit(
            "free_space",
            "What the disk of the store has left, -1 if the system does not tell",
            Unit::Bytes,
            m.free_space.clone(),
        );
        r.register_with_unit("incoming_disk", "Written of messages that are not promised yet", Unit::Bytes, m.incoming_disk.clone());
        r.register_with_unit("incoming_memory", "Memory of messages that are not promised yet", Unit::Bytes, m.incoming_memory.clone());
        r.register("tls_handshakes", "TLS handshakes, by the side played here and what they led to", m.handshakes.clone());
        r.register("logins", "Logins, by protocol and outcome", m.logins.clone());
        r.register("queue_messages", "Messages in the queue, by state", m.queue.clone());
        r.register("queue_sites", "Next hops that mail waits for", m.sites.clone());
        r.register("queue_dead_sites", "Next hops that do not answer", m.dead.clone());
        r.register_with_unit(
            "queue_oldest_age",
            "Age of the oldest message in the queue, 0 if it is empty",
            Unit::Seconds,
            m.oldest.clone(),
        );
        r.register("sessions", "Connections of clients now", m.sessions.clone());
        r.register("deliveries_open", "Connections to other servers now", m.away.clone());
        r.register_with_unit("log", "Log that a start would read again", Unit::Bytes, m.log.clone());
        r.register("log_flushes", "Flushes of the log: the records of many messages share one", m.flushes.clone());
        r.register("mailboxes_set_aside", "Mailboxes that something is wrong with", m.aside.clone());
        r.register("fenced", "1 if another server has the store, so that nobody is served here", m.fenced.clone());
        r.register("undelivered", "Records of the log that wait for their mailboxes", m.undelivered.clone());
        r.register("panics", "Panics that were caught, by the part of the server they ended", m.panics.clone());
        r.register("lost_records", "Records of the log that waited and could not be read any more", m.lost_records.clone());
        r.register("lost_log_lines", "Lines for the log on standard error that were lost because nobody read it", m.lost_lines.clone());
        r.register_with_unit("start_time", "When the server was ready, since 1970", Unit::Seconds, m.started.clone());
        metrics.registry = r;
        metrics
    }
}

impl Metrics {
    /// Counts what happened to a message.
    pub fn count(&self, deed: &Deed) {
        let fate = match deed {
            Deed::Accepted { by, .. } => {
                self.accepted.get_or_create(&By { protocol: by.clone() }).inc();
                return;
            }
            Deed::Delivered { delay_s, .. } => {
                self.delay.get_or_create(&Where { to: "here" }).observe(*delay_s as f64);
                "delivered"
            }
            Deed::Relayed { delay_s, .. } => {
                self.delay.get_or_create(&Where { to: "elsewhere" }).observe(*delay_s as f64);
                "relayed"
            }
            Deed::Deferred { .. } => "deferred",
            Deed::Bounced { .. } => "bounced",
            Deed::Warned { .. } | Deed::Held { .. } | Deed::Changed { .. } => return,
        };
        self.fates.get_or_create(&Fate { fate }).inc();
    }

    /// A client is here.
    pub fn came(&self, protocol: &str) {
        self.connections.get_or_create(&By { protocol: protocol.into() }).inc();
    }

    /// A client found no place.
    pub fn turned_away(&self) {
        self.refused.inc();
    }

    /// Clients were sent away: for `stress`, because of their `account`, or by an `operator`.
    pub fn dismissed(&self, reason: &'static str, count: usize) {
        self.dismissed.get_or_create(&Reason { reason }).inc_by(count as u64);
    }

    /// A handshake is over; `version` is that of TLS, or `none` if it failed.
    pub fn shook_hands(&self, as_server: bool, version: &str) {
        let side = if as_server { "server" } else { "client" };
        self.handshakes.get_or_create(&Handshake { side, version: version.into() }).inc();
    }

    /// Somebody logged in, or was not let in.
    pub fn login(&self, protocol: &'static str, is_in: bool) {
        self.logins.get_or_create(&Login { protocol, outcome: if is_in { "accepted" } else { "refused" } }).inc();
    }

    /// Everything as text.
    ///
    /// # Errors
    /// If the library cannot print it.
    pub fn print(&self, levels: &Levels) -> Result<String, fmt::Error> {
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let queue = &levels.queue;
        for (state, count) in [("waiting", queue.waiting), ("active", queue.active), ("held", queue.held)] {
            set(&self.queue.get_or_create(&State { state }), count);
        }
        set(&self.sites, queue.sites);
        set(&self.dead, queue.dead_count);
        set(&self.oldest, queue.oldest.map_or(0, |oldest| levels.now.saturating_sub(oldest)));
        set(&self.sessions, levels.sessions as u64);
        set(&self.stressed, levels.stressed as u64);
        self.free_space.set(levels.free_space.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
        set(&self.incoming_disk, levels.incoming_disk);
        set(&self.incoming_memory, levels.incoming_memory);
        set(&self.away, levels.away as u64);
        set(&self.log, levels.log_bytes);
        set(&self.aside, levels.aside as u64);
        set(&self.undelivered, levels.undelivered as u64);
        set(&self.fenced, u64::from(levels.fenced));
        // Counted by the log itself; two who print at once must not count twice, so it is set and not added to.
        self.flushes.inner().store(levels.flushes, Relaxed);
        self.lost_lines.inner().store(levels.lost_lines, Relaxed);
        self.lost_records.inner().store(levels.lost_records, Relaxed);
        for (part, count) in &levels.panics {
            self.panics.get_or_create(&Part { part }).inner().store(*count, Relaxed);
        }
        set(&self.started, levels.started);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_printed() {
        let metrics = Metrics::default();
        metrics.count(&Deed::Delivered { recipient: "a@b".into(), account: "a@b".into(), delay_s: 4 });
        metrics.login("imap", false);
        metrics.shook_hands(true, "TLSv1.3");
        let queue = QueueStatus { waiting: 3, oldest: Some(100), ..QueueStatus::default() };
        let text = metrics.print(&Levels { queue, now: 160, panics: vec![("chores", 2)], ..Levels::default() }).unwrap();
        for line in [
            "hikyaku_recipients_total{fate=\"delivered\"} 1",
            "hikyaku_recipients_total{fate=\"bounced\"} 0",
            "hikyaku_delivery_delay_seconds_bucket{le=\"5.0\",to=\"here\"} 1",
            "hikyaku_logins_total{protocol=\"imap\",outcome=\"refused\"} 1",
            "hikyaku_tls_handshakes_total{side=\"server\",version=\"TLSv1.3\"} 1",
            "hikyaku_queue_messages{state=\"waiting\"} 3",
            "hikyaku_queue_oldest_age_seconds 60",
            "hikyaku_panics_total{part=\"chores\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_documented_exists() {
        let metrics = Metrics::default();
        metrics.came("smtp");
        metrics.login("imap", true);
        metrics.shook_hands(false, "none");
        let accepted = Deed::Accepted {
            sender: String::new(),
            recipients: Vec::new(),
            size: 0,
            by: "smtp".into(),
            client: String::new(),
            message_id: None,
            about: None,
        };
        metrics.count(&accepted);
        metrics.count(&Deed::Delivered { recipient: "a@b".into(), account: "a@b".into(), delay_s: 4 });
        let text = metrics.print(&Levels { panics: vec![("chores", 1)], ..Levels::default() }).unwrap();
        let names = |text: &str| -> std::collections::BTreeSet<String> {
            let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            words.filter(|w| w.starts_with("hikyaku_")).map(|w| w.trim_end_matches("_bucket").to_owned()).collect()
        };
        let samples: String = text.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
        let there = names(&samples);
        for document in [include_str!("../../docs/alerts.yml"), include_str!("../../docs/control.md")] {
            for name in names(document) {
                assert!(there.contains(&name) || there.contains(&format!("{name}_sum")), "{name} does not exist\n{text}");
            }
        }
        for name in there.iter().filter(|n| !n.ends_with("_sum") && !n.ends_with("_count")) {
            assert!(names(include_str!("../../docs/control.md")).contains(name), "{name} is not documented");
        }
    }
}
