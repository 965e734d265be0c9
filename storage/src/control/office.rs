//! The counter where an operator asks, and where Prometheus reads: HTTP requests to what the house knows.

use super::{
    Action, Checkpoint, Filter, Kick, Kicked, Memory, Operator, Page, Refused, SessionRow, Sessions, State, Status, Uncounted, Whom,
    queue_id,
};
use crate::{
    house::{House, Seat},
    logging, means,
    metrics::{self, Levels},
    office::guests::Guest,
    serve::{self, Caller, Door},
    story::Query,
};
use http::{Body, Method, Office, Request, Response};
use nix::unistd::{Group, Uid, User};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use wire::{Ring, Sink, Tick, Why};

/// Connections to one of the doors. A command has one and is done at once; Prometheus has one.
const CALLERS_MAX: u32 = 32;
/// How much of the queue is looked at in one go: whoever sends mail waits meanwhile.
const PAGE: usize = 500;
/// The most messages of a list that is asked for in pieces.
const MOST: usize = 10_000;

const JSON: &str = "application/json";
/// What a caller hears that finds no place.
pub(crate) const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Answers the requests of one connection.
pub struct Clerk {
    house: Arc<House>,
    guest: Guest,
    door: Door,
    caller: Caller,
    /// A list that is being told.
    list: Option<List>,
}

/// Where a list is.
struct List {
    filter: Filter,
    page: Page,
    begun: bool,
}

/// What a POST to `/queue` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// To which messages.
    pub whom: Whom,
    /// What is done.
    pub action: Action,
}

impl House {
    /// Begins a session at a door that is not of mail.
    ///
    /// # Errors
    /// What to send before hanging up, if every place is taken.
    pub fn counter(self: &Arc<House>, door: &Door, caller: Caller, bell: Arc<dyn Ring>, now: Tick) -> Result<Seat, Vec<u8>> {
        // No address stands for this machine's own processes, so that they are not counted among the clients that come over its network.
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = match caller {
            Caller::Net(peer) => peer,
            Caller::Local(_) => nowhere,
        };
        // Each door has places of its own.
        let number = match door {
            Door::Mail(_) | Door::Control => 0,
            Door::Metrics => 1,
            Door::Drop => 2,
        };
        let listener = SocketAddr::new(nowhere.ip(), number);
        let guest = self.guest_at(listener, peer, bell, CALLERS_MAX).map_err(|_| REFUSED.to_vec())?;
        let clerk = Clerk { house: self.clone(), guest, door: door.clone(), caller, list: None };
        Ok(Seat::Http(Box::new(http::Server::new(now)), Box::new(clerk)))
    }
}

impl Clerk {
    /// The connection ends.
    pub fn closed(&self, why: Why) {
        tracing::debug!(conn = self.guest.number, door = ?self.door, why = why.word(), "close");
    }

    fn answer(&mut self, request: &Request) -> Result<Response, Response> {
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let is_post = request.method == Method::Post;
        if self.door == Door::Metrics {
            return match &path[..] {
                ["metrics"] if !is_post => self.metrics(),
                _ => Err(Response::text(404, "GET /metrics is all there is")),
            };
        }
        if self.door == Door::Drop {
            return match &path[..] {
                ["drop"] if is_post => {
                    // Without a name it is found within a second: whoever asks must not have it looked for.
                    self.house.pick_up_named(&request.body);
                    json(&serde_json::json!({}))
                }
                _ => Err(trouble(404, "POST /drop is all there is")),
            };
        }
        let who = self.who().ok_or_else(|| trouble(403, "only root, the user of the server and members of control.group may ask here"))?;
        let wants = |method_is_post: bool| if is_post == method_is_post { Ok(()) } else { Err(trouble(405, "not by this method")) };
        match &path[..] {
            ["status"] => wants(false).and_then(|()| json(&self.status())),
            ["metrics"] => wants(false).and_then(|()| self.metrics()),
            ["queue"] if is_post => self.order(request, &who),
            ["queue"] => self.list(request),
            ["queue", id] => {
                wants(false)?;
                let shown = queue_id(id).and_then(|id| self.house.show(id));
                shown.map_err(|r| refused(&r)).and_then(|whole| json(&whole))
            }
            ["trace"] => wants(false).and_then(|()| self.trace(&asked(request, "of")?)),
            ["explain"] => {
                wants(false)?;
                let explained = self.house.explain(&asked(request, "address")?);
                explained.map_err(|r| refused(&r)).and_then(|e| json(&e))
            }
            ["sessions"] if is_post => self.kick(request, &who),
            ["sessions"] => json(&self.sessions()),
            ["clock"] => {
                wants(true)?;
                let trusted = self.house.trust_clock();
                let seconds =
                    trusted.map_err(|error| trouble(503, &format!("it counts now, and a crash would forget that; try again: {error}")))?;
                tracing::info!(who, seconds, "the clock is trusted");
                json(&Uncounted { seconds })
            }
            ["checkpoint"] => {
                wants(true)?;
                self.house.checkpoint().map_err(|error| trouble(503, &error.to_string()))?;
                json(&Checkpoint { log_bytes: self.house.spool_bytes() })
            }
            ["accounts"] => {
                wants(true)?;
                json(&Kicked { sessions: self.house.look_at_accounts() })
            }
            ["reload"] => {
                wants(true)?;
                tracing::info!(who, "reload asked for");
                serve::reload(&self.house).map_err(|error| trouble(409, &error))?;
                json(&serde_json::json!({ "reloaded": true }))
            }
            ["stop"] => {
                wants(true)?;
                tracing::info!(who, "stop asked for");
                // As if somebody had sent the signal: the runtime listens for it.
                kill_process(getpid(), Signal::TERM).map_err(|error| trouble(500, &error.to_string()))?;
                json(&serde_json::json!({ "stopping": true }))
            }
            _ => Err(trouble(
                404,
                "there is /status, /sessions, /queue, /queue/ID, /trace, /explain, /clock, /checkpoint, /accounts, /reload, /stop and /metrics",
            )),
        }
    }

    /// Who asks, as the story names them; nobody if they may not. May ask a directory of users.
    fn who(&self) -> Option<String> {
        let Caller::Local(Some((uid, gid))) = self.caller else { return None };
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        let is_member = || {
            let group = Group::from_name(self.house.config().control.group.as_deref()?).ok().flatten()?;
            Some(group.gid.as_raw() == gid || name.as_ref().is_some_and(|name| group.mem.contains(name)))
        };
        let may = uid == 0 || uid == rustix::process::geteuid().as_raw() || is_member() == Some(true);
        may.then(|| name.unwrap_or_else(|| format!("user {uid}")))
    }

    fn status(&self) -> Status {
        let (levels, held) = (self.house.levels(), crate::sandbox::held());
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: self.house.config().hostname().into(),
            pid: std::process::id(),
            up_s: levels.now.saturating_sub(levels.started),
            sessions: levels.sessions as u64,
            stressed: self.house.stressed().iter().map(ToString::to_string).collect(),
            away: levels.away as u64,
            log_bytes: levels.log_bytes,
            lost_log_lines: levels.lost_lines,
            lost_records: levels.lost_records,
            free_bytes: levels.free_space,
            memory: means::means().map(|means| Memory {
                limit_bytes: means.limit,
                connections_per_listener: self.house.config().limits.connections,
                connections_out: self.house.config().queue.connections,
            }),
            fenced: levels.fenced,
            panics: levels.panics.into_iter().map(|(part, count)| (part.to_owned(), count)).collect(),
            closed_in: held.by.into_iter().map(str::to_owned).collect(),
            not_closed_in: held.missing,
            set_aside: self.house.set_aside(),
            uncounted: self.house.uncounted_s(),
            aside: self.house.mailboxes_aside(),
            undelivered: self.house.undelivered().accounts().into_iter().map(|(account, count)| (account.into(), count)).collect(),
            queue: levels.queue,
        }
    }

    fn sessions(&self) -> Sessions {
        let now_ms = self.house.now_ms();
        let sessions = self.house.present().into_iter().map(|present| SessionRow {
            id: present.number,
            protocol: present.protocol.into(),
            peer: present.peer.to_string(),
            account: present.account.as_deref().map(String::from),
            age_s: now_ms.saturating_sub(present.since_ms) / 1000,
        });
        Sessions { sessions: sessions.collect() }
    }

    fn kick(&self, request: &Request, who: &str) -> Result<Response, Response> {
        let kick: Kick = serde_json::from_slice(&request.body).map_err(|error| trouble(400, &format!("this is no order: {error}")))?;
        // A session is found also if its account is gone.
        let name = |name: &String| self.house.accounts().named(name).map_or_else(|| name.to_lowercase(), |account| account.name());
        let account = kick.account.as_ref().map(name);
        let sessions = self.house.kick(|present| {
            kick.ids.contains(&present.number)
                || account.as_deref().is_some_and(|name| present.account.as_deref() == Some(name))
                || kick.network.is_some_and(|network| network.contains(present.peer.ip()))
        });
        tracing::info!(who, ?kick, sessions, "sessions ended");
        json(&Kicked { sessions })
    }

    fn metrics(&self) -> Result<Response, Response> {
        let text = self.house.metrics().print(&self.house.levels()).map_err(|error| trouble(500, &error.to_string()))?;
        Ok(Response::new(200, metrics::TYPE, text))
    }

    fn list(&mut self, request: &Request) -> Result<Response, Response> {
        let mut filter = Filter::default();
        let mut page = Page { after: None, most: usize::MAX };
        for (name, value) in request.asked() {
            let number = || value.parse::<u64>().map_err(|_| trouble(400, &format!("{name}: {value:?} is no number")));
            match &*name {
                "sender" => filter.sender = Some(value.into()),
                "recipient" => filter.recipient = Some(value.into()),
                "site" => filter.site = Some(value.into()),
                "state" => {
                    let states = [State::Waiting, State::Active, State::Held];
                    let state = states.into_iter().find(|s| s.word() == value);
                    filter.state = Some(state.ok_or_else(|| trouble(400, "the states are waiting, active and held"))?);
                }
                "before" => filter.before = Some(number()?),
                "after" => page.after = Some(queue_id(&value).map_err(|r| refused(&r))?),
                "most" => page.most = usize::try_from(number()?).unwrap_or(MOST).clamp(1, MOST),
                _ => {
                    return Err(trouble(
                        400,
                        &format!("a list can be asked for by sender, recipient, site, state, before, after and most, not by {name}"),
                    ));
                }
            }
        }
        self.list = Some(List { filter, page, begun: false });
        Ok(Response { status: 200, kind: JSON, body: Body::Pieces })
    }

    /// The next messages of a list: together, the pieces are one JSON object, as [`super::Listing`] with an optional `error`.
    fn more(&mut self) -> Vec<u8> {
        let Some(mut list) = self.list.take() else { return Vec::new() };
        let mut out = if list.begun { Vec::new() } else { b"{\"messages\":[".to_vec() };
        let most = list.page.most.min(PAGE);
        let (next, error) = match self.house.list(&list.filter, Page { most, ..list.page }) {
            Ok(listing) => {
                list.page.most -= listing.messages.len().min(list.page.most);
                for summary in &listing.messages {
                    if std::mem::replace(&mut list.begun, true) {
                        out.push(b',');
                    }
                    if let Err(error) = serde_json::to_writer(&mut out, summary) {
                        tracing::error!(%error, "a message cannot be listed");
                    }
                }
                (listing.next, None)
            }
            Err(refused) => (None, Some(refused.to_string())),
        };
        match next.as_deref().map(queue_id) {
            Some(Ok(after)) if list.page.most > 0 => {
                list.page.after = Some(after);
                list.begun = true;
                self.list = Some(list);
            }
            _ => {
                let end = serde_json::json!({ "next": next, "error": error }).to_string();
                out.extend_from_slice(b"],");
                out.extend_from_slice(&end.as_bytes()[1..]);
            }
        }
        out
    }

    fn order(&self, request: &Request, who: &str) -> Result<Response, Response> {
        let order: Order = serde_json::from_slice(&request.body).map_err(|error| trouble(400, &format!("this is no order: {error}")))?;
        let effect = self.house.act(&order.whom, &order.action, who).map_err(|r| refused(&r))?;
        tracing::info!(who, whom = ?order.whom, action = ?order.action, messages = effect.messages, "queue changed");
        json(&effect)
    }

    fn trace(&self, of: &str) -> Result<Response, Response> {
        let tales = self.house.write_story().and_then(|()| self.house.story().trace(&Query::of(of)));
        json(&tales.map_err(|error| trouble(503, &format!("the story cannot be read: {error}")))?)
    }
}

impl House {
    /// How things are.
    pub fn levels(&self) -> Levels {
        Levels {
            queue: self.queue_numbers(),
            now: u64::try_from(self.now().seconds).unwrap_or(0),
            started: self.ready_at(),
            sessions: self.guests(),
            stressed: self.stressed().len(),
            free_space: self.free_space(),
            incoming_disk: self.space().uncommitted(),
            incoming_memory: self.space().held() as u64,
            away: self.away(),
            log_bytes: self.spool().live_bytes(),
            flushes: self.spool().flushes(),
            lost_lines: logging::lost_lines(),
            lost_records: self.lost_records(),
            aside: self.mailboxes_aside().len(),
            undelivered: self.undelivered().count(),
            fenced: self.spool().is_fenced(),
            panics: crate::supervise::panics(),
        }
    }
}

impl Office for Clerk {
    fn request(&mut self, request: Request) -> Response {
        self.list = None;
        self.answer(&request).unwrap_or_else(|refusal| refusal)
    }

    fn piece(&mut self) -> Vec<u8> {
        self.more()
    }
}

/// No request has a body that is streamed.
impl Sink for Clerk {
    fn body(&mut self, _: &[u8]) {}

    fn is_full(&self) -> bool {
        false
    }

    fn drain(&mut self) {}
}

fn asked(request: &Request, name: &str) -> Result<String, Response> {
    request.asks(name).map(String::from).ok_or_else(|| trouble(400, &format!("{name}= is missing in the query")))
}

fn json(value: &impl Serialize) -> Result<Response, Response> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| trouble(500, &error.to_string()))?;
    bytes.push(b'\n');
    Ok(Response::new(200, JSON, bytes))
}

fn trouble(status: u16, error: &str) -> Response {
    Response::new(status, JSON, format!("{}\n", serde_json::json!({ "error": error })))
}

fn refused(refused: &Refused) -> Response {
    let status = match refused {
        Refused::NoSuchMessage(_) => 404,
        Refused::Nonsense(_) => 400,
        Refused::Conflict(_) => 409,
        Refused::Later(_) => 503,
    };
    trouble(status, &refused.to_string())
}
