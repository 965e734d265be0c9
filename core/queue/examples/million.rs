//! What a million queued messages cost: `cargo run --release -p hikyaku-queue --example million`. Memory is what the system says this process
//! holds, and times are of the processor, so that other work does not count (Linux).

use hikyaku_queue::{Entry, Queue, Settings};
use std::time::Duration;

const MESSAGES: u64 = 1_000_000;

fn main() {
    let before = resident();
    let start = used();
    let mut queue = Queue::new(Settings::default(), 1);
    for id in 0..MESSAGES {
        let name = format!("site{}.test", id % 10_000);
        let recipients = [(0, &*name)];
        // They wait for another attempt.
        let not_before_ms = Some(2_000_000_000_000 + id % 600_000);
        let arrived_ms = 1_990_000_000_000 + id;
        queue.admit(
            arrived_ms,
            &Entry { id, arrived_ms, priority: 0, not_before_ms, give_up_ms: None, due_ms: None, held: false, recipients: &recipients },
        );
    }
    let bytes = resident().saturating_sub(before);
    println!(
        "{MESSAGES} messages with one recipient each to 10,000 sites: {:?}, {} bytes each",
        used().saturating_sub(start),
        bytes / MESSAGES
    );
    let start = used();
    let mut states = Vec::new();
    let mut ends = Vec::with_capacity(MESSAGES as usize);
    for id in 0..MESSAGES {
        queue.save(id, &mut states);
        ends.push(states.len());
    }
    println!("their state as bytes: {:?}, {} bytes each", used().saturating_sub(start), states.len() as u64 / MESSAGES);
    let start = used();
    let mut again = Queue::new(Settings::default(), 1);
    let mut from = 0;
    for (id, end) in (0..MESSAGES).zip(ends) {
        again.restore(1_995_000_000_000, id, &states[from..end], |_| None).expect("a state that was just saved");
        from = end;
    }
    println!("and back: {:?}, {} messages", used().saturating_sub(start), again.len());
    let start = used();
    let connections = std::iter::from_fn(|| again.poll(2_000_000_600_000)).count();
    println!("all due at once: {:?} until {connections} connections are asked for", used().saturating_sub(start));
}

/// Bytes of memory that this process holds; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// Processor time that this process used; 0 where the system does not tell.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are the 12th and 13th field behind the name, in hundredths of a second.
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace();
    Duration::from_millis(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}
