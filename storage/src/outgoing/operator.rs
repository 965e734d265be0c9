//! What an operator asks of the queue.

use crate::{
    control::{Action, Effect, Explanation, Filter, Listing, Operator, Page, QueueStatus, Refused, Step, Whole, Whom, queue_id},
    house::House,
};
use mail::Address;
use post::Ruling;

impl Operator for House {
    fn list(&self, _: &Filter, _: Page) -> Result<Listing, Refused> {
        Ok(Listing::default())
    }

    fn show(&self, id: u64) -> Result<Whole, Refused> {
        Err(Refused::NoSuchMessage(format!("{id:x}")))
    }

    fn act(&self, whom: &Whom, _: &Action, _: &str) -> Result<Effect, Refused> {
        match whom {
            Whom::Ids(ids) => match ids.first() {
                Some(first) => queue_id(first).and_then(|id| Err(Refused::NoSuchMessage(format!("{id:x}")))),
                None => Ok(Effect { messages: 0 }),
            },
            Whom::All(_) => Ok(Effect { messages: 0 }),
        }
    }

    fn queue_status(&self) -> QueueStatus {
        QueueStatus::default()
    }

    fn explain(&self, address: &str) -> Result<Explanation, Refused> {
        let Some(parsed) = Address::parse(address) else {
            return Err(Refused::Nonsense(format!("{address:?} is no address")));
        };
        let step = match self.accounts().rule(&parsed) {
            Ruling::Deliver(account) => Step::new("mailbox", format!("{account} gets it")),
            Ruling::NoMailbox => Step::new("refused", "the domain is served here, but there is no such mailbox"),
            Ruling::Foreign => Step::new("refused", "the domain is not served here"),
        };
        Ok(Explanation { address: parsed.to_string(), steps: vec![step] })
    }
}
