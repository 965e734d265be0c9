//! What a seed has in mind: who lives in a world, what is sent, and what goes wrong. Swarm testing: each seed leaves most kinds of trouble out.

use super::{
    books::Order,
    canary::Canary,
    client::{Letter, Style, Wish},
    foreign::{Manner, Phase, Site, Tantrum},
    host::Host,
    ills::{Ill, Ills},
    names::{Fact, Lies, Zone},
    net::Weather,
};
use fastrand::Rng;
use rustix::io::Errno;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::OnceLock,
};

/// A world as it is planned.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// The houses.
    pub hosts: Vec<HostPlan>,
    /// The foreign servers.
    pub sites: Vec<SitePlan>,
    /// Domains with many mail exchangers: where each of these is, if anywhere.
    pub crowds: Vec<Vec<Option<IpAddr>>>,
    /// What goes wrong on the network.
    pub weather: Weather,
    /// What goes wrong with names.
    pub lies: Lies,
    /// What goes wrong with disks, with mailboxes and inside of houses.
    pub ills: Ills,
    /// What happens, and when.
    pub deeds: Vec<(u64, Deed)>,
    /// From when on nothing goes wrong.
    pub calm_at: u64,
    /// When patience ends.
    pub end_at: u64,
    /// A bug.
    pub canary: Option<Canary>,
}

/// A house.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// Its number.
    pub number: usize,
    /// Its domain.
    pub domain: String,
    /// Its address.
    pub ip: IpAddr,
    /// Its other address.
    pub ip6: IpAddr,
    /// Connections to one listener, if they are few.
    pub places: Option<u32>,
    /// Whether it sends over TLS only.
    pub must_tls: bool,
    /// Where mail for `lmtp.test` goes, over LMTP.
    lmtp: Option<IpAddr>,
    /// Whether DNS knows the other address, and it prefers those of others.
    ipv6: bool,
    /// Where mail for an account goes besides or instead of its mailbox.
    pub forwards: BTreeMap<String, (Vec<String>, bool)>,
    /// Who gets mail for nobody.
    pub catch_all: Option<String>,
    /// Whether it is started anew when the trouble ends.
    pub restarted: bool,
    /// Directories of its store that are file systems of their own.
    pub mounts: Vec<PathBuf>,
    /// Whether its file systems cannot be synced as a whole.
    pub singly: bool,
    /// Whether it has a certificate.
    tls: bool,
    seed: u64,
}

/// A foreign server.
#[derive(Debug, Clone)]
pub struct SitePlan {
    /// Its number.
    pub number: usize,
    /// Its address.
    pub ip: IpAddr,
    /// Another one.
    pub ip6: IpAddr,
    /// What DNS says of that.
    ipv6: Option<IpAddr>,
    /// How it behaves.
    pub manner: Manner,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Somebody from the first address brings letters to a server at the second.
    Client(IpAddr, IpAddr, Style, Vec<Letter>),
    /// Somebody from the first address takes a place at the second until then, and does nothing with it.
    Loiter(IpAddr, IpAddr, u64),
    /// The power of a house fails after so many operations of its disk.
    Crash {
        /// Which house.
        host: usize,
        /// How many operations later.
        ops: u64,
    },
    /// A house is told to stop, and to start again some time later.
    Stop(usize),
    /// A house starts.
    Start(usize),
    /// Operations of a disk fail.
    Trouble {
        /// Whose.
        host: usize,
        /// How many operations this goes on.
        ops: u64,
        /// How they fail.
        errno: i32,
        /// How many of them, of 256.
        chance: u8,
    },
    /// A disk is well again.
    Heal(usize),
    /// The time of day of a house jumps.
    Jump(usize, i64),
    /// The operator of a house does something to a message that is there.
    Order(usize, Order),
    /// Something goes wrong with the disk, a mailbox or the inside of a house.
    Ill(usize, Ill),
    /// Nothing goes wrong any more.
    Calm,
}

/// The accounts of each house.
pub const USERS: [&str; 3] = ["alice", "bob", "fred"];

/// Hosts that are not there; the even one says so.
const DEAD: [u8; 2] = [250, 251];

/// Whether houses know forwards and catch-alls.
const FORWARDS: bool = true;

/// In milliseconds.
pub const MINUTE: u64 = 60_000;

impl Plan {
    /// What this seed has in mind.
    pub fn new(seed: u64, canary: Option<Canary>) -> Plan {
        let mut dice = Rng::with_seed(seed);
        let d = &mut dice;
        let hosts: Vec<HostPlan> = (0..d.usize(1..=2)).map(|n| HostPlan::new(n, d)).collect();
        let sites: Vec<SitePlan> = (0..d.usize(1..=3)).map(|n| SitePlan::new(n, d)).collect();
        let weather = Weather {
            cut: some(d, 100),
            mute: some(d, 60),
            slow: some(d, 60),
            flip: some(d, 40),
            loss: some(d, 80),
            twice: some(d, 60),
            late: some(d, 40),
            deaf: some(d, 40),
            shake: 0,
        };
        let lies =
            Lies { silent: some(d, 100), wrong_id: some(d, 60), servfail: some(d, 80), truncate: some(d, 120), rubbish: some(d, 60) };
        let calm_at = d.u64(20..120) * MINUTE;
        let end_at = calm_at + 24 * 60 * MINUTE;
        let (crowds, ills, deeds) = (Vec::new(), Ills::default(), Vec::new());
        let mut plan = Plan { seed, hosts, sites, crowds, weather, lies, ills, deeds, calm_at, end_at, canary };
        plan.clients(d);
        plan.trouble(d);
        plan.deeds.push((calm_at, Deed::Calm));
        plan.widen(&mut Rng::with_seed(seed ^ 0x77_6f72_6c64));
        plan.crowds(&mut Rng::with_seed(seed ^ 0x6372_6f77_6473));
        plan.clocks(&mut Rng::with_seed(seed ^ 0x636c_6f63_6b73));
        plan.loiterers(&mut Rng::with_seed(seed ^ 0x6c6f_6974_6572));
        plan.ills();
        plan
    }

    /// From when on nothing is put right any more that other programs did.
    pub fn repaired_at(&self) -> u64 {
        if self.ills.pranks { self.calm_at + MINUTE } else { self.calm_at }
    }

    /// From when on houses have seen to that.
    pub fn settled_at(&self) -> u64 {
        if self.ills.pranks { self.repaired_at() + 10_000 } else { self.calm_at }
    }

    /// What a part of all worlds has besides, each drawn apart, so that the others stay as they were.
    fn widen(&mut self, d: &mut Rng) {
        let [users, wishes, orders, shakes, strict, ipv6, lmtp] = std::array::from_fn(|_| d.u8(..4) == 0);
        if users {
            self.users(d);
        }
        if wishes {
            self.wishes(d);
        }
        if orders {
            for host in 0..self.hosts.len() {
                for _ in 0..d.u8(1..12) {
                    let order = d.choice(Order::ALL).unwrap_or(Order::Retry);
                    self.deeds.push((d.u64(0..self.calm_at), Deed::Order(host, order)));
                }
            }
            // What was held is tried for another day.
            self.end_at += 24 * 60 * MINUTE;
        }
        if lmtp {
            self.lmtp(d);
        }
        if shakes {
            self.weather.shake = d.u8(1..=160);
        }
        for host in &mut self.hosts {
            host.must_tls = strict && d.bool();
            host.ipv6 = ipv6 && d.bool();
        }
        for site in &mut self.sites {
            // Some have an address that leads nowhere.
            let there = if d.bool() { site.ip6 } else { IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, u16::from(site.number as u8))) };
            site.ipv6 = (ipv6 && d.bool()).then_some(there);
        }
    }

    /// Some who bring letters log in with their account.
    fn users(&mut self, d: &mut Rng) {
        for (_, deed) in &mut self.deeds {
            let Deed::Client(_, to, style, letters) = deed else { continue };
            let Some(host) = self.hosts.iter().find(|h| h.ip == *to).filter(|_| d.bool()) else { continue };
            let user = USERS[d.usize(0..2)];
            style.login = Some(match (d.u8(..8), user, host.number) {
                (0, ..) => "AGFsaWNlAHdyb25n",
                (_, "alice", 0) => "AGFsaWNlQGEudGVzdABzZWNyZXQ=",
                (_, "alice", _) => "AGFsaWNlQGIudGVzdABzZWNyZXQ=",
                (_, _, 0) => "AGJvYkBhLnRlc3QAc2VjcmV0",
                _ => "AGJvYkBiLnRlc3QAc2VjcmV0",
            });
            for letter in letters {
                letter.sender = if d.u8(..8) == 0 { String::new() } else { format!("{user}@{}", host.domain) };
            }
        }
    }

    /// A foreign server takes mail over LMTP, and so do the houses.
    fn lmtp(&mut self, d: &mut Rng) {
        for host in &mut self.hosts {
            host.lmtp = Some(self.sites[d.usize(0..self.sites.len())].ip);
        }
        let mut number = 1000;
        for (_, deed) in &mut self.deeds {
            let Deed::Client(_, _, _, letters) = deed else { continue };
            for letter in letters {
                for _ in 0..d.u8(..3) {
                    let local = d.choice(["user", "user", "full", "bad"]).unwrap_or_default();
                    letter.recipients.push((format!("{local}{}@lmtp.test", d.u8(..4)), notify(d)));
                }
            }
        }
        for host in 0..self.hosts.len() {
            let hangs_up = if d.u8(..) < 50 { d.choice(Phase::ALL) } else { None };
            let style = Style { pipelined: d.bool(), chunks: d.bool(), hangs_up, dsn: d.bool(), tls: d.bool(), lmtp: true, login: None };
            let letters = (0..d.u8(1..4))
                .map(|_| {
                    number += 1;
                    let domain = self.hosts[host].domain.clone();
                    let mut letter = self.letter(number, host, d);
                    letter.recipients.retain(|(to, _)| to.ends_with(&domain));
                    letter.recipients.push((format!("alice@{domain}"), notify(d)));
                    letter
                })
                .collect();
            let from = IpAddr::from([10, 2, 0, 200 + host as u8]);
            self.deeds.push((d.u64(0..15 * MINUTE), Deed::Client(from, self.hosts[host].ip, style, letters)));
        }
    }

    /// Some domains have up to 200 mail exchangers of one preference: most lead to a server, some to nobody, some have no address.
    fn crowds(&mut self, d: &mut Rng) {
        if d.u8(..4) > 0 {
            return;
        }
        for _ in 0..d.u8(1..=3) {
            let (count, gone) = (d.usize(1..=200), d.choice([0, 2, 8]).unwrap_or(0));
            let exchanger = |_| match d.u8(..10) {
                n if n < gone => None,
                9 => Some(IpAddr::from([10, 1, 0, d.choice(DEAD).unwrap_or(DEAD[0])])),
                _ => Some(self.sites[d.usize(0..self.sites.len())].ip),
            };
            self.crowds.push((0..count).map(exchanger).collect());
        }
        for (_, deed) in &mut self.deeds {
            let Deed::Client(_, _, Style { lmtp: false, .. }, letters) = deed else { continue };
            for letter in letters {
                if d.bool() {
                    letter.recipients.push((format!("user{}@crowd{}.test", d.u8(..4), d.usize(0..self.crowds.len())), notify(d)));
                }
            }
        }
    }

    /// Some machines have a wrong clock after a crash: by days, or one that begins in 1970. Later somebody puts it right.
    fn clocks(&mut self, d: &mut Rng) {
        if d.u8(..6) > 0 {
            return;
        }
        let day = 86_400_000;
        for n in 0..self.deeds.len() {
            let (at, Deed::Crash { host, .. }) = self.deeds[n] else { continue };
            if d.bool() {
                let ms = d.choice([6 * day, -6 * day, 4000 * day, 1000 * (3600 - super::host::DAWN)]).unwrap_or(0);
                self.deeds.push((at + 1, Deed::Jump(host, ms)));
                self.deeds.push((d.u64(at..self.calm_at), Deed::Jump(host, -ms)));
            }
        }
    }

    /// Some houses have few places, and strangers who take them for the sake of having them.
    fn loiterers(&mut self, d: &mut Rng) {
        if d.u8(..4) > 0 {
            return;
        }
        for host in &mut self.hosts {
            host.places = Some(d.u32(10..20));
            let (begin, count) = (d.u64(0..15 * MINUTE), d.u8(5..60));
            for n in 0..count {
                let (at, from) = (begin + d.u64(0..10 * MINUTE), IpAddr::from([10, 3, n, host.number as u8 + 1]));
                self.deeds.push((at, Deed::Loiter(from, host.ip, self.calm_at)));
            }
        }
    }

    /// Some letters come with wishes that not everybody has.
    fn wishes(&mut self, d: &mut Rng) {
        for (_, deed) in &mut self.deeds {
            let Deed::Client(_, _, style, letters) = deed else { continue };
            style.tls |= d.bool();
            for letter in letters {
                letter.wish = match d.u8(..12) {
                    0 => Some(Wish::BackAfter(d.u64(60..20_000))),
                    1 => Some(Wish::WordAfter(d.u64(60..20_000))),
                    2 | 3 => Some(Wish::HoldFor(d.u64(1..3600))),
                    4 | 5 => Some(Wish::Priority(d.i8(-9..=9))),
                    6 => Some(Wish::RequireTls),
                    _ => None,
                };
            }
        }
        for site in &mut self.sites {
            if let Some(offers) = site.manner.offers.as_mut().filter(|o| !o.is_empty()) {
                let more = ["DELIVERBY 600", "MT-PRIORITY", "REQUIRETLS"];
                offers.splice(0..0, more.into_iter().filter(|_| d.bool()));
            }
        }
    }

    /// Everybody who brings letters.
    fn clients(&mut self, d: &mut Rng) {
        let mut number = 0;
        for n in 0..d.u8(1..=5) {
            let host = d.usize(0..self.hosts.len());
            let style = Style {
                pipelined: d.bool(),
                chunks: d.u8(..) < 60,
                hangs_up: if d.u8(..) < 50 { d.choice(Phase::ALL) } else { None },
                dsn: d.bool(),
                tls: d.bool(),
                lmtp: false,
                login: None,
            };
            let letters = (0..d.u8(1..=4))
                .map(|_| {
                    number += 1;
                    self.letter(number, host, d)
                })
                .collect();
            let ip = IpAddr::from([10, 2, 0, n + 1]);
            self.deeds.push((d.u64(0..15 * MINUTE), Deed::Client(ip, self.hosts[host].ip, style, letters)));
        }
    }

    fn letter(&self, number: u32, host: usize, d: &mut Rng) -> Letter {
        let few = if d.u8(..) < 20 { d.usize(5..30) } else { d.usize(1..4) };
        let recipients = (0..few).map(|_| (self.recipient(host, d), notify(d))).collect();
        let sender = match d.u8(..20) {
            0 => String::new(),
            1 => "gone@dead1.test".into(),
            2 => "bad@d0.test".into(),
            3..8 => format!("{}@{}", USERS[d.usize(0..2)], self.hosts[d.usize(0..self.hosts.len())].domain),
            n => format!("s{n}@d0.test"),
        };
        let size = if d.u8(..) < 16 { d.usize(5_000..12_000) } else { d.usize(10..1500) };
        let wishes = d.choice(["", "", " RET=HDRS", " RET=FULL ENVID=world+2B1"]).unwrap_or("");
        Letter { number, sender, recipients, wishes, wish: None, size, eight_bit: d.u8(..) < 60 }
    }

    /// Somebody to write to.
    fn recipient(&self, host: usize, d: &mut Rng) -> String {
        let here = &self.hosts[host].domain;
        let any = &self.hosts[d.usize(0..self.hosts.len())].domain;
        match d.u8(..16) {
            0..5 => format!("{}@{here}", USERS[d.usize(0..3)]),
            5..8 => format!("{}@{any}", USERS[d.usize(0..3)]),
            8 if FORWARDS && d.bool() => format!("team@{any}"),
            8 => format!("nobody{}@{any}", d.u8(..3)),
            n => self.foreign(n, d),
        }
    }

    fn foreign(&self, kind: u8, d: &mut Rng) -> String {
        let local = if d.u8(..) < 40 { "bad" } else { "user" };
        let n = d.u8(..4);
        let domain = match kind {
            9 => d.choice(["dead0.test", "dead1.test", "null.test", "nx.test"]).unwrap_or_default().to_owned(),
            10 => "two.test".into(),
            11 => "plain.test".into(),
            12 => "alias.test".into(),
            _ => format!("d{}.test", d.usize(0..self.sites.len())),
        };
        format!("{local}{n}@{domain}")
    }

    fn trouble(&mut self, d: &mut Rng) {
        let (crashes, troubles, jumps, stops) = (d.u8(..3) > 0, d.u8(..3) == 0, d.u8(..4) == 0, d.u8(..3) == 0);
        for host in 0..self.hosts.len() {
            let when = |d: &mut Rng| d.u64(0..20 * MINUTE);
            if crashes {
                for _ in 0..d.u8(..5) {
                    let ops = if d.bool() { 0 } else { d.u64(0..60) };
                    self.deeds.push((when(d), Deed::Crash { host, ops }));
                }
            }
            if troubles {
                for _ in 0..d.u8(..3) {
                    let errno = d.choice([Errno::NOSPC, Errno::IO]).unwrap_or(Errno::IO).raw_os_error();
                    let at = when(d);
                    let chance = d.choice([4, 40, 255]).unwrap_or(4);
                    self.deeds.push((at, Deed::Trouble { host, ops: d.u64(1..100), errno, chance }));
                    self.deeds.push((at + d.u64(1..5 * MINUTE), Deed::Heal(host)));
                    self.hosts[host].restarted = true;
                }
            }
            if stops {
                for _ in 0..d.u8(..3) {
                    self.deeds.push((when(d), Deed::Stop(host)));
                }
            }
            if jumps {
                for _ in 0..d.u8(..3) {
                    let ms = d.choice([1000, 3_600_000, 86_400_000, -1000, -3_600_000, -86_400_000]).unwrap_or(0);
                    self.deeds.push((when(d), Deed::Jump(host, ms)));
                }
            }
        }
    }

    /// All names of the world.
    pub fn zone(&self) -> Zone {
        let mut zone = Zone::default();
        zone.lies = self.lies;
        let mut domain = |domain: &str, mx: &[(u16, &str, IpAddr)]| {
            for (preference, name, ip) in mx {
                zone.add(domain, Fact::Mx(*preference, (*name).to_owned()));
                if !zone.has(name) {
                    zone.add(name, Fact::Host(*ip));
                }
            }
        };
        let dead = |n: usize| IpAddr::from([10, 1, 0, DEAD[n]]);
        for host in &self.hosts {
            domain(&host.domain, &[(10, &format!("mx.{}", host.domain), host.ip)]);
        }
        for site in &self.sites {
            domain(&format!("d{}.test", site.number), &[(10, &format!("mx.d{}.test", site.number), site.ip)]);
        }
        for n in 0..DEAD.len() {
            domain(&format!("dead{n}.test"), &[(10, &format!("mx.dead{n}.test"), dead(n))]);
        }
        // The better server is dead, the other is not.
        domain("two.test", &[(10, "mx.dead1.test", dead(1)), (20, "mx.d0.test", self.sites[0].ip)]);
        for (n, crowd) in self.crowds.iter().enumerate() {
            for (m, ip) in crowd.iter().enumerate() {
                let name = format!("mx{m}.crowd{n}.test");
                zone.add(&format!("crowd{n}.test"), Fact::Mx(10, name.clone()));
                if let Some(ip) = ip {
                    zone.add(&name, Fact::Host(*ip));
                }
            }
        }
        // RFC 5321 §5.1: without MX the address counts.
        zone.add("plain.test", Fact::Host(self.sites[0].ip));
        zone.add("alias.test", Fact::Alias("d0.test".into()));
        // RFC 7505.
        zone.add("null.test", Fact::Mx(0, String::new()));
        let hosts = self.hosts.iter().map(|h| (format!("mx.{}", h.domain), h.ip6, h.ipv6));
        let sites = self.sites.iter().filter_map(|s| Some((format!("mx.d{}.test", s.number), s.ipv6?, true)));
        for (name, ip, _) in hosts.chain(sites).filter(|(.., known)| *known) {
            zone.add(&name, Fact::Host(ip));
        }
        zone
    }
}

impl HostPlan {
    fn new(number: usize, d: &mut Rng) -> HostPlan {
        let letter = char::from(b'a' + number as u8);
        let other = char::from(b'a' + (1 - number) as u8);
        let mut forwards = BTreeMap::new();
        let to = match d.u8(..8) {
            0 => vec!["user9@d0.test".to_owned()],
            1 => vec![format!("alice@{other}.test"), format!("bob@{letter}.test")],
            // Round and round.
            2 => vec![format!("fred@{other}.test")],
            3 => vec!["bad9@d0.test".to_owned(), "user8@d0.test".to_owned()],
            4 => vec![format!("fred@{letter}.test")],
            _ => Vec::new(),
        };
        if FORWARDS && !to.is_empty() {
            forwards.insert("fred".to_owned(), (to, d.bool()));
        }
        HostPlan {
            number,
            domain: format!("{letter}.test"),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, number as u8 + 1, 1)),
            ip6: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number as u8) + 1)),
            places: None,
            must_tls: false,
            lmtp: None,
            ipv6: false,
            forwards,
            catch_all: (FORWARDS && d.u8(..4) == 0).then(|| format!("bob@{letter}.test")),
            restarted: false,
            mounts: Vec::new(),
            singly: false,
            tls: d.bool(),
            seed: d.u64(..),
        }
    }

    /// The machine.
    pub fn build(&self) -> Host {
        let host = Host::new(self.number, &self.domain, [self.ip, self.ip6], self.config(), &self.accounts(), self.seed);
        host.furnish(&self.mounts, self.singly);
        host
    }

    fn config(&self) -> String {
        let domain = &self.domain;
        let catch_all = self.catch_all.as_ref().map_or_else(String::new, |to| format!("\"{domain}\": \"{to}\""));
        let certificates = if self.tls { certificate() } else { String::new() };
        let route = self.lmtp.map_or_else(String::new, |ip| {
            format!("(domain: \"lmtp.test\", host: Some(\"[{ip}]\"), port: Some({}), lmtp: true)", super::host::LMTP)
        });
        let limits = self.places.map_or_else(String::new, |n| format!(", limits: (connections: {n})"));
        let tls = if self.must_tls { "Must" } else { "May" };
        let queue = ["Smooth", "Courier", "List([60, 300, 900])"][self.seed as usize % 3];
        format!(
            "(domains: [\"{domain}\"], hostname: Some(\"mx.{domain}\"), store: \"/store\", plaintext_logins: true, catch_all: {{{catch_all}}}, certificates: [{certificates}], aliases: [\"/store/aliases\"], \
             relay: (clients: [\"10.2.0.0/16\"]), resolver: (servers: [\"10.0.0.53:53\", \"10.0.0.54:53\"], timeout_ms: Some(2000), attempts: Some(2)), \
             outgoing: (tls: {tls}, prefer_ipv6: {}, routes: [{route}]), queue: (retry: {queue}, warn_after: 1800, give_up_after: 14400, idle: 5){limits})",
            self.ipv6
        )
    }

    fn accounts(&self) -> String {
        // {SSHA} is cheap.
        let account = |user: &&str| {
            let (to, keep) = self.forwards.get(*user).cloned().unwrap_or_default();
            let to: Vec<String> = to.iter().map(|to| format!("\"{to}\"")).collect();
            let forward = if to.is_empty() { String::new() } else { format!(", forward: [{}], keep: {keep}", to.join(", ")) };
            format!("(address: \"{user}@{}\", hash: \"{{SSHA}}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0\"{forward})", self.domain)
        };
        let accounts: Vec<String> = USERS.iter().map(account).collect();
        format!("(version: 1, accounts: [{}])", accounts.join(", "))
    }
}

impl SitePlan {
    fn new(number: usize, d: &mut Rng) -> SitePlan {
        let all = ["PIPELINING", "SIZE 100000000", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS"];
        let offers = match d.u8(..8) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some(all.into_iter().filter(|_| d.u8(..) < 180).collect()),
        };
        let tantrum = if d.u8(..) < 100 {
            let what = [Tantrum::Drop, Tantrum::Hang, Tantrum::Later, Tantrum::Never, Tantrum::Long, Tantrum::Rubbish];
            d.choice(Phase::ALL).zip(d.choice(what)).map(|(phase, what)| (phase, what, d.u32(1..5)))
        } else {
            None
        };
        let manner = Manner {
            offers,
            grey: if d.u8(..) < 50 { d.u32(1..3) } else { 0 },
            tantrum,
            slow_ms: if d.u8(..) < 50 { d.choice([100, 5000, 100_000, 400_000]).unwrap_or(0) } else { 0 },
            rcpt_max: if d.u8(..) < 40 { 2 } else { 100 },
        };
        let ip6 = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, u16::from(number as u8) + 1));
        SitePlan { number, ip: IpAddr::V4(Ipv4Addr::new(10, 1, 0, number as u8 + 1)), ip6, ipv6: None, manner }
    }

    /// The server.
    pub fn build(&self, calm_at: u64) -> Site {
        let name = format!("mx.d{}.test", self.number);
        Site { name, number: self.number, manner: self.manner.clone(), calm_at, put_off: BTreeMap::new() }
    }
}

/// A chance, or none: most kinds of trouble are left out.
fn some(d: &mut Rng, most: u8) -> u8 {
    if d.u8(..5) < 2 { d.u8(1..=most) } else { 0 }
}

fn notify(d: &mut Rng) -> &'static str {
    match d.u8(..12) {
        0 => " NOTIFY=NEVER",
        1 => " NOTIFY=SUCCESS,FAILURE",
        2 => " NOTIFY=FAILURE,DELAY",
        3 => " NOTIFY=SUCCESS",
        4 => " NOTIFY=DELAY",
        _ => "",
    }
}

/// A certificate, for nobody looks at it: handshakes are pretended.
fn certificate() -> String {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("hikyaku-world-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for temporary files");
        crate::live::tls::make(&dir);
        dir
    });
    format!("(chain: \"{0}/server.pem\", key: \"{0}/server.key\")", dir.display())
}
