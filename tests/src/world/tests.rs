//! Worlds without a house: strangers among themselves, and our client among strangers.

use super::{plan::Deed, *};
use smtp::client::Fate;
use std::net::SocketAddr;
use storage::outgoing::Transport;

/// The scripts by themselves: foreign clients bring their letters to foreign servers.
#[test]
fn strangers_get_along() {
    let mut copies = 0;
    for seed in 0..50 {
        let mut plan = Plan::new(seed, None);
        let site = plan.sites[0].ip;
        for (_, deed) in &mut plan.deeds {
            if let Deed::Client(_, to, ..) = deed {
                *to = site;
            }
        }
        let mut world = World::new(plan, false);
        world.play();
        assert_eq!(world.stage.books.wrong, [""; 0], "seed {seed}");
        copies += world.stage.books.copies.len();
    }
    assert!(copies > 100, "{copies} letters arrived");
}

/// Our client among servers that behave badly: whatever happens, each recipient has a fate, and it is the true one.
#[test]
fn a_client_knows_what_became_of_its_letters() {
    let mut fates = [0_u64; 2];
    let seeds = std::env::var("SEEDS").map_or(150, |n| n.parse().expect("a number"));
    for seed in 0..seeds {
        let mut plan = Plan::new(seed, None);
        let site = plan.sites[0].ip;
        let mut trips = Vec::new();
        for (_, deed) in &mut plan.deeds {
            if let Deed::Client(from, _, _, letters) = deed {
                for letter in &mut *letters {
                    letter.recipients.sort();
                    letter.recipients.dedup_by(|a, b| a.0 == b.0);
                }
                trips.push((*from, std::mem::take(letters)));
            }
        }
        plan.deeds.retain(|(_, deed)| matches!(deed, Deed::Calm));
        let mut world = World::new(plan, true);
        let told = Rc::new(RefCell::new(courier::Told::default()));
        for (from, letters) in trips {
            let net = &mut world.stage.net;
            let me = net.actor();
            let dial = Dial { to: SocketAddr::new(site, 25), from: None, transport: Transport::Tcp, timeout_ms: 30_000 };
            let session = courier::Courier::session(net);
            let start = courier::start(from, talk::Bells::default().of(Some(me)));
            let office = courier::Courier::new(letters, told.clone());
            let travel = travel::Travel::new(me, &dial, session, office, start, &mut world.stage);
            world.actors.insert(me, Box::new(travel));
        }
        world.play();
        let story = || world.stage.net.tape.tail().join("\n");
        assert_eq!(world.stage.books.wrong, [""; 0], "seed {seed}\n{}", story());
        let told = told.borrow();
        for (number, path, fate) in &told.fates {
            let id = format!("Message-ID: <t{number}@world.test>").into_bytes();
            let mut copies =
                world.stage.books.copies.iter().filter(|c| c.recipients.contains(path) && c.text.windows(id.len()).any(|w| w == id));
            let there = copies.clone().count();
            let shaky = copies.any(|c| world.stage.net.was_faulty(c.conn));
            let good = matches!(fate, Fate::Delivered | Fate::Relayed);
            fates[usize::from(good)] += 1;
            assert!(
                shaky || there == usize::from(good),
                "seed {seed}: {fate:?}, {path} of letter {number} is there {there} times\n{}",
                story()
            );
        }
    }
    assert!(fates.iter().all(|n| *n > seeds), "{fates:?}");
}
