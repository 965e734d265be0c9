//! The house: everything that all connections share.

mod chores;

use crate::{
    account::{Accounts, LoadError},
    admin::Source,
    clock::Clock,
    control::{self, Clerk},
    depot::{self, Depot},
    disk::Disk,
    drop::Folder,
    format::Format,
    mailbox::{self, Mailboxes},
    means,
    metrics::Metrics,
    naming,
    office::{
        Desk, Imap, Pop3, Smtp,
        guests::{Away, Full, Guest, Guests, Room},
    },
    outgoing::{self, Outgoing, restore},
    recover::decode,
    serve::Door,
    space::Space,
    spool::{self, Lsn, Spool},
    story::{Deed, Story},
    times::Times,
    tls::{self, TlsError},
    undelivered::Undelivered,
};
use chores::Rounds;
use config::{Config, Listen, Speak, TlsMode};
use mail::Stamp;
use queue::{Accept, Record};
use rustls::ServerConfig;
use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, atomic::AtomicU64},
};
use wire::{Ring, Tick, Tls};

mod reception;
mod restored;
mod shifts;
mod times;
pub use restored::Restored;
pub use shifts::Shift;

use reception::{protocol, refusal};
use restored::new_validity;
use shifts::Shifts;

/// What all connections share.
pub struct House {
    disk: Arc<dyn Disk>,
    config: RwLock<Arc<Config>>,
    certificates: RwLock<Option<Arc<ServerConfig>>>,
    clients: RwLock<Arc<tls::Clients>>,
    source: OnceLock<Source>,
    accounts: Accounts,
    mailboxes: Mailboxes,
    spool: Arc<Spool>,
    depot: Depot,
    folder: Folder,
    outgoing: Outgoing,
    rates: Mutex<post::Rates>,
    /// What monotonic milliseconds count from, as the time of day said when the house was opened: the queue's time never goes back.
    start_ms: u64,
    /// Where in the log this run began.
    begun: Lsn,
    /// What the next start is told of the clocks, as it was written last.
    times: Mutex<Times>,
    undelivered: Undelivered,
    story: Story,
    metrics: Metrics,
    guests: Arc<Guests>,
    space: Arc<Space>,
    /// Of the accounts, when those who logged in were last compared with them.
    generation: AtomicU64,
    clock: Clock,
    ready_at: u64,
    hostname: Box<str>,
    rounds: Mutex<Rounds>,
    shifts: Shifts,
    checkpoint: Mutex<()>,
    registry: naming::Registry,
}

/// Why a house cannot be opened, or its configuration not be reloaded.
#[derive(Debug)]
pub enum OpenError {
    /// The accounts.
    Accounts(LoadError),
    /// The certificates.
    Tls(TlsError),
    /// Another server has the store open.
    InUse(PathBuf),
    /// A password, a template or another file that mail which leaves depends on.
    Ways(io::Error),
    /// The store.
    Store(PathBuf, io::Error),
}

/// A session and the office that answers it.
pub enum Seat {
    /// SMTP, submission or LMTP.
    Smtp(Box<smtp::Server>, Box<Smtp>),
    /// POP3.
    Pop3(Box<pop3::Server>, Box<Pop3>),
    /// IMAP.
    Imap(Box<imap::Server>, Box<Imap>),
    /// Control or metrics.
    Http(Box<http::Server>, Box<Clerk>),
}

impl House {
    /// Opens the store and does again what a crash may have undone.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn open(config: Config, disk: Arc<dyn Disk>) -> Result<Arc<House>, OpenError> {
        let folder = config.store.join(crate::drop::FOLDER);
        let dice = outgoing::Dice::random().map_err(OpenError::Ways)?;
        let house = House::open_with(config, disk, Clock::system(), spool::Options::default(), dice)?;
        if let Err(error) = crate::drop::prepare(&folder) {
            tracing::error!(path = %folder.display(), %error, "there is no drop folder, so programs of this host cannot send mail");
        }
        Ok(house)
    }

    /// The same with a clock and a spool of one's own, for tests.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn open_at(config: Config, disk: Arc<dyn Disk>, clock: impl Into<Clock>, options: spool::Options) -> Result<Arc<House>, OpenError> {
        let dice = outgoing::Dice::seeded(options.seed);
        House::open_with(config, disk, clock.into(), options, dice)
    }

    fn open_with(
        config: Config,
        disk: Arc<dyn Disk>,
        clock: Clock,
        options: spool::Options,
        dice: outgoing::Dice,
    ) -> Result<Arc<House>, OpenError> {
        let config = means::kept_within(config);
        let certificates = tls::of(&config).map_err(OpenError::Tls)?;
        let clients = tls::Clients::load(config.outgoing.trust.as_deref()).map_err(OpenError::Tls)?;
        let store = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| match error.kind() {
                io::ErrorKind::WouldBlock => OpenError::InUse(path),
                _ => OpenError::Store(path, error),
            }
        };
        make_dirs(&*disk, &config.store).map_err(store(&config.store))?;
        let accounts = Accounts::load_at(disk.clone(), &config, clock.clone()).map_err(OpenError::Accounts)?;
        let hostname: Box<str> = config.hostname().into();
        let story = Story::new(disk.clone(), config.store.join("story"));
        let dir = config.store.join("spool");
        let mut replay = queue::Replay::new();
        let mut damage = None;
        let locked = Spool::lock(disk.clone(), &dir).map_err(store(&dir))?;
        // Before anything else is touched: an older program must not, and a server that has the store in spite of the lock must know.
        let last_run = locked.last_run().map_err(store(&dir))?;
        let format =
            Format::claim(&*disk, &config.store, last_run, || new_validity(&disk, &accounts, &clock)).map_err(store(&config.store))?;
        let mailboxes = Mailboxes::new(
            disk.clone(),
            mailbox::Options {
                host: hostname.to_string(),
                root: config.store.clone(),
                budget: means::idle_messages(),
                clock: clock.wall(),
                uidvalidity: format.uidvalidity,
            },
        );
        let depot_dir = config.store.join("depot");
        let wall_ms = u64::try_from(clock.wall_ns() / 1_000_000).unwrap_or(0);
        let last = Times::read(&*disk, &config.store);
        let lapse = last.map_or_else(queue::Lapse::default, |last| last.until(wall_ms));
        let (rules, seed) = (outgoing::rules(&config).map_err(OpenError::Ways)?, options.seed);
        let mut waiting = queue::Queue::new(queue_settings(&config.queue), seed);
        waiting.resume(lapse);
        let mut unreadable = None;
        let folder = Folder::new(config.store.join(crate::drop::FOLDER));
        let depot = Depot::open(disk.clone(), &depot_dir, depot::Options::default(), &mut |id, state, record| {
            if let Err(error) = restore::restore(&mut waiting, &rules, wall_ms, id, state, record) {
                unreadable.get_or_insert(error);
            }
        });
        let depot = depot.and_then(|depot| unreadable.map_or(Ok(depot), Err)).map_err(store(&depot_dir))?;
        // What the depot knows was in the log.
        let options = spool::Options {
            floor: options.floor.max(depot.upto()),
            run: options.run.max(format.run),
            fence: Some(Format::path(&config.store)),
            ..options
        };
        let spool = locked.open(options, &mut |at, bytes| match decode(bytes) {
            Ok(record) => {
                replay.add(at, &record);
                if let Record::Accept(Accept { file: Some(file), .. }) | Record::Taken { file } = record {
                    folder.note(&file);
                }
                if at >= depot.upto() {
                    restore::replay(&mut waiting, &depot, &rules, wall_ms, at, &record);
                }
            }
            Err(error) => {
                damage.get_or_insert(error);
            }
        });
        let spool = spool.and_then(|spool| damage.map_or(Ok(spool), Err)).map_err(store(&dir))?;
        format.opened(&*disk, &config.store, spool.run());
        let now = clock.ms();
        if !waiting.is_empty() {
            tracing::info!(messages = waiting.len(), "queued");
            if lapse.age_ms != 0 {
                let hours = lapse.age_ms / 3_600_000;
                tracing::warn!(
                    hours,
                    "the clock says that more time has passed since the last run than is believed, or less: it makes no queued mail older"
                );
            }
        }
        let space = Arc::new(Space::new(disk.clone(), dir.clone(), clock.clone()));
        let outgoing = Outgoing::new(&config, rules, waiting, dice).map_err(OpenError::Ways)?;
        let house = House {
            disk,
            config: RwLock::new(Arc::new(config)),
            certificates: RwLock::new(certificates),
            clients: RwLock::new(Arc::new(clients)),
            source: OnceLock::new(),
            accounts,
            mailboxes,
            begun: spool.ended(),
            spool: Arc::new(spool),
            depot,
            folder,
            outgoing,
            rates: Mutex::default(),
            start_ms: wall_ms.saturating_sub(now),
            times: Mutex::new(Times::at_start(last, lapse, wall_ms)),
            undelivered: Undelivered::default(),
            story,
            metrics: Metrics::default(),
            guests: Arc::default(),
            space,
            generation: AtomicU64::default(),
            ready_at: u64::try_from(clock.wall_ns() / 1_000_000_000).unwrap_or(0),
            clock,
            hostname,
            rounds: Mutex::new(Rounds { checkpoint: now, kept: 0, deliver_again: now }),
            shifts: Shifts::default(),
            registry: naming::Registry::default(),
            checkpoint: Mutex::default(),
        };
        let recovered = house.recover(&replay);
        if house.spool.lost() > 0 {
            house.skip_numbers(house.spool.lost());
        }
        if recovered > 0 {
            tracing::info!(messages = recovered, "recovered from the log");
        }
        // What was recovered is written but not synced: let go of it only when it is.
        if let Err(error) = house.checkpoint() {
            // One mailbox in trouble keeps nobody from theirs.
            tracing::error!(%error, "no checkpoint: the log keeps what it has");
        }
        // Not before the checkpoint: it has what was made of the times before.
        house.keep_times();
        if let Err(error) = house.spool.prepare() {
            // People can read, and remove what makes room; the chores try again.
            tracing::error!(%error, "the log has too little in reserve: no mail is accepted until there is room for it");
        }
        Ok(Arc::new(house))
    }

    /// Makes everything durable that was delivered, and lets the log go of it.
    ///
    /// # Errors
    /// A fault of the disk; the log keeps everything then.
    pub fn checkpoint(&self) -> io::Result<()> {
        self.spool.look_at_fence()?;
        if self.spool.is_half_full() {
            self.pay_names();
        }
        let mark = {
            let _alone = self.alone();
            self.carry_waiting();
            let mark = self.spool.mark();
            self.keep_queue()?;
            mark
        };
        // Nothing is held that others wait for: the disk of a mailbox may never answer.
        for failed in self.mailboxes.checkpoint(&|| self.waiting_places()) {
            self.keep(failed);
        }
        let _alone = self.alone();
        for file in self.folder.taken() {
            // The log lets go of the record that says so, and the file may be there.
            self.spool.jot_to_release(&[&Record::Taken { file: file.as_record() }.encode()])?;
        }
        self.spool.flush()?;
        // In this order: what a mailbox owes is pinned before it owes it no more, and unpinned only where this waits for that.
        let owed = self.mailboxes.owes_from().unwrap_or(mark);
        self.spool.release(mark.min(owed).min(self.spool.mark()))
    }

    /// Makes durable what the queue knows, and parks what has ended in the log: what waits there for a mailbox does not keep messages for others from it, for a
    /// message that is only in the log is as old as the time of day says.
    fn keep_queue(&self) -> io::Result<()> {
        let upto = self.spool.ended();
        let upto = self.undelivered.untold_from().map_or(upto, |untold| upto.min(untold));
        self.depot.checkpoint(&self.spool, upto, &mut |put| self.outgoing.states(put))
    }

    /// The end: call it when the last connection is gone. The next start has nothing to recover.
    pub fn close(&self) {
        self.shifts.wait();
        if self.spool.look_at_fence().is_err() {
            tracing::error!("closed, and nothing is left for the next start: another server has the store");
            return;
        }
        if let Err(error) = self.write_story() {
            tracing::warn!(%error, "the story of what happened is not written");
        }
        self.mailboxes.close();
        let closed = self.spool.flush().and_then(|()| self.checkpoint());
        match closed {
            Ok(()) => {
                self.keep_times();
                tracing::info!("closed");
            }
            Err(error) => tracing::error!(%error, "not closed cleanly: the next start recovers"),
        }
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    /// What to send before hanging up, if every place is taken; nothing where the peer expects a TLS handshake first.
    pub fn knock(&self, listen: &Listen, peer: SocketAddr, bell: Arc<dyn Ring>) -> Result<Guest, Vec<u8>> {
        let config = self.config();
        let room = Room {
            protocol: protocol(listen.speak),
            most: config.limits.connections,
            most_per_address: config.limits.connections_per_address,
            stress: true,
        };
        let came = if self.spool.is_fenced() { Err(Full::Fenced) } else { self.guests.enter(listen.on, peer, bell, room, self.now_ms()) };
        if came.as_ref().is_ok_and(|guest| guest.displaced) {
            self.metrics.dismissed("stress", 1);
        }
        came.map_err(|full| {
            tracing::warn!(%peer, listener = %listen.on, reason = full.word(), "connection refused");
            self.metrics.turned_away();
            refusal(listen, full).to_vec()
        })
    }

    /// What to send to a connection that nobody can be found for, before hanging up.
    pub fn turn_away(&self, door: &Door) -> &'static [u8] {
        self.metrics.turned_away();
        match door {
            Door::Mail(listen) => refusal(listen, Full::Listener),
            Door::Metrics | Door::Control | Door::Drop => control::REFUSED,
        }
    }

    /// Begins a session. `tls` says what the handshake of a listener with implicit TLS led to.
    pub fn seat(self: &Arc<House>, guest: Guest, listen: &Listen, tls: Option<Tls>, now: Tick) -> Seat {
        let config = self.config();
        let hostname: Arc<str> = config.hostname().into();
        let start = listen.tls == TlsMode::Start && self.tls().is_some();
        let plaintext_logins = config.plaintext_logins;
        let protocol = protocol(listen.speak);
        match listen.speak {
            Speak::Smtp | Speak::Submission | Speak::Lmtp => {
                let role = match listen.speak {
                    Speak::Submission => smtp::Role::Submission,
                    Speak::Lmtp => smtp::Role::Lmtp,
                    _ => smtp::Role::Relay,
                };
                let settings = smtp::Settings {
                    hostname,
                    role,
                    message_max: config.limits.message,
                    recipients_max: config.limits.recipients,
                    tls: match tls {
                        Some(tls) => smtp::TlsMode::Already(tls),
                        None if start => smtp::TlsMode::Start,
                        None => smtp::TlsMode::Never,
                    },
                    plaintext_logins,
                    offers: match listen.speak {
                        Speak::Lmtp => smtp::Offers::default(),
                        _ => smtp::Offers::all(config.queue.give_up_after),
                    },
                    trusted: config.is_relay_client(guest.peer.ip()),
                    mails_max: 0,
                    clock: self.now(),
                };
                let office = Smtp::new(Desk::new(self.clone(), guest, protocol), listen.speak);
                Seat::Smtp(Box::new(smtp::Server::new(settings, now)), Box::new(office))
            }
            Speak::Pop3 => {
                let settings = pop3::Settings {
                    hostname,
                    tls: match tls {
                        Some(tls) => pop3::TlsMode::Already(tls),
                        None if start => pop3::TlsMode::Start,
                        None => pop3::TlsMode::Never,
                    },
                    plaintext_logins,
                };
                Seat::Pop3(Box::new(pop3::Server::new(settings, now)), Box::new(Pop3::new(Desk::new(self.clone(), guest, protocol))))
            }
            Speak::Imap => {
                let settings = imap::Settings {
                    hostname,
                    tls: match tls {
                        Some(tls) => imap::Tls::Already(tls),
                        None if start => imap::Tls::Start,
                        None => imap::Tls::Never,
                    },
                    plaintext_logins,
                    separator: config.imap.separator,
                    inbox_prefix: config.imap.inbox_prefix,
                    append_max: config.limits.message,
                };
                Seat::Imap(Box::new(imap::Server::new(settings, now)), Box::new(Imap::new(Desk::new(self.clone(), guest, protocol))))
            }
        }
    }

    /// Notes what happened to a message, for `trace` and for the metrics. Never waits.
    pub fn tell(&self, id: u64, deed: Deed) {
        self.metrics.count(&deed);
        self.story.tell(u64::try_from(self.clock.wall_ns() / 1_000_000).unwrap_or(0), id, deed);
    }

    /// What happened to messages.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// Writes what was told and not yet written. May wait for the disk.
    ///
    /// # Errors
    /// A fault of the disk.
    pub(crate) fn write_story(&self) -> io::Result<()> {
        self.story.write(self.now(), self.config().queue.story_days)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// When the house was opened, in seconds since 1970.
    pub(crate) fn ready_at(&self) -> u64 {
        self.ready_at
    }

    /// A place for a connection that is not of mail.
    pub(crate) fn guest_at(&self, listener: SocketAddr, peer: SocketAddr, bell: Arc<dyn Ring>, most: u32) -> Result<Guest, Full> {
        let room = Room { protocol: "http", most, most_per_address: u32::MAX, stress: false };
        self.guests.enter(listener, peer, bell, room, self.now_ms())
    }

    /// How many are on their way to other servers.
    pub fn away(&self) -> usize {
        self.guests.away()
    }

    /// Notes that somebody goes out, to be nudged when the server stops; `None` if it stops already.
    pub fn set_out(&self, bell: Arc<dyn Ring>) -> Option<Away> {
        self.guests.set_out(bell)
    }

    /// Whether nobody is let in or out any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.guests.is_closing()
    }

    /// Lets nobody in or out any more and asks everybody to come to an end.
    pub fn stop_guests(&self) {
        self.guests.close();
    }

    /// How many connections there are.
    pub fn guests(&self) -> usize {
        self.guests.count()
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificates as they are now; `None` if there is no TLS.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.certificates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says where the configuration came from, so that it can be read again. Only the first word counts.
    pub fn comes_from(&self, source: Source) {
        let _ = self.source.set(source);
    }

    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.get()
    }

    /// What the connection of a guest needs for its handshake; its office knows what that led to.
    pub fn keys(self: &Arc<House>, guest: &Guest) -> tls::Keys {
        tls::Keys::known_to(self.clone(), guest.tls.clone())
    }

    /// How this host is a TLS client, as it is now.
    pub(crate) fn clients(&self) -> Arc<tls::Clients> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new configuration, and reads accounts and certificates again. What is wrong leaves everything as it was. Listeners, the store and the
    /// user stay what they were until the next start.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn reload(&self, config: Config) -> Result<(), OpenError> {
        let config = means::kept_within(config);
        let certificates = tls::of(&config).map_err(OpenError::Tls)?;
        let clients = tls::Clients::load(config.outgoing.trust.as_deref()).map_err(OpenError::Tls)?;
        let ways = Outgoing::read(&config).map_err(OpenError::Ways)?;
        self.accounts.reload(&config).map_err(OpenError::Accounts)?;
        self.outgoing.reload(&config, ways);
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(clients);
        *self.certificates.write().unwrap_or_else(PoisonError::into_inner) = certificates;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.look_at_accounts();
        Ok(())
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The mailboxes.
    pub fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// For who moves records of the log about, lets go of them, or unpins what was delivered after all. No mailbox is waited for meanwhile.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may change names of mailboxes.
    pub(crate) fn registry(&self) -> &naming::Registry {
        &self.registry
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn depot(&self) -> &Depot {
        &self.depot
    }

    /// Takes a message from what somebody may send; false if there is not so much left.
    pub(crate) fn spend(&self, who: &[(&str, u32)], limit: post::Limit, recipients: u32) -> bool {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).take(who, limit, recipients, self.clock.ms())
    }

    /// Damaged files of the log and of the depot that were put aside, from the store on.
    pub(crate) fn set_aside(&self) -> Vec<String> {
        let log =
            spool::aside(&*self.disk, self.spool.dir()).map(|all| all.into_iter().map(|aside| format!("spool/{}", aside.name)).collect());
        let depot = depot::aside(&*self.disk, &self.config().store.join("depot"))
            .map(|all| all.into_iter().map(|name| format!("depot/{name}")).collect());
        let names = |listed: io::Result<Vec<String>>| listed.unwrap_or_else(|error| vec![format!("what it is cannot be listed: {error}")]);
        [names(log), names(depot)].concat()
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Bytes of the log that a start would read again.
    pub fn spool_bytes(&self) -> u64 {
        self.spool.live_bytes()
    }

    /// Records of the log that were lost in this run, because they could not be read when they were needed.
    pub fn lost_records(&self) -> u64 {
        self.undelivered.lost()
    }

    pub(crate) fn undelivered(&self) -> &Undelivered {
        &self.undelivered
    }

    /// The name of this host in file names, which does not change while the server runs.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Stamp {
        Stamp::utc(i64::try_from(self.clock.wall_ns() / 1_000_000_000).unwrap_or(i64::MAX))
    }

    /// Monotonic milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.ms()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Accounts(error) => error.fmt(f),
            OpenError::Tls(error) => error.fmt(f),
            OpenError::InUse(path) => write!(f, "{}: another server has it open", path.display()),
            OpenError::Ways(error) => error.fmt(f),
            OpenError::Store(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

/// How the queue is run.
pub(crate) fn queue_settings(config: &config::Queue) -> queue::Settings {
    queue::Settings {
        retry: match &config.retry {
            config::Retry::Smooth => queue::Retry::Smooth,
            config::Retry::Courier => queue::Retry::Courier,
            config::Retry::List(seconds) => queue::Retry::List(seconds.iter().map(|s| u64::from(*s) * 1000).collect()),
        },
        warn_after_s: config.warn_after,
        give_up_after_s: config.give_up_after,
        connections: config.connections,
        per_site: config.per_destination,
        recipients: u16::try_from(config.recipients).unwrap_or(u16::MAX),
    }
}

fn make_dirs(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.make_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match dir.parent() {
            Some(parent) => {
                make_dirs(disk, parent)?;
                disk.make_dir(dir)
            }
            None => Err(error),
        },
        made => made,
    }
}
