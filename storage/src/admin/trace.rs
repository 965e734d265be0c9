//! `trace` and `explain`: what became of a message, and what would become of one.

use super::{Console, Done, Failure, queue::print, table};
use crate::{
    control::{Client, Explanation},
    story::{Tale, moment},
};

pub(super) fn trace(of: &str, json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let tales: Vec<Tale> = client.get("/trace", &[("of", of)])?;
    if json {
        return print(&tales, console);
    }
    if tales.is_empty() {
        return Err(Failure::new(format!("nothing is told of {of}: it never came here, or before the days that `queue.story_days` keeps")));
    }
    for (n, tale) in tales.iter().enumerate() {
        if n > 0 {
            writeln!(console.out)?;
        }
        writeln!(console.out, "{}", tale.id)?;
        for told in &tale.told {
            writeln!(console.out, "  {}  {}", moment(told.at / 1000), told.deed)?;
        }
        if tale.cut {
            writeln!(console.out, "  and more than can be told")?;
        }
    }
    Ok(())
}

pub(super) fn explain(address: &str, json: bool, client: &Client, console: &mut Console<'_>) -> Done {
    let explanation: Explanation = client.get("/explain", &[("address", address)])?;
    if json {
        return print(&explanation, console);
    }
    print_explanation(&explanation, console)
}

/// For people.
pub(super) fn print_explanation(explanation: &Explanation, console: &mut Console<'_>) -> Done {
    writeln!(console.out, "{}", explanation.address)?;
    let rows: Vec<Vec<String>> = explanation.steps.iter().map(|s| vec![String::new(), s.what.clone(), s.so.clone()]).collect();
    Ok(console.out.write_all(table(&rows).as_bytes())?)
}
