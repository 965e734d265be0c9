//! A queue under dice, against what must always hold.

use super::*;
use alloc::{format, vec};

fn entry<'a>(id: u64, recipients: &'a [(u16, &'a str)]) -> Entry<'a> {
    Entry { id, arrived_ms: 0, priority: 0, not_before_ms: None, give_up_ms: None, due_ms: None, held: false, recipients }
}

fn connect(queue: &mut Queue, now: u64) -> (Ticket, Box<str>) {
    match queue.poll(now) {
        Some(Action::Connect { ticket, site }) => (ticket, site),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_goes_and_is_forgotten() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.admit(0, &entry(1, &[(0, "a.test"), (1, "a.test")]));
    let (ticket, site) = connect(&mut queue, 0);
    assert_eq!((&*site, queue.poll(0)), ("a.test", None));
    let job = queue.take(ticket, 100).unwrap();
    assert_eq!(job, Job { id: 1, recipients: vec![0, 1], attempts: 0 });
    assert_eq!(queue.settle(0, ticket, &[(0, Outcome::Done), (1, Outcome::Done)]), [Verdict::AsSaid; 2]);
    assert!(queue.is_empty());
    assert_eq!(queue.take(ticket, 100), None);
    queue.admit(5, &entry(2, &[(0, "a.test")]));
    assert_eq!(queue.poll(5), Some(Action::Wake(ticket)), "an idle connection is used again");
    assert_eq!(queue.poll(5), None);
    assert!(queue.take(ticket, 1).is_some());
    queue.settle(5, ticket, &[(0, Outcome::Done)]);
    queue.closed(6, ticket, Ended::Fine);
    assert_eq!((queue.sites(), queue.connections(), queue.deadline()), ((0, 0), 0, None));
}

#[test]
fn what_fails_is_reported_when_nothing_else_goes_on() {
    let settings = Settings { recipients: 1, ..Settings::default() };
    let mut queue = Queue::new(settings, 1);
    queue.admit(0, &entry(1, &[(0, "a.test"), (1, "a.test"), (2, "b.test")]));
    let (mut tickets, mut jobs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (ticket, _) = connect(&mut queue, 0);
        tickets.push(ticket);
    }
    assert_eq!(queue.poll(0), None, "one finds out whether the site is there");
    jobs.extend(tickets.iter().map(|t| queue.take(*t, 9).unwrap()));
    tickets.push(connect(&mut queue, 0).0);
    jobs.push(queue.take(tickets[2], 9).unwrap());
    queue.settle(1, tickets[0], &[(jobs[0].recipients[0], Outcome::Failed)]);
    assert_eq!(queue.poll(1), None, "two are under way");
    queue.settle(1, tickets[1], &[(jobs[1].recipients[0], Outcome::Failed)]);
    let verdicts = queue.settle(1, tickets[2], &[(jobs[2].recipients[0], Outcome::Later)]);
    assert!(matches!(verdicts[..], [Verdict::Again { attempts: 1, next_ms }] if next_ms > 1));
    let Some(Action::Report { id: 1, recipients }) = queue.poll(2) else { panic!() };
    assert_eq!(recipients, [jobs[0].recipients[0], jobs[1].recipients[0]]);
    queue.settled(1, &recipients);
    assert_eq!((queue.poll(2), queue.len()), (None, 1));
    queue.settled(1, &[0, 1, 2]);
    assert!(queue.is_empty());
}

#[test]
fn late_and_too_late() {
    let settings = Settings { warn_after_s: 10, give_up_after_s: 100, retry: Retry::List(vec![30_000]), ..Settings::default() };
    let mut queue = Queue::new(settings, 1);
    queue.admit(0, &entry(1, &[(7, "a.test")]));
    let (ticket, _) = connect(&mut queue, 0);
    queue.take(ticket, 1).unwrap();
    queue.settle(0, ticket, &[(7, Outcome::Later)]);
    queue.closed(0, ticket, Ended::Fine);
    assert_eq!(queue.deadline(), Some(10_000));
    assert_eq!(queue.poll(9_999), None);
    assert_eq!(queue.poll(10_000), Some(Action::Warn { id: 1, recipients: vec![7] }));
    assert_eq!(queue.poll(29_999), None);
    let (ticket, _) = connect(&mut queue, 30_000);
    queue.take(ticket, 1).unwrap();
    assert_eq!(queue.poll(100_000), None, "it is under way");
    assert_eq!(queue.settle(100_001, ticket, &[(7, Outcome::Later)]), [Verdict::TooLate]);
    assert_eq!(queue.poll(100_001), Some(Action::Report { id: 1, recipients: vec![7] }));
    queue.report_failed(1);
    assert_eq!(queue.poll(100_002), Some(Action::Report { id: 1, recipients: vec![7] }), "asked again");
    queue.settled(1, &[7]);
    assert!(queue.is_empty());
    queue.admit(0, &entry(2, &[(0, "b.test")]));
    queue.closed(100_003, ticket, Ended::Fine);
    assert!(queue.hold(2));
    assert_eq!(queue.poll(100_003), None, "nobody gives up what an operator holds");
    assert!(queue.release(100_003, 2));
    assert!(matches!(queue.poll(100_003), Some(Action::Warn { id: 2, .. })), "late as it is");
    let (ticket, _) = connect(&mut queue, 100_003);
    queue.closed(100_003, ticket, Ended::Failed);
    let later = 100_003 + 86_400_000;
    assert_eq!(queue.poll(later), Some(Action::Expired { id: 2, recipients: vec![0] }));
    assert_eq!(queue.poll(later), Some(Action::Report { id: 2, recipients: vec![0] }));
}

#[test]
fn who_sets_a_time_hears_then() {
    for (warn_after_s, due_ms) in [(10, 50_000), (80, 50_000), (0, 50_000)] {
        let mut queue = Queue::new(Settings { warn_after_s, give_up_after_s: 100, ..Settings::default() }, 1);
        queue.admit(0, &Entry { due_ms: Some(due_ms), ..entry(1, &[(0, "a.test")]) });
        let mut state = Vec::new();
        queue.save(1, &mut state);
        let mut queue = Queue::new(Settings { warn_after_s, give_up_after_s: 100, ..Settings::default() }, 1);
        queue.restore(0, 1, &state, |_| None).unwrap();
        let (ticket, _) = connect(&mut queue, 0);
        queue.closed(0, ticket, Ended::Failed);
        assert!(!matches!(queue.poll(due_ms - 1), Some(Action::Warn { .. })));
        assert!((0..3).any(|_| matches!(queue.poll(due_ms), Some(Action::Warn { id: 1, .. }))));
        assert!((0..9).all(|_| !matches!(queue.poll(99_000), Some(Action::Warn { .. }))), "once");
    }
}

#[test]
fn what_was_held_back_is_as_old_as_its_release() {
    let settings = Settings { warn_after_s: 10, give_up_after_s: 100, ..Settings::default() };
    let mut queue = Queue::new(settings, 1);
    queue.admit(0, &Entry { not_before_ms: Some(500_000), ..entry(1, &[(0, "a.test")]) });
    assert_eq!((queue.poll(499_999), queue.deadline()), (None, Some(500_000)));
    let (ticket, _) = connect(&mut queue, 500_000);
    queue.closed(500_000, ticket, Ended::Failed);
    assert!(matches!(queue.poll(510_000), Some(Action::Warn { id: 1, .. })));
}

#[test]
fn what_is_cancelled_under_way_is_not_tried_again() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.admit(0, &entry(1, &[(0, "a.test"), (1, "a.test")]));
    let (ticket, _) = connect(&mut queue, 0);
    queue.take(ticket, 9).unwrap();
    assert!(queue.cancel(1) && queue.contains(1));
    let mut state = Vec::new();
    queue.save(1, &mut state);
    let mut again = Queue::new(Settings::default(), 1);
    again.restore(0, 1, &state, |_| None).unwrap();
    assert!(again.is_empty());
    queue.settle(0, ticket, &[(0, Outcome::Later), (1, Outcome::Failed)]);
    assert!(queue.is_empty());
    assert_eq!(queue.poll(0), None);
}

#[test]
fn trouble_of_this_host_is_no_reason_to_hurry() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.admit(0, &entry(1, &[(0, "a.test")]));
    let (ticket, _) = connect(&mut queue, 0);
    queue.closed(7, ticket, Ended::Ours);
    assert_eq!((queue.poll(7), queue.deadline()), (None, Some(1_007)));
    let (ticket, _) = connect(&mut queue, 1_007);
    // One that ends without a word is no success either.
    queue.closed(1_008, ticket, Ended::Fine);
    assert_eq!(queue.poll(1_008), None);
    assert!(queue.deadline().unwrap() > 50_000);
}

#[test]
fn a_pause_that_is_over_is_no_deadline_while_all_connections_are_in_use() {
    let mut queue = Queue::new(Settings { connections: 1, ..Settings::default() }, 1);
    queue.admit(0, &entry(1, &[(0, "a.test")]));
    let (ticket, _) = connect(&mut queue, 0);
    queue.closed(0, ticket, Ended::Ours);
    let (ticket, _) = connect(&mut queue, 1_000);
    queue.take(ticket, 9).unwrap();
    queue.admit(1_000, &entry(2, &[(0, "b.test")]));
    assert_eq!((queue.poll(1_000), queue.is_due(1_000)), (None, false));
    assert!(queue.deadline().unwrap() > 1_000, "or its host would poll without end");
}

/// Messages to one site, over connections that it bears so many of: how many there are in the end, and how many were refused.
fn busy_site(bears: usize, messages: u64) -> (usize, u32) {
    let mut queue = Queue::new(Settings::default(), 1);
    let (mut open, mut refused, mut gone) = (Vec::new(), 0, 0);
    for id in 0..messages {
        queue.admit(0, &entry(id, &[(0, "hub.test")]));
    }
    while gone < messages / 2 {
        while let Some(action) = queue.poll(0) {
            let Action::Connect { ticket, .. } = action else { panic!("{action:?}") };
            if open.len() < bears {
                open.push(ticket);
            } else {
                refused += 1;
                queue.closed(0, ticket, Ended::Failed);
            }
            // The others work meanwhile.
            for ticket in &open {
                if queue.take(*ticket, 9).is_some() {
                    queue.settle(0, *ticket, &[(0, Outcome::Done)]);
                    gone += 1;
                }
            }
        }
        for ticket in &open {
            assert!(queue.take(*ticket, 9).is_some(), "half of them still wait");
            queue.settle(0, *ticket, &[(0, Outcome::Done)]);
            gone += 1;
        }
    }
    (open.len(), refused)
}

#[test]
fn a_smart_host_gets_more_connections_as_messages_go() {
    assert_eq!(busy_site(100, 1_000), (20, 0));
}

#[test]
fn a_site_that_bears_no_more_is_not_dialled_all_the_time() {
    let (open, refused) = busy_site(3, 20_000);
    assert_eq!(open, 3);
    assert!(refused <= 2 + 10_000 / 1_000, "{refused} refused for 10,000 messages");
}

#[test]
fn who_polls_is_not_needed_for_every_message() {
    let mut queue = Queue::new(Settings { per_site: 1, ..Settings::default() }, 1);
    assert!(!queue.is_due(0));
    queue.admit(0, &entry(1, &[(0, "a.test")]));
    assert!(queue.is_due(0));
    let (ticket, _) = connect(&mut queue, 0);
    assert!(!queue.is_due(0), "{:?}", queue.poll(0));
    queue.admit(0, &entry(2, &[(0, "a.test")]));
    assert!(!queue.is_due(0), "it has its connection");
    for _ in 0..2 {
        queue.take(ticket, 9).unwrap();
        queue.settle(0, ticket, &[(0, Outcome::Done)]);
        assert!(!queue.is_due(0));
    }
    assert_eq!(queue.take(ticket, 9), None);
    queue.admit(0, &entry(3, &[(0, "a.test")]));
    assert!(queue.is_due(0));
    assert_eq!((queue.wake(), queue.wake(), queue.is_due(0)), (Some(ticket), None, false));
    queue.admit(0, &entry(4, &[(0, "b.test")]));
    assert!(queue.is_due(0));
}

#[test]
fn an_idle_connection_works_although_all_are_in_use() {
    let mut queue = Queue::new(Settings { connections: 1, ..Settings::default() }, 1);
    queue.admit(0, &entry(1, &[(0, "a.test")]));
    let (ticket, _) = connect(&mut queue, 0);
    queue.take(ticket, 9).unwrap();
    queue.settle(0, ticket, &[(0, Outcome::Done)]);
    assert_eq!(queue.take(ticket, 9), None);
    queue.admit(0, &entry(2, &[(0, "b.test")]));
    queue.admit(0, &entry(3, &[(0, "a.test")]));
    assert_eq!(queue.poll(0), Some(Action::Wake(ticket)));
    assert_eq!(queue.poll(0), None, "no place for another");
    queue.take(ticket, 9).unwrap();
    queue.settle(0, ticket, &[(0, Outcome::Done)]);
    assert_eq!((queue.take(ticket, 9), queue.poll(0)), (None, Some(Action::Leave(ticket))));
    assert_eq!((queue.take(ticket, 9), queue.poll(0)), (None, None), "it is going");
    queue.closed(0, ticket, Ended::Fine);
    assert_eq!(&*connect(&mut queue, 0).1, "b.test");
}

#[test]
fn nobody_keeps_all_connections() {
    let mut queue = Queue::new(Settings { connections: 1, recipients: 1, ..Settings::default() }, 1);
    let many: Vec<(u16, &str)> = (0..1000).map(|n| (n, "a.test")).collect();
    queue.admit(0, &entry(1, &many));
    let (ticket, _) = connect(&mut queue, 0);
    queue.admit(0, &entry(2, &[(0, "b.test")]));
    let mut jobs = 0;
    while let Some(job) = queue.take(ticket, 1) {
        queue.settle(0, ticket, &[(job.recipients[0], Outcome::Done)]);
        jobs += 1;
    }
    assert_eq!((jobs, queue.poll(0)), (JOBS_MAX, Some(Action::Leave(ticket))));
    queue.closed(0, ticket, Ended::Fine);
    assert_eq!(&*connect(&mut queue, 0).1, "b.test");
}

#[test]
fn what_was_deferred_together_goes_together_after_a_restart() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.admit(0, &entry(1, &[(0, "a.test"), (1, "a.test"), (2, "a.test"), (3, "b.test")]));
    (0..4).for_each(|n| queue.again(1, n, 2, 60_000));
    assert_eq!(queue.poll(0), None);
    let sites: Vec<Box<str>> = [connect(&mut queue, 60_000), connect(&mut queue, 60_000)]
        .map(|(ticket, site)| {
            assert_eq!(queue.take(ticket, 9).unwrap().recipients, if *site == *"a.test" { vec![0, 1, 2] } else { vec![3] });
            site
        })
        .into();
    assert_eq!((sites.len(), queue.poll(60_000)), (2, None));
}

#[test]
fn a_large_mailing_lets_small_ones_pass_and_still_goes_on() {
    let settings = Settings { recipients: 1, per_site: 1, warn_after_s: 0, ..Settings::default() };
    let mut queue = Queue::new(settings, 1);
    let many: Vec<(u16, &str)> = (0..1000).map(|n| (n, "a.test")).collect();
    queue.admit(0, &entry(1, &many));
    let (ticket, _) = connect(&mut queue, 0);
    let mut order = Vec::new();
    for step in 0..200u64 {
        let job = queue.take(ticket, 1).unwrap();
        order.push(job.id);
        queue.settle(step, ticket, &[(job.recipients[0], Outcome::Done)]);
        // Somebody sends a small message all the time.
        queue.admit(step, &entry(100 + step, &[(0, "a.test")]));
    }
    assert_eq!(order[..2], [1, 100], "a small one passes at once");
    let large = order.iter().filter(|id| **id == 1).count();
    assert!((8..=30).contains(&large), "{large} of 200");
    queue.admit(0, &Entry { priority: 5, ..entry(9_999, &[(0, "a.test")]) });
    assert_eq!(queue.take(ticket, 1).unwrap().id, 9_999);
}

#[test]
fn operators_are_obeyed() {
    let mut queue = Queue::new(Settings { warn_after_s: 0, ..Settings::default() }, 1);
    queue.admit(0, &Entry { held: true, ..entry(1, &[(0, "a.test")]) });
    queue.admit(0, &Entry { not_before_ms: Some(5_000), ..entry(2, &[(0, "a.test"), (1, "b.test")]) });
    assert_eq!(queue.poll(0), None);
    assert!(queue.release(0, 1) && queue.retry(2) && !queue.retry(3));
    assert!(queue.hold(1));
    let sites: Vec<Box<str>> = core::iter::from_fn(|| match queue.poll(0) {
        Some(Action::Connect { site, .. }) => Some(site),
        None => None,
        other => panic!("{other:?}"),
    })
    .collect();
    assert_eq!(sites.len(), 2);
    assert!(queue.reroute(1, "c.test") && queue.release(0, 1));
    assert_eq!(&*connect(&mut queue, 0).1, "c.test");
    assert!(queue.reschedule(1, 77_000));
    assert_eq!(queue.next_of(1, 0), Some(PartState::Waiting(77_000)));
    assert_eq!(queue.flush_site("c.test"), 1);
    assert_eq!(queue.list_after(Some(1)).map(|l| l.id).collect::<Vec<_>>(), [2]);
    assert!(queue.cancel(1) && !queue.contains(1));
}

#[test]
fn what_is_cancelled_while_it_is_sent_counts_as_being_sent() {
    let mut queue = Queue::new(Settings::default(), 1);
    queue.admit(0, &entry(1, &[(0, "a.test")]));
    queue.admit(0, &Entry { held: true, ..entry(2, &[(0, "b.test")]) });
    let ticket = connect(&mut queue, 0).0;
    queue.take(ticket, 1).unwrap();
    assert!(queue.hold(1));
    assert_eq!(queue.count(), (0, 1, 1));
    assert!(queue.cancel(1));
    assert_eq!(queue.count(), (0, 1, 1));
    queue.settle(0, ticket, &[(0, Outcome::Later)]);
    assert_eq!(queue.count(), (0, 0, 1));
    assert!(queue.release(0, 2));
    assert_eq!(queue.count(), (1, 0, 0));
}

#[test]
fn an_operator_says_when_a_message_is_given_up() {
    let mut queue = Queue::new(Settings { warn_after_s: 0, ..Settings::default() }, 1);
    let later = |id| Entry { not_before_ms: Some(50_000), ..entry(id, &[(0, "a.test")]) };
    queue.admit(0, &later(1));
    queue.admit(0, &later(2));
    let usual = queue.show(2).unwrap().give_up_ms;
    assert!(queue.give_up_at(1, 5_000) && queue.give_up_at(2, usual + 7_000) && !queue.give_up_at(3, 5_000));
    assert_eq!((queue.show(1).unwrap().give_up_ms, queue.show(2).unwrap().give_up_ms), (5_000, usual + 7_000));
    assert_eq!((queue.poll(4_999), queue.deadline()), (None, Some(5_000)));
    assert_eq!(queue.poll(5_000), Some(Action::Expired { id: 1, recipients: vec![0] }));
    assert_eq!(queue.poll(5_000), Some(Action::Report { id: 1, recipients: vec![0] }));
    queue.settled(1, &[0]);
    assert!(!queue.contains(1));
    // Earlier than it was, and later again: only the last word counts.
    assert!(queue.give_up_at(2, 6_000) && queue.give_up_at(2, 9_000));
    assert_eq!((queue.poll(8_999), queue.deadline()), (None, Some(9_000)));
    assert_eq!(queue.poll(9_000), Some(Action::Expired { id: 2, recipients: vec![0] }));
}

#[test]
fn it_comes_back_from_its_state() {
    let mut queue = Queue::new(Settings { recipients: 2, ..Settings::default() }, 1);
    queue.admit(
        1_000,
        &Entry { arrived_ms: 1_000, priority: -3, ..entry(7, &[(0, "a.test"), (1, "a.test"), (2, "a.test"), (3, "b.test")]) },
    );
    let (ticket, site) = connect(&mut queue, 1_000);
    let job = queue.take(ticket, 1).unwrap();
    queue.settle(2_000, ticket, &[(job.recipients[0], Outcome::Later)]);
    let job = queue.take(ticket, 1).unwrap();
    queue.settle(2_000, ticket, &[(job.recipients[0], Outcome::Failed)]);
    let mut bytes = Vec::new();
    queue.save(7, &mut bytes);
    let mut again = Queue::new(Settings::default(), 1);
    again.restore(3_000, 7, &bytes, |n| Some(format!("{}.test", if n == 3 { "b" } else { "a" }))).unwrap();
    let (was, is) = (queue.show(7).unwrap(), again.show(7).unwrap());
    assert_eq!((was.arrived_ms, was.give_up_ms, was.priority), (is.arrived_ms, is.give_up_ms, is.priority));
    assert_eq!(is.recipients.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 1, 2, 3], "{site}");
    assert!(is.recipients.iter().any(|r| matches!(r.3, PartState::Waiting(_)) && r.2 == 1));
    for end in 0..bytes.len() {
        let mut broken = Queue::new(Settings::default(), 1);
        if broken.restore(0, 7, &bytes[..end], |_| None).is_err() {
            assert!(broken.is_empty());
        }
    }
    again.again(7, 2, 4, 9_000_000);
    assert_eq!(again.next_of(7, 2), Some(PartState::Waiting(9_000_000)));
    again.settled(7, &[0, 1, 2, 3]);
    assert!(again.is_empty() && again.sites().0 == 0, "{again:?}");
}

/// Any order of events: what must hold holds, and in the end everybody has got an answer.
#[test]
fn a_clock_that_was_set_back_keeps_nothing_longer() {
    let settings = Settings { warn_after_s: 10, give_up_after_s: 100, retry: Retry::List(vec![30_000]), ..Settings::default() };
    let mut queue = Queue::new(settings.clone(), 1);
    let day = 86_400_000;
    queue.admit(day, &Entry { arrived_ms: day, ..entry(1, &[(0, "a.test")]) });
    let (ticket, _) = connect(&mut queue, day);
    queue.take(ticket, 1).unwrap();
    queue.settle(day, ticket, &[(0, Outcome::Later)]);
    let mut state = Vec::new();
    queue.save(1, &mut state);
    let mut again = Queue::new(settings, 1);
    again.restore(5_000, 1, &state, |_| None).unwrap();
    let listed = again.show(1).unwrap();
    assert_eq!((listed.arrived_ms, listed.give_up_ms), (5_000, 105_000));
    assert!(matches!(listed.recipients[0].3, PartState::Waiting(when) if when <= 40_000), "{listed:?}");
}

/// A message that was tried once an hour before the last run ended, and comes back at `now_ms` after the clocks did that.
fn after(lapse: Lapse, now_ms: u64, entry: &Entry<'_>) -> Queue {
    let settings = Settings { retry: Retry::List(vec![3_600_000]), ..Settings::default() };
    let mut queue = Queue::new(settings.clone(), 1);
    queue.admit(entry.arrived_ms, entry);
    if entry.not_before_ms.is_none() {
        let (ticket, _) = connect(&mut queue, entry.arrived_ms);
        queue.take(ticket, 1).unwrap();
        queue.settle(entry.arrived_ms, ticket, &[(0, Outcome::Later)]);
    }
    let mut state = Vec::new();
    queue.save(1, &mut state);
    let mut again = Queue::new(settings, 1);
    again.resume(lapse);
    again.restore(now_ms, 1, &state, |_| None).unwrap();
    again
}

const DAY: u64 = 86_400_000;
const HOUR: u64 = 3_600_000;

#[test]
fn a_clock_that_is_days_ahead_gives_nothing_up() {
    let days = |n: i64| n * DAY as i64;
    for (age_ms, now_ms) in [(days(6), 106 * DAY), (days(20_000), 20_100 * DAY), (days(-6), 94 * DAY)] {
        let lapse = Lapse { age_ms, ..Lapse::default() };
        let mut queue = after(lapse, now_ms + HOUR, &Entry { arrived_ms: 100 * DAY, ..entry(1, &[(0, "a.test")]) });
        let listed = queue.show(1).unwrap();
        assert_eq!((listed.arrived_ms, listed.give_up_ms), (now_ms, now_ms + 5 * DAY), "only the hour counts");
        assert!(matches!(queue.poll(now_ms + HOUR), Some(Action::Connect { .. })), "it is due");
    }
}

#[test]
fn what_comes_back_too_late_is_tried_once_more() {
    let now = 120 * DAY;
    let old = Entry { arrived_ms: 100 * DAY, ..entry(1, &[(0, "a.test")]) };
    let mut admitted = Queue::new(Settings::default(), 1);
    admitted.admit(now, &old);
    for mut queue in [after(Lapse::default(), now, &old), admitted] {
        let first = (0..2).find_map(|_| queue.poll(now).filter(|action| !matches!(action, Action::Warn { .. })));
        let Some(Action::Connect { ticket, .. }) = first else { panic!("{first:?}") };
        queue.take(ticket, 1).unwrap();
        assert!(matches!(queue.settle(now + 1, ticket, &[(0, Outcome::Later)])[..], [Verdict::Again { .. }]));
        assert!(matches!(queue.poll(now + HOUR), Some(Action::Expired { .. })));
    }
}

#[test]
fn times_that_somebody_named_are_the_time_of_day() {
    let lapse = Lapse { age_ms: 10 * DAY as i64, set_ms: 0, stamp_ms: 10 * DAY as i64 };
    let arrived_ms = 100 * DAY;
    let held = Entry { arrived_ms, not_before_ms: Some(105 * DAY), ..entry(1, &[(0, "a.test")]) };
    assert!(matches!(after(lapse, 110 * DAY, &held).poll(110 * DAY), Some(Action::Connect { .. })), "its time has come while nobody ran");
    let back = Lapse { age_ms: -(DAY as i64), set_ms: 0, stamp_ms: -(DAY as i64) };
    assert_eq!(after(back, 99 * DAY + HOUR, &held).next_of(1, 0), Some(PartState::Waiting(105 * DAY)));
    // DELIVERBY: late is late.
    let by = Entry { arrived_ms, give_up_ms: Some(101 * DAY), ..entry(1, &[(0, "a.test")]) };
    assert_eq!(after(lapse, 110 * DAY, &by).show(1).unwrap().give_up_ms, 101 * DAY);
    // It is 1970, and somebody may set the clock while this run counts on: no message is kept for longer than others are.
    let reset = Lapse { age_ms: -(99 * DAY as i64), set_ms: 0, stamp_ms: -(99 * DAY as i64) };
    assert_eq!(after(reset, DAY + HOUR, &by).show(1).unwrap().give_up_ms, 6 * DAY);
    let long = Entry { arrived_ms, ..entry(1, &[(0, "a.test")]) };
    for (when_ms, end_ms) in [(103 * DAY, 6 * DAY), (109 * DAY, 109 * DAY)] {
        let mut queue = after(reset, DAY + HOUR, &long);
        queue.give_up_again(1, when_ms);
        assert_eq!(queue.show(1).unwrap().give_up_ms, end_ms);
    }
    // The time of day was put right while the last run went on by the wrong one.
    let set = Lapse { age_ms: 20_000 * DAY as i64, set_ms: 20_000 * DAY as i64, stamp_ms: 0 };
    assert_eq!(after(set, 20_101 * DAY, &held).next_of(1, 0), Some(PartState::Waiting(20_105 * DAY)));
}

#[test]
fn an_operator_may_say_that_the_clock_was_right() {
    let lapse = Lapse { age_ms: 3 * DAY as i64, ..Lapse::default() };
    let now_ms = 103 * DAY + HOUR;
    let mut queue = after(lapse, now_ms, &Entry { arrived_ms: 100 * DAY, ..entry(1, &[(0, "a.test")]) });
    queue.admit(now_ms, &Entry { arrived_ms: now_ms, ..entry(9, &[(0, "b.test")]) });
    assert_eq!((queue.trust(now_ms, 9), queue.trust(now_ms, 9)), (3 * DAY, 0), "once");
    let times = |queue: &Queue, id: u64| queue.show(id).map(|m| (m.arrived_ms, m.give_up_ms)).unwrap();
    assert_eq!((times(&queue, 1), times(&queue, 9)), ((100 * DAY, 105 * DAY), (now_ms, now_ms + 5 * DAY)));
    // As long as that: it is tried once more.
    let mut late = after(
        Lapse { age_ms: 9 * DAY as i64, ..Lapse::default() },
        109 * DAY,
        &Entry { arrived_ms: 100 * DAY, ..entry(1, &[(0, "a.test")]) },
    );
    late.trust(109 * DAY, 9);
    assert_eq!(times(&late, 1), (100 * DAY, 109 * DAY + HOUR));
    while late.poll(109 * DAY).is_some() {}
    assert!(late.deadline().is_some_and(|at| at <= 109 * DAY + HOUR), "{late:?}");
}

#[test]
fn a_stamp_tells_the_age_if_it_can() {
    let arrived = |lapse: Lapse, stamp_ms: u64| lapse.arrived_ms(stamp_ms, 20_000 * DAY, 5 * DAY);
    let days = |n: i64| n * DAY as i64;
    assert_eq!(arrived(Lapse::default(), 19_999 * DAY), 19_999 * DAY);
    assert_eq!(arrived(Lapse { stamp_ms: days(6), age_ms: days(6), set_ms: 0 }, 19_993 * DAY), 19_999 * DAY, "the clock is six days ahead");
    assert_eq!(arrived(Lapse { stamp_ms: days(19_900), ..Lapse::default() }, 99 * DAY), 19_999 * DAY, "it was 1970");
    let set = Lapse { age_ms: days(19_900), set_ms: days(19_900), stamp_ms: 0 };
    assert_eq!(arrived(set, 99 * DAY), 19_999 * DAY, "it was 1970, until somebody set the clock");
    assert_eq!(arrived(set, 19_999 * DAY), 19_999 * DAY, "after that");
    assert_eq!(arrived(Lapse::default(), 20_001 * DAY), 20_000 * DAY, "nothing arrives in the future");
}

#[test]
fn under_dice() {
    for seed in 0..100u64 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let settings = Settings {
            recipients: dice.u16(1..4),
            per_site: dice.u32(1..6),
            connections: dice.u32(1..8),
            warn_after_s: dice.u32(0..100),
            give_up_after_s: 100_000,
            retry: Retry::List(vec![1_000, 20_000]),
        };
        let mut queue = Queue::new(settings.clone(), seed);
        let mut now = 0u64;
        let mut open: BTreeMap<Ticket, Option<Job>> = BTreeMap::new();
        let mut done: BTreeSet<(u64, u16)> = BTreeSet::new();
        let mut all: BTreeSet<(u64, u16)> = BTreeSet::new();
        let mut idle: BTreeSet<Ticket> = BTreeSet::new();
        let names = ["a", "b", "dead", "c"];
        for step in 0..4_000u64 {
            let quiet = step > 1_500;
            if !quiet && dice.u32(0..10) == 0 {
                let list: Vec<(u16, &str)> = (0..dice.u16(1..7)).map(|n| (n, names[dice.usize(0..names.len())])).collect();
                all.extend(list.iter().map(|r| (step, r.0)));
                queue.admit(now, &Entry { arrived_ms: now, priority: dice.i8(-2..3), held: dice.u8(0..9) == 0, ..entry(step, &list) });
            }
            if !quiet && dice.u8(0..20) == 0 {
                let ids: Vec<u64> = queue.ids().collect();
                if let Some(id) = dice.choice(&ids) {
                    assert!(if dice.bool() { queue.hold(*id) } else { queue.release(now, *id) });
                }
            }
            let due = queue.is_due(now);
            let action = queue.poll(now);
            assert!(due || action.is_none(), "{action:?} would have waited");
            match action {
                Some(Action::Connect { ticket, site }) => {
                    if *site == *"dead" && !quiet {
                        queue.closed(now, ticket, Ended::Failed);
                    } else {
                        assert!(open.insert(ticket, None).is_none());
                    }
                }
                Some(Action::Wake(ticket)) => assert!(idle.remove(&ticket), "only idle ones are woken"),
                Some(Action::Leave(ticket)) => {
                    assert!(idle.remove(&ticket), "only idle ones leave");
                    open.remove(&ticket);
                    queue.closed(now, ticket, Ended::Fine);
                }
                Some(Action::Report { id, recipients }) => {
                    if dice.u8(0..3) == 0 {
                        queue.report_failed(id);
                    } else {
                        for n in &recipients {
                            assert!(done.insert((id, *n)), "reported twice");
                        }
                        queue.settled(id, &recipients);
                    }
                }
                Some(Action::Warn { .. } | Action::Expired { .. }) => {}
                None => {
                    if idle.len() == open.len() || dice.u8(0..4) == 0 {
                        now = now.max(queue.deadline().unwrap_or(now)).max(now + u64::from(dice.u32(0..500)));
                    }
                    // Sessions do not stay for ever, and others may wait for their places.
                    if let Some(ticket) = idle.pop_first() {
                        open.remove(&ticket);
                        queue.closed(now, ticket, Ended::Fine);
                    }
                }
            }
            assert!(queue.connections() <= settings.connections as usize);
            if step % 16 == 0 {
                let all: Vec<Listed> = queue.list_after(None).collect();
                let active = all.iter().filter(|m| m.recipients.iter().any(|r| r.3 == PartState::Flying)).count();
                let held = all.iter().filter(|m| m.held && m.recipients.iter().all(|r| r.3 != PartState::Flying)).count();
                assert_eq!(queue.count(), (all.len() - active - held, active, held));
                let dead: BTreeSet<&str> = queue.each_site().filter(|site| site.3.is_some()).map(|site| site.0).collect();
                assert_eq!((queue.dead_sites().collect::<BTreeSet<&str>>(), queue.sites().1), (dead.clone(), dead.len()));
            }
            assert!(queue.each_site().all(|(_, _, open, _)| open <= settings.per_site));
            let busy: Vec<Ticket> = open.keys().filter(|t| !idle.contains(t)).copied().collect();
            if !busy.is_empty() {
                let ticket = busy[dice.usize(0..busy.len())];
                match open.get_mut(&ticket).unwrap() {
                    job @ None => match queue.take(ticket, dice.usize(1..4)) {
                        Some(taken) => *job = Some(taken),
                        None => drop(idle.insert(ticket)),
                    },
                    job => {
                        let Job { id, recipients, .. } = job.take().unwrap();
                        if dice.u8(0..8) == 0 && !quiet {
                            open.remove(&ticket);
                            queue.closed(now, ticket, if dice.bool() { Ended::Failed } else { Ended::Ours });
                        } else {
                            let outcomes: Vec<(u16, Outcome)> = recipients
                                .iter()
                                .map(|n| {
                                    (
                                        *n,
                                        if quiet {
                                            Outcome::Done
                                        } else {
                                            [Outcome::Done, Outcome::Failed, Outcome::Later][dice.usize(0..3)]
                                        },
                                    )
                                })
                                .collect();
                            for ((n, outcome), verdict) in outcomes.iter().zip(queue.settle(now, ticket, &outcomes)) {
                                if *outcome == Outcome::Done {
                                    assert!(done.insert((id, *n)), "done twice");
                                }
                                assert_eq!(*outcome == Outcome::Later, !matches!(verdict, Verdict::AsSaid));
                            }
                        }
                    }
                }
            }
            if step == 1_501 {
                let held: Vec<u64> = queue.ids().collect();
                held.into_iter().for_each(|id| assert!(queue.release(now, id)));
            }
        }
        assert!(queue.is_empty(), "seed {seed}: {:?}", queue.list_after(None).next());
        assert_eq!(done, all, "seed {seed}");
        assert_eq!(queue.waiting.len() + queue.late.len() + queue.reports.len(), 0, "seed {seed}");
    }
}
